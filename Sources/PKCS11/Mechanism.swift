// A mechanism with its parameters (PKCS#11 v2.40 §3.5 CK_MECHANISM, and the mechanism chapters for each
// parameter). Values here hold plain Swift data; the C structure and everything it points to exist only
// inside `withCKMechanism`, so a pointer can't outlive the call that it is for.

internal import CP11Kit

/// A mechanism and its parameters, ready for any call that takes one.
public struct Mechanism: Hashable, Sendable {
    /// Which mechanism it is.
    public let type: MechanismType
    private let parameters: Parameters

    private enum Parameters: Hashable, Sendable {
        case none
        case bytes([UInt8])
        case oaep(HashFunction, label: [UInt8])
        case pss(HashFunction, saltBytes: Int)
        case stringData([UInt8])
        case structure([ParameterField])
    }

    private init(_ type: MechanismType, with parameters: Parameters) {
        self.type = type
        self.parameters = parameters
    }

    /// Any mechanism whose parameter is nothing or plain bytes (an initialization vector, say).
    public init(_ type: MechanismType, parameter: [UInt8] = []) {
        self.init(type, with: parameter.isEmpty ? .none : .bytes(parameter))
    }

    /// Any mechanism whose parameter is a structure, described field by field.
    public init(_ type: MechanismType, structure: [ParameterField]) {
        self.init(type, with: .structure(structure))
    }

    /// CKM_AES_KEY_GEN; the template's CKA_VALUE_LEN decides the length.
    public static let aesKeyGeneration = Mechanism(.aesKeyGeneration)
    /// CKM_DES3_KEY_GEN: three-key triple DES.
    public static let des3KeyGeneration = Mechanism(.des3KeyGeneration)
    /// CKM_GENERIC_SECRET_KEY_GEN; the template's CKA_VALUE_LEN decides the length.
    public static let genericSecretKeyGeneration = Mechanism(.genericSecretKeyGeneration)
    /// CKM_RSA_PKCS_KEY_PAIR_GEN.
    public static let rsaKeyPairGeneration = Mechanism(.rsaKeyPairGeneration)
    /// CKM_EC_KEY_PAIR_GEN; the public template's CKA_EC_PARAMS decides the curve.
    public static let ecKeyPairGeneration = Mechanism(.ecKeyPairGeneration)

    /// CKM_AES_KEY_WRAP with the default initial value (RFC 3394).
    public static let aesKeyWrap = Mechanism(.aesKeyWrap)
    /// CKM_AES_ECB.
    public static let aesECB = Mechanism(.aesECB)
    /// CKM_DES3_ECB.
    public static let des3ECB = Mechanism(.des3ECB)
    /// CKM_AES_CMAC (RFC 4493).
    public static let aesCMAC = Mechanism(.aesCMAC)
    /// CKM_DES3_CMAC (NIST SP 800-38B).
    public static let des3CMAC = Mechanism(.des3CMAC)
    /// CKM_AES_CBC with a 16-byte initialization vector.
    public static func aesCBC(initializationVector: [UInt8]) -> Mechanism {
        Mechanism(.aesCBC, with: .bytes(initializationVector))
    }

    /// CKM_AES_ECB_ENCRYPT_DATA: the derived key is the encryption of `data`, a multiple of 16 bytes.
    public static func aesECBEncryptData(_ data: [UInt8]) -> Mechanism {
        Mechanism(.aesECBEncryptData, with: .stringData(data))
    }

    /// CKM_DES3_ECB_ENCRYPT_DATA: the derived key is the encryption of `data`, a multiple of 8 bytes.
    public static func des3ECBEncryptData(_ data: [UInt8]) -> Mechanism {
        Mechanism(.des3ECBEncryptData, with: .stringData(data))
    }

    /// CKM_RSA_PKCS: PKCS #1 v1.5 (RFC 8017 §7.2, §8.2).
    public static let rsaPKCS = Mechanism(.rsaPKCS)
    /// CKM_RSA_PKCS_OAEP (RFC 8017 §7.1), with MGF1 over the same hash.
    public static func rsaOAEP(hash: HashFunction, label: [UInt8] = []) -> Mechanism {
        Mechanism(.rsaPKCSOAEP, with: .oaep(hash, label: label))
    }

    /// CKM_RSA_PKCS_PSS (RFC 8017 §8.1) over a digest made by the caller, with a salt as long as the digest.
    public static func rsaPSS(hash: HashFunction) -> Mechanism {
        Mechanism(.rsaPKCSPSS, with: .pss(hash, saltBytes: hash.digestBytes))
    }

    /// CKM_ECDSA over a digest made by the caller.
    public static let ecdsa = Mechanism(.ecdsa)
    /// The plain digest by `hash`.
    public static func digest(_ hash: HashFunction) -> Mechanism { Mechanism(hash.mechanism) }

    /// Lends the C form for the length of a call.
    func withCKMechanism<Result>(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> Result) -> Result {
        switch parameters {
        case .none:
            return withMechanism(UnsafeMutableRawBufferPointer(start: nil, count: 0), body)
        case .bytes(var bytes):
            return bytes.withUnsafeMutableBytes { withMechanism($0, body) }
        case .oaep(let hash, var label):
            return label.withUnsafeMutableBytes { label in
                var oaep = CK_RSA_PKCS_OAEP_PARAMS(
                    hashAlg: hash.mechanism.rawValue, mgf: hash.maskGeneration, source: CKZ_DATA_SPECIFIED,
                    pSourceData: label.isEmpty ? nil : label.baseAddress,
                    ulSourceDataLen: CK_ULONG(label.count))
                return withUnsafeMutableBytes(of: &oaep) { withMechanism($0, body) }
            }
        case .pss(let hash, let saltBytes):
            var pss = CK_RSA_PKCS_PSS_PARAMS(
                hashAlg: hash.mechanism.rawValue, mgf: hash.maskGeneration, sLen: CK_ULONG(saltBytes))
            return withUnsafeMutableBytes(of: &pss) { withMechanism($0, body) }
        case .stringData(var data):
            return data.withUnsafeMutableBufferPointer { data in
                var string = CK_KEY_DERIVATION_STRING_DATA(
                    pData: data.baseAddress, ulLen: CK_ULONG(data.count))
                return withUnsafeMutableBytes(of: &string) { withMechanism($0, body) }
            }
        case .structure(let fields):
            let memory = ParameterMemory()
            return withExtendedLifetime(memory) { withMechanism(memory.place(fields), body) }
        }
    }

    private func withMechanism<Result>(
        _ parameter: UnsafeMutableRawBufferPointer, _ body: (UnsafeMutablePointer<CK_MECHANISM>) -> Result
    ) -> Result {
        var mechanism = CK_MECHANISM(
            mechanism: type.rawValue, pParameter: parameter.isEmpty ? nil : parameter.baseAddress,
            ulParameterLen: CK_ULONG(parameter.count))
        return withUnsafeMutablePointer(to: &mechanism, body)
    }
}

/// A hash function of the SHA family (FIPS 180-4).
public enum HashFunction: Hashable, Sendable, CaseIterable {
    /// SHA-1; only where a token offers nothing better for OAEP, which doesn't rest on collision resistance.
    case sha1
    /// SHA-256.
    case sha256
    /// SHA-384.
    case sha384
    /// SHA-512.
    case sha512

    /// The digest's length in bytes.
    public var digestBytes: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    var mechanism: MechanismType {
        switch self {
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha384: .sha384
        case .sha512: .sha512
        }
    }

    var maskGeneration: CK_RSA_PKCS_MGF_TYPE {
        switch self {
        case .sha1: CKG_MGF1_SHA1
        case .sha256: CKG_MGF1_SHA256
        case .sha384: CKG_MGF1_SHA384
        case .sha512: CKG_MGF1_SHA512
        }
    }
}
