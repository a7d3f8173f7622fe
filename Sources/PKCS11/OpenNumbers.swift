// Cryptoki's enumerations are open sets of numbers: whatever a vendor adds must survive on its way through us.
// Each is a struct over its number; this file holds the shared way to print one, and the two short sets.

internal import CP11Kit

let vendorDefined = hsmcluster_return_value_vendor_defined

/// `NAME (0x…)`, or `CKx_VENDOR_DEFINED|0x…`, or the bare number.
func describe(_ rawValue: UInt, name: String?, vendor: String) -> String {
    let digits = "0x" + String(rawValue, radix: 16, uppercase: true)
    if let name { return "\(name) (\(digits))" }
    guard rawValue & vendorDefined != 0, rawValue <= 0xFFFF_FFFF else { return digits }
    return "\(vendor)|0x" + String(rawValue & ~vendorDefined, radix: 16, uppercase: true)
}

/// A CKM_ value (PKCS#11 v2.40 appendix B).
public struct MechanismType: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number.
    public var rawValue: UInt
    /// Wraps a number, known or not.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// Wraps a number, known or not.
    public init(_ rawValue: UInt) { self.rawValue = rawValue }
    /// The name and number, such as `CKM_AES_ECB (0x1081)`.
    public var description: String { describe(rawValue, name: name, vendor: "CKM_VENDOR_DEFINED") }
    /// The name, such as `CKM_AES_ECB`; nil for a number without one.
    public var name: String? { Self.names[rawValue] }
    /// Orders mechanisms by number.
    public static func < (left: MechanismType, right: MechanismType) -> Bool {
        left.rawValue < right.rawValue
    }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension MechanismType {
    public static let rsaKeyPairGeneration = MechanismType(0x00)
    public static let rsaPKCS = MechanismType(0x01)
    public static let rsaPKCSOAEP = MechanismType(0x09)
    public static let rsaPKCSPSS = MechanismType(0x0D)
    public static let sha256RSAPKCS = MechanismType(0x40)
    public static let sha384RSAPKCS = MechanismType(0x41)
    public static let sha512RSAPKCS = MechanismType(0x42)
    public static let des3KeyGeneration = MechanismType(0x131)
    public static let des3ECB = MechanismType(0x132)
    public static let des3CBC = MechanismType(0x133)
    public static let des3CMAC = MechanismType(0x138)
    public static let sha1 = MechanismType(0x220)
    public static let sha256 = MechanismType(0x250)
    public static let sha384 = MechanismType(0x260)
    public static let sha512 = MechanismType(0x270)
    public static let genericSecretKeyGeneration = MechanismType(0x350)
    public static let sp800108CounterKDF = MechanismType(0x3AC)
    public static let ecKeyPairGeneration = MechanismType(0x1040)
    public static let ecdsa = MechanismType(0x1041)
    public static let aesKeyGeneration = MechanismType(0x1080)
    public static let aesECB = MechanismType(0x1081)
    public static let aesCBC = MechanismType(0x1082)
    public static let aesCBCPad = MechanismType(0x1085)
    public static let aesCMAC = MechanismType(0x108A)
    public static let des3ECBEncryptData = MechanismType(0x1102)
    public static let aesECBEncryptData = MechanismType(0x1104)
    public static let aesKeyWrap = MechanismType(0x2109)
}

/// A CKA_ value (PKCS#11 v2.40 appendix B).
public struct AttributeType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public var rawValue: UInt
    /// Wraps a number, known or not.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// Wraps a number, known or not.
    public init(_ rawValue: UInt) { self.rawValue = rawValue }
    /// The name and number, such as `CKA_LABEL (0x3)`.
    public var description: String {
        describe(rawValue, name: Self.names[rawValue], vendor: "CKA_VENDOR_DEFINED")
    }
}

/// A CKO_ value (PKCS#11 v2.40 §4.2).
public struct ObjectClass: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public var rawValue: UInt
    /// Wraps a number, known or not.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKO_DATA.
    public static let data = ObjectClass(rawValue: 0)
    /// CKO_CERTIFICATE.
    public static let certificate = ObjectClass(rawValue: 1)
    /// CKO_PUBLIC_KEY.
    public static let publicKey = ObjectClass(rawValue: 2)
    /// CKO_PRIVATE_KEY.
    public static let privateKey = ObjectClass(rawValue: 3)
    /// CKO_SECRET_KEY.
    public static let secretKey = ObjectClass(rawValue: 4)
    /// The name and number, such as `CKO_SECRET_KEY (0x4)`.
    public var description: String {
        let names: [UInt: String] = [
            0: "CKO_DATA", 1: "CKO_CERTIFICATE", 2: "CKO_PUBLIC_KEY", 3: "CKO_PRIVATE_KEY",
            4: "CKO_SECRET_KEY",
        ]
        return describe(rawValue, name: names[rawValue], vendor: "CKO_VENDOR_DEFINED")
    }
}

/// A CKK_ value (PKCS#11 v2.40 appendix B).
public struct KeyType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public var rawValue: UInt
    /// Wraps a number, known or not.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKK_RSA.
    public static let rsa = KeyType(rawValue: 0x00)
    /// CKK_EC.
    public static let ec = KeyType(rawValue: 0x03)
    /// CKK_GENERIC_SECRET.
    public static let genericSecret = KeyType(rawValue: 0x10)
    /// CKK_DES2: two-key triple DES.
    public static let des2 = KeyType(rawValue: 0x14)
    /// CKK_DES3: three-key triple DES.
    public static let des3 = KeyType(rawValue: 0x15)
    /// CKK_AES.
    public static let aes = KeyType(rawValue: 0x1F)
    /// The name and number, such as `CKK_AES (0x1F)`.
    public var description: String {
        let names: [UInt: String] = [
            0x00: "CKK_RSA", 0x03: "CKK_EC", 0x10: "CKK_GENERIC_SECRET", 0x14: "CKK_DES2", 0x15: "CKK_DES3",
            0x1F: "CKK_AES",
        ]
        return describe(rawValue, name: names[rawValue], vendor: "CKK_VENDOR_DEFINED")
    }
}
