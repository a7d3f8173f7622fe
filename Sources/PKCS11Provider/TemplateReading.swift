internal import CCryptoki
internal import OperationWire

// From an array of CK_ATTRIBUTE to values (PKCS#11 v2.40 §3.4). Lengths and counts come from the application and are
// bounded before anything is read; a value whose length cannot be right is refused here, not on the HSM.

/// How the value of an attribute lies in memory.
enum AttributeShape {
    case bool, number, bytes, template

    init(_ type: UInt64) {
        switch type {
        case 0x001, 0x002, 0x086, 0x103...0x10C, 0x162...0x165, 0x170...0x172, 0x202, 0x210: self = .bool
        case 0x000, 0x080, 0x087, 0x100, 0x121, 0x133, 0x160, 0x161, 0x166, 0x300: self = .number
        case 0x4000_0211, 0x4000_0212, 0x4000_0213: self = .template
        default: self = .bytes
        }
    }
}

/// Reads a template.
func readTemplate(
    _ start: UnsafePointer<CK_ATTRIBUTE>?, count: CK_ULONG, depth: Int = 1
) throws(Refusal) -> [WireAttribute] {
    guard count > 0 else { return [] }
    guard let start, count <= CK_ULONG(ProviderLimits.templateAttributes) else { throw .arguments }
    guard depth <= OperationLimits.templateDepth else { throw Refusal(CKR_ATTRIBUTE_VALUE_INVALID) }
    var template: [WireAttribute] = []
    template.reserveCapacity(Int(count))
    for index in 0..<Int(count) {
        let raw = start[index]
        let type = UInt64(raw.type)
        guard !template.contains(where: { $0.type == type }) else {
            throw Refusal(CKR_TEMPLATE_INCONSISTENT)
        }
        guard raw.ulValueLen <= CK_ULONG(OperationLimits.attributeBytes),
            raw.ulValueLen == 0 || raw.pValue != nil
        else { throw Refusal(CKR_ATTRIBUTE_VALUE_INVALID) }
        let bytes = UnsafeRawBufferPointer(
            start: raw.ulValueLen == 0 ? nil : raw.pValue, count: Int(raw.ulValueLen))
        switch AttributeShape(type) {
        case .bool:
            guard bytes.count == 1 else { throw Refusal(CKR_ATTRIBUTE_VALUE_INVALID) }
        case .number:
            guard bytes.count == MemoryLayout<CK_ULONG>.size else {
                throw Refusal(CKR_ATTRIBUTE_VALUE_INVALID)
            }
        case .template:
            let size = MemoryLayout<CK_ATTRIBUTE>.stride
            guard bytes.count.isMultiple(of: size) else { throw Refusal(CKR_ATTRIBUTE_VALUE_INVALID) }
            let nested = try readTemplate(
                bytes.baseAddress?.assumingMemoryBound(to: CK_ATTRIBUTE.self),
                count: CK_ULONG(bytes.count / size), depth: depth + 1)
            template.append(WireAttribute(type, .template(nested)))
            continue
        case .bytes: break
        }
        template.append(WireAttribute(type, bytes: [UInt8](bytes)))
    }
    return template
}

extension [WireAttribute] {
    /// The bytes of an attribute; nil when it is not in the template.
    func bytes(_ type: CK_ATTRIBUTE_TYPE) -> [UInt8]? {
        for attribute in self where attribute.type == UInt64(type) {
            guard case .bytes(let bytes) = attribute.value else { return nil }
            return bytes
        }
        return nil
    }

    /// A CK_BBOOL; nil when it is not in the template.
    func bool(_ type: CK_ATTRIBUTE_TYPE) -> Bool? { bytes(type).map { $0.first.map { $0 != 0 } ?? false } }

    /// A CK_ULONG; nil when it is not in the template.
    func number(_ type: CK_ATTRIBUTE_TYPE) -> UInt64? {
        guard let bytes = bytes(type), bytes.count == 8 else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    }

    /// The template with an attribute added unless it is there.
    func adding(_ type: CK_ATTRIBUTE_TYPE, _ bytes: [UInt8]) -> [WireAttribute] {
        contains { $0.type == UInt64(type) } ? self : self + [WireAttribute(UInt64(type), bytes: bytes)]
    }
}

/// A CK_ULONG as bytes.
func ulongBytes(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

/// A CK_BBOOL as a byte.
func boolByte(_ value: Bool) -> [UInt8] { [value ? 1 : 0] }
