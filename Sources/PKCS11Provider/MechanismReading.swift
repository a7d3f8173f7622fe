internal import CCryptoki
internal import OperationWire

// From CK_MECHANISM to a value without pointers. The parameter's layout follows from the mechanism's number (the mechanism
// chapters of PKCS#11 v2.40 current mechanisms; v3.0 for SP 800-108); a structure that is not known here is refused,
// because a pointer in it would mean nothing in another process.

/// How a mechanism's parameter lies in memory.
private enum Layout {
    case plain, oaep, gcm, ccm, stringData, cbcData(ivBytes: Int), ecdh, object, rsaAESKeyWrap, counterKDF

    init?(_ type: CK_MECHANISM_TYPE) {
        switch type {
        case 0x0009: self = .oaep
        case 0x1087: self = .gcm
        case 0x1088: self = .ccm
        case 0x1100, 0x1102, 0x1104, 0x362, 0x363, 0x364: self = .stringData
        case 0x1101, 0x1103: self = .cbcData(ivBytes: 8)
        case 0x1105: self = .cbcData(ivBytes: 16)
        case 0x1050, 0x1051: self = .ecdh
        case 0x360: self = .object
        case 0x1054: self = .rsaAESKeyWrap
        case 0x3AC: self = .counterKDF
        // PSS; DES and AES with a vector or a length; HMACs and MACs of a given length; key extraction.
        case 0x000D, 0x000E, 0x0043...0x0047, 0x0122, 0x0125, 0x0132...0x0139, 0x0150...0x0153,
            0x0202, 0x0212, 0x0222, 0x0241, 0x0252, 0x0256, 0x0262, 0x0272, 0x365, 0x1082...0x1086,
            0x1089...0x108B, 0x2104...0x210B, 0x1090:
            self = .plain
        default: return nil
        }
    }
}

extension Library {
    /// Reads a mechanism.
    func mechanism(
        _ pointer: UnsafePointer<CK_MECHANISM>?, in view: DirectoryView
    ) throws(Refusal) -> FlatMechanism {
        guard let pointer else { throw .arguments }
        let raw = pointer.pointee
        let length = Int(clamping: raw.ulParameterLen)
        guard view.mechanism(UInt64(raw.mechanism)) != nil else { throw Refusal(CKR_MECHANISM_INVALID) }
        let type = UInt64(raw.mechanism)
        guard length > 0 else { return FlatMechanism(mechanism: WireMechanism(type)) }
        guard let start = raw.pParameter, length <= OperationLimits.parameterBytes,
            let layout = Layout(raw.mechanism)
        else { throw .parameter }
        let memory = Structure(start: UnsafeRawPointer(start), length: length)
        if case .object = layout {
            let handle = try memory.number(0, of: 1)
            return FlatMechanism(
                mechanism: WireMechanism(type), key: try source(CK_OBJECT_HANDLE(handle), in: view))
        }
        return FlatMechanism(mechanism: WireMechanism(type, try memory.parameter(layout)))
    }
}

/// A C structure of words of eight bytes: numbers and pointers.
private struct Structure {
    let start: UnsafeRawPointer
    let length: Int

    func number(_ word: Int, of words: Int) throws(Refusal) -> UInt64 {
        guard length == words * 8 else { throw .parameter }
        return start.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self)
    }

    /// Bytes behind a pointer.
    func bytes(_ pointerWord: Int, count: UInt64, of words: Int) throws(Refusal) -> [UInt8] {
        let address = try number(pointerWord, of: words)
        guard count <= UInt64(OperationLimits.parameterBytes) else { throw .parameter }
        guard count > 0 else { return [] }
        guard let pointer = UnsafeRawPointer(bitPattern: UInt(address)) else { throw .parameter }
        return Array(UnsafeRawBufferPointer(start: pointer, count: Int(count)))
    }

    func readOAEP() throws(Refusal) -> WireMechanism.OAEP {
        WireMechanism.OAEP(
            hash: try number(0, of: 5), maskGeneration: try number(1, of: 5),
            source: try bytes(3, count: try number(4, of: 5), of: 5))
    }

    func parameter(_ layout: Layout) throws(Refusal) -> WireMechanism.Parameter {
        switch layout {
        case .plain:
            guard length <= 64 else { throw .parameter }
            return .bytes(Array(UnsafeRawBufferPointer(start: start, count: length)))
        case .oaep: return .oaep(try readOAEP())
        case .gcm where length == 40:
            // The structure of the first v2.40 headers, without the vector's length in bits.
            let ivBytes = try number(1, of: 5)
            return .gcm(
                iv: try bytes(0, count: ivBytes, of: 5), ivBits: ivBytes * 8,
                additionalData: try bytes(2, count: try number(3, of: 5), of: 5),
                tagBits: try number(4, of: 5))
        case .gcm:
            return .gcm(
                iv: try bytes(0, count: try number(1, of: 6), of: 6), ivBits: try number(2, of: 6),
                additionalData: try bytes(3, count: try number(4, of: 6), of: 6),
                tagBits: try number(5, of: 6))
        case .ccm:
            return .ccm(
                dataBytes: try number(0, of: 6), nonce: try bytes(1, count: try number(2, of: 6), of: 6),
                additionalData: try bytes(3, count: try number(4, of: 6), of: 6),
                macBytes: try number(5, of: 6))
        case .stringData: return .stringData(try bytes(0, count: try number(1, of: 2), of: 2))
        case .cbcData(let ivBytes):
            // The vector lies in the structure itself.
            let words = ivBytes / 8 + 2
            let data = try bytes(ivBytes / 8, count: try number(ivBytes / 8 + 1, of: words), of: words)
            return .cbcEncryptData(
                iv: Array(UnsafeRawBufferPointer(start: start, count: ivBytes)), data: data)
        case .ecdh:
            return .ecdh1(
                derivation: try number(0, of: 5),
                sharedData: try bytes(2, count: try number(1, of: 5), of: 5),
                publicData: try bytes(4, count: try number(3, of: 5), of: 5))
        case .rsaAESKeyWrap:
            let address = try number(1, of: 2)
            guard let pointer = UnsafeRawPointer(bitPattern: UInt(address)) else { throw .parameter }
            let inner = Structure(start: pointer, length: 40)
            return .rsaAESKeyWrap(aesKeyBits: try number(0, of: 2), try inner.readOAEP())
        case .counterKDF: return try counterKDF()
        case .object: throw .parameter
        }
    }

    private func counterKDF() throws(Refusal) -> WireMechanism.Parameter {
        let count = try number(1, of: 5)
        // Additional derived keys would be objects of their own.
        guard try number(3, of: 5) == 0, count <= UInt64(OperationLimits.parameterParts) else {
            throw .parameter
        }
        var parts: [WireMechanism.DerivationPart] = []
        guard count > 0 else { return .counterKDF(prf: try number(0, of: 5), parts: []) }
        guard let list = UnsafeRawPointer(bitPattern: UInt(try number(2, of: 5))) else { throw .parameter }
        for index in 0..<Int(count) {
            let entry = Structure(start: list + index * 24, length: 24)
            parts.append(
                WireMechanism.DerivationPart(
                    type: try entry.number(0, of: 3),
                    value: try entry.bytes(1, count: try entry.number(2, of: 3), of: 3)))
        }
        return .counterKDF(prf: try number(0, of: 5), parts: parts)
    }
}
