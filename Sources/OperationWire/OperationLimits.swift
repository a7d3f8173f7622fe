// Bounds on everything that crosses between an application and a token host, or that a directory file holds. Both
// sides are hostile to each other: an application may be compromised, and a token host has a vendor's module in it.

/// Bounds of the operation path. A value beyond its bound is refused when it is encoded and when it is decoded.
public enum OperationLimits {
    /// The most bytes of one encoded request or reply.
    public static let messageBytes = 1 << 20
    /// The most bytes of data that an operation takes or gives in one piece.
    public static let dataBytes = messageBytes - 65_536
    /// The most bytes of one attribute's value.
    public static let attributeBytes = 65_536
    /// The most attributes of one template.
    public static let attributes = 128
    /// The deepest nesting of templates (CKA_WRAP_TEMPLATE inside a template).
    public static let templateDepth = 2
    /// The most bytes of one field of a mechanism's parameter.
    public static let parameterBytes = 65_536
    /// The most entries of the list in a key derivation parameter (SP 800-108).
    public static let parameterParts = 64
    /// The most bytes of a CKA_ID.
    public static let identifierBytes = 1_024
    /// The most bytes of a user's name.
    public static let userNameBytes = 256
    /// The most bytes of a password.
    public static let passwordBytes = 1_024
    /// The most handles in one reply.
    public static let handles = 16
    /// The most random bytes of one request.
    public static let randomBytes = 65_536
}

/// Why bytes could not be read, or values not be written.
public enum WireError: Error, Hashable, Sendable {
    /// The bytes end inside a value.
    case truncated
    /// A count or a length is beyond its bound in `OperationLimits` or `DirectoryLimits`.
    case tooLarge
    /// A tag that this version does not know.
    case unknownTag(UInt64)
    /// The first bytes are those of another format or version.
    case wrongFormat
    /// Bytes are left over after the value.
    case trailingBytes
    /// A checksum is not that of the bytes.
    case damaged
    /// A text is not UTF-8.
    case notText
}
