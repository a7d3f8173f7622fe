// The attributes that the cluster uses, with the types of their values (PKCS#11 v2.40 §4), and how each type is laid
// out in memory. For others, make an `AttributeKey` from the number.

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension AttributeKey where Value == Bool {
    public static var token: Self { Self(0x001) }
    public static var `private`: Self { Self(0x002) }
    public static var trusted: Self { Self(0x086) }
    public static var sensitive: Self { Self(0x103) }
    public static var encrypt: Self { Self(0x104) }
    public static var decrypt: Self { Self(0x105) }
    public static var wrap: Self { Self(0x106) }
    public static var unwrap: Self { Self(0x107) }
    public static var sign: Self { Self(0x108) }
    public static var verify: Self { Self(0x10A) }
    public static var derive: Self { Self(0x10C) }
    public static var extractable: Self { Self(0x162) }
    public static var local: Self { Self(0x163) }
    public static var neverExtractable: Self { Self(0x164) }
    public static var alwaysSensitive: Self { Self(0x165) }
    public static var modifiable: Self { Self(0x170) }
    public static var copyable: Self { Self(0x171) }
    public static var destroyable: Self { Self(0x172) }
    public static var wrapWithTrusted: Self { Self(0x210) }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension AttributeKey where Value == String {
    public static var label: Self { Self(0x003) }
    public static var application: Self { Self(0x010) }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension AttributeKey where Value == [UInt8] {
    public static var value: Self { Self(0x011) }
    public static var checkValue: Self { Self(0x090) }
    public static var id: Self { Self(0x102) }
    public static var modulus: Self { Self(0x120) }
    public static var publicExponent: Self { Self(0x122) }
    public static var ecParameters: Self { Self(0x180) }
    public static var ecPoint: Self { Self(0x181) }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension AttributeKey where Value == UInt {
    public static var modulusBits: Self { Self(0x121) }
    public static var valueLength: Self { Self(0x161) }
}

extension AttributeKey where Value == ObjectClass {
    /// CKA_CLASS.
    public static var objectClass: Self { Self(0x000) }
}

extension AttributeKey where Value == KeyType {
    /// CKA_KEY_TYPE.
    public static var keyType: Self { Self(0x100) }
}

extension Bool: AttributeValue {
    /// CK_BBOOL.
    public var attributeBytes: [UInt8] { [self ? 1 : 0] }
    /// Reads a CK_BBOOL; any value but zero is true.
    public init?(attributeBytes: [UInt8]) {
        guard attributeBytes.count == 1 else { return nil }
        self = attributeBytes[0] != 0
    }
}

extension String: AttributeValue {
    /// UTF-8 without a terminator (RFC 2279 strings).
    public var attributeBytes: [UInt8] { Array(utf8) }
    /// Reads UTF-8; invalid sequences become replacement characters, which match no label of ours.
    public init?(attributeBytes: [UInt8]) { self = String(decoding: attributeBytes, as: UTF8.self) }
}

extension [UInt8]: AttributeValue {
    /// The bytes themselves.
    public var attributeBytes: [UInt8] { self }
    /// The bytes themselves.
    public init?(attributeBytes: [UInt8]) { self = attributeBytes }
}

extension UInt: AttributeValue {
    /// CK_ULONG in the machine's byte order.
    public var attributeBytes: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }
    /// Reads a CK_ULONG.
    public init?(attributeBytes: [UInt8]) {
        guard attributeBytes.count == MemoryLayout<UInt>.size else { return nil }
        self = attributeBytes.withUnsafeBytes { $0.loadUnaligned(as: UInt.self) }
    }
}

extension ObjectClass: AttributeValue {
    /// CK_OBJECT_CLASS.
    public var attributeBytes: [UInt8] { rawValue.attributeBytes }
    /// Reads a CK_OBJECT_CLASS.
    public init?(attributeBytes: [UInt8]) {
        guard let number = UInt(attributeBytes: attributeBytes) else { return nil }
        self.init(rawValue: number)
    }
}

extension KeyType: AttributeValue {
    /// CK_KEY_TYPE.
    public var attributeBytes: [UInt8] { rawValue.attributeBytes }
    /// Reads a CK_KEY_TYPE.
    public init?(attributeBytes: [UInt8]) {
        guard let number = UInt(attributeBytes: attributeBytes) else { return nil }
        self.init(rawValue: number)
    }
}
