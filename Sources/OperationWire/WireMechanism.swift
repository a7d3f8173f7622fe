// A mechanism with its parameter, without pointers (PKCS#11 v2.40 §3.5 CK_MECHANISM, and the mechanism chapters for
// the structures). The provider flattens the C structure; the token host builds it anew for its module. Only
// structures that both sides know can cross: the provider refuses others with CKR_MECHANISM_PARAM_INVALID.

/// A mechanism and its parameter.
public struct WireMechanism: Hashable, Sendable {
    /// The CKM_ number.
    public var type: UInt64
    /// The parameter.
    public var parameter: Parameter

    /// Puts a mechanism together.
    public init(_ type: UInt64, _ parameter: Parameter = .none) {
        self.type = type
        self.parameter = parameter
    }

    /// CK_RSA_PKCS_OAEP_PARAMS (§2.1.8).
    public struct OAEP: Hashable, Sendable {
        /// CKM_ number of the hash.
        public var hash: UInt64
        /// CKG_MGF1_ number.
        public var maskGeneration: UInt64
        /// The encoding parameter (CKZ_DATA_SPECIFIED).
        public var source: [UInt8]
        /// Puts the parameter together.
        public init(hash: UInt64, maskGeneration: UInt64, source: [UInt8]) {
            self.hash = hash
            self.maskGeneration = maskGeneration
            self.source = source
        }
    }

    /// One entry of CK_SP800_108_KDF_PARAMS's pDataParams (v3.0 §2.42).
    public struct DerivationPart: Hashable, Sendable {
        /// CK_PRF_DATA_TYPE.
        public var type: UInt64
        /// The bytes of CK_SP800_108_COUNTER_FORMAT, CK_SP800_108_DKM_LENGTH_FORMAT or of the byte array.
        public var value: [UInt8]
        /// Puts an entry together.
        public init(type: UInt64, value: [UInt8]) {
            self.type = type
            self.value = value
        }
    }

    /// What a mechanism's pParameter points to.
    public enum Parameter: Hashable, Sendable {
        /// No parameter.
        case none
        /// Bytes without pointers in them: an initialization vector, or a structure of plain numbers
        /// (CK_MAC_GENERAL_PARAMS, CK_AES_CTR_PARAMS, CK_RSA_PKCS_PSS_PARAMS) as it lies in memory.
        case bytes([UInt8])
        /// CK_RSA_PKCS_OAEP_PARAMS.
        case oaep(OAEP)
        /// CK_GCM_PARAMS: the vector, its length in bits, the additional data, the tag's length in bits.
        case gcm(iv: [UInt8], ivBits: UInt64, additionalData: [UInt8], tagBits: UInt64)
        /// CK_CCM_PARAMS.
        case ccm(dataBytes: UInt64, nonce: [UInt8], additionalData: [UInt8], macBytes: UInt64)
        /// CK_KEY_DERIVATION_STRING_DATA.
        case stringData([UInt8])
        /// CK_DES_CBC_ENCRYPT_DATA_PARAMS (8-byte vector) and CK_AES_CBC_ENCRYPT_DATA_PARAMS (16-byte vector).
        case cbcEncryptData(iv: [UInt8], data: [UInt8])
        /// CK_ECDH1_DERIVE_PARAMS.
        case ecdh1(derivation: UInt64, sharedData: [UInt8], publicData: [UInt8])
        /// CK_OBJECT_HANDLE (CKM_CONCATENATE_BASE_AND_KEY).
        case object(ObjectReference)
        /// CK_RSA_AES_KEY_WRAP_PARAMS.
        case rsaAESKeyWrap(aesKeyBits: UInt64, OAEP)
        /// CK_SP800_108_KDF_PARAMS without additional derived keys.
        case counterKDF(prf: UInt64, parts: [DerivationPart])
    }

    func encode(into writer: inout ByteWriter) throws(WireError) {
        writer.write(type)
        switch parameter {
        case .none: writer.write(UInt8(0))
        case .bytes(let bytes): try Self.write(1, [], [bytes], into: &writer)
        case .oaep(let oaep):
            try Self.write(2, [oaep.hash, oaep.maskGeneration], [oaep.source], into: &writer)
        case .gcm(let iv, let ivBits, let additionalData, let tagBits):
            try Self.write(3, [ivBits, tagBits], [iv, additionalData], into: &writer)
        case .ccm(let dataBytes, let nonce, let additionalData, let macBytes):
            try Self.write(4, [dataBytes, macBytes], [nonce, additionalData], into: &writer)
        case .stringData(let data): try Self.write(5, [], [data], into: &writer)
        case .cbcEncryptData(let iv, let data): try Self.write(6, [], [iv, data], into: &writer)
        case .ecdh1(let derivation, let sharedData, let publicData):
            try Self.write(7, [derivation], [sharedData, publicData], into: &writer)
        case .object(let reference):
            writer.write(UInt8(8))
            try reference.encode(into: &writer)
        case .rsaAESKeyWrap(let aesKeyBits, let oaep):
            try Self.write(9, [aesKeyBits, oaep.hash, oaep.maskGeneration], [oaep.source], into: &writer)
        case .counterKDF(let prf, let parts):
            guard parts.count <= OperationLimits.parameterParts else { throw .tooLarge }
            writer.write(UInt8(10))
            writer.write(prf)
            writer.write(UInt32(parts.count))
            for part in parts {
                writer.write(part.type)
                try Self.write(part.value, into: &writer)
            }
        }
    }

    private static func write(
        _ tag: UInt8, _ numbers: [UInt64], _ fields: [[UInt8]], into writer: inout ByteWriter
    ) throws(WireError) {
        writer.write(tag)
        for number in numbers { writer.write(number) }
        for field in fields { try write(field, into: &writer) }
    }

    private static func write(_ field: [UInt8], into writer: inout ByteWriter) throws(WireError) {
        guard field.count <= OperationLimits.parameterBytes else { throw .tooLarge }
        writer.write(field)
    }

    init(from reader: inout ByteReader) throws(WireError) {
        type = try reader.uint64()
        switch try reader.byte() {
        case 0: parameter = .none
        case 1: parameter = .bytes(try Self.field(from: &reader))
        case 2: parameter = .oaep(try Self.oaep(from: &reader))
        case 3:
            let ivBits = try reader.uint64()
            let tagBits = try reader.uint64()
            let iv = try Self.field(from: &reader)
            parameter = .gcm(
                iv: iv, ivBits: ivBits, additionalData: try Self.field(from: &reader), tagBits: tagBits)
        case 4:
            let dataBytes = try reader.uint64()
            let macBytes = try reader.uint64()
            let nonce = try Self.field(from: &reader)
            parameter = .ccm(
                dataBytes: dataBytes, nonce: nonce, additionalData: try Self.field(from: &reader),
                macBytes: macBytes)
        case 5: parameter = .stringData(try Self.field(from: &reader))
        case 6:
            let iv = try Self.field(from: &reader)
            parameter = .cbcEncryptData(iv: iv, data: try Self.field(from: &reader))
        case 7:
            let derivation = try reader.uint64()
            let sharedData = try Self.field(from: &reader)
            parameter = .ecdh1(
                derivation: derivation, sharedData: sharedData, publicData: try Self.field(from: &reader))
        case 8: parameter = .object(try ObjectReference(from: &reader))
        case 9:
            let aesKeyBits = try reader.uint64()
            parameter = .rsaAESKeyWrap(aesKeyBits: aesKeyBits, try Self.oaep(from: &reader))
        case 10: parameter = try Self.counterKDF(from: &reader)
        case let tag: throw .unknownTag(UInt64(tag))
        }
    }

    private static func field(from reader: inout ByteReader) throws(WireError) -> [UInt8] {
        try reader.bytes(limit: OperationLimits.parameterBytes)
    }

    private static func oaep(from reader: inout ByteReader) throws(WireError) -> OAEP {
        let hash = try reader.uint64()
        let maskGeneration = try reader.uint64()
        return OAEP(hash: hash, maskGeneration: maskGeneration, source: try field(from: &reader))
    }

    private static func counterKDF(from reader: inout ByteReader) throws(WireError) -> Parameter {
        let prf = try reader.uint64()
        let count = try reader.count(limit: OperationLimits.parameterParts, elementBytes: 12)
        var parts: [DerivationPart] = []
        for _ in 0..<count {
            let type = try reader.uint64()
            parts.append(DerivationPart(type: type, value: try field(from: &reader)))
        }
        return .counterKDF(prf: prf, parts: parts)
    }
}
