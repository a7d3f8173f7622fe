internal import CCryptoki
internal import OperationWire

// What may be told of a key of the cluster, from the directory alone: no endpoint is asked, so listing ten thousand
// objects costs no round trip. Key material is refused as CKR_ATTRIBUTE_SENSITIVE (PKCS#11 v2.40 §5.7).

/// One attribute of an object as a caller may see it.
enum AttributeAnswer {
    case value([UInt8])
    case sensitive
    case missing
}

extension Directory.Key {
    private static let flagsByType: [UInt64: Flags] = [
        0x104: .encrypt, 0x105: .decrypt, 0x106: .wrap, 0x107: .unwrap, 0x108: .sign, 0x109: .signRecover,
        0x10A: .verify, 0x10B: .verifyRecover, 0x10C: .derive, 0x103: .sensitive, 0x162: .extractable,
        0x163: .local, 0x164: .neverExtractable, 0x165: .alwaysSensitive, 0x086: .trusted, 0x002: .isPrivate,
    ]
    /// Which attributes each class of key has (§4.8 to §4.10); others do not exist there.
    private static let secretOnly: Set<UInt64> = [0x103, 0x162, 0x164, 0x165, 0x107, 0x105]
    /// CKA_VALUE, CKA_PRIVATE_EXPONENT and the primes.
    private static let material: Set<UInt64> = [0x011, 0x123, 0x124, 0x125, 0x126, 0x127, 0x128]

    var isKey: Bool { (2...4).contains(objectClass) }

    func answer(_ type: UInt64) -> AttributeAnswer {
        if let further = attributes.first(where: { $0.type == type }) { return .value(further.value) }
        if let flag = Self.flagsByType[type] {
            guard isKey || type == 0x002 || type == 0x086 else { return .missing }
            if objectClass == 2, Self.secretOnly.contains(type) { return .missing }
            return .value(boolByte(flags.contains(flag)))
        }
        switch type {
        case 0x000: return .value(ulongBytes(objectClass))
        case 0x001: return .value(boolByte(true))
        case 0x003: return .value(Array(label.utf8))
        case 0x102: return .value(identifier)
        case 0x100: return isKey ? .value(ulongBytes(keyType)) : .missing
        case 0x080: return objectClass == 1 ? .value(ulongBytes(keyType)) : .missing
        // Changes and copies go through the cluster, not through a session.
        case 0x170, 0x171, 0x172: return .value(boolByte(false))
        case 0x161: return objectClass == 4 && length > 0 ? .value(ulongBytes(length)) : .missing
        case 0x121:
            return objectClass == 2 && keyType == 0 && length > 0 ? .value(ulongBytes(length)) : .missing
        case 0x202, 0x210: return isKey && objectClass != 2 ? .value(boolByte(false)) : .missing
        case 0x110, 0x111: return isKey ? .value([]) : .missing
        case 0x166: return isKey ? .value(ulongBytes(.max)) : .missing
        case _ where Self.material.contains(type): return objectClass >= 3 && isKey ? .sensitive : .missing
        default: return .missing
        }
    }

    /// True when it has exactly these attributes.
    func matches(_ template: [WireAttribute]) -> Bool {
        template.allSatisfy { attribute in
            guard case .value(let value) = answer(attribute.type), case .bytes(let wanted) = attribute.value
            else { return false }
            return value == wanted
        }
    }
}

extension SessionObject {
    /// What is known without asking an endpoint; nil when it has to be asked.
    func knownAnswer(_ type: UInt64) -> AttributeAnswer? {
        switch type {
        case 0x001: return .value(boolByte(false))
        case 0x002: return .value(boolByte(isPrivate))
        default: break
        }
        for attribute in known where attribute.type == type {
            guard case .bytes(let bytes) = attribute.value else { return .missing }
            return .value(bytes)
        }
        return nil
    }
}
