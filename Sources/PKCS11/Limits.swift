// Bounds on everything that a module hands to us. A module is vendor code, often a client of a remote HSM; a
// length that it reports is checked against these before memory is set aside for it.

/// Bounds on what a module may return.
public enum Limits {
    /// The most slots of one module.
    public static let slots = 4_096
    /// The most mechanisms of one token.
    public static let mechanisms = 4_096
    /// The most handles that one search returns unless the caller says otherwise.
    public static let foundObjects = 10_000
    /// The most handles taken by one C_FindObjects.
    public static let findBatch = 256
    /// The most bytes of one attribute.
    public static let attributeBytes = 65_536
    /// The most bytes that one operation (wrap, encrypt, decrypt, sign, digest) returns beyond its input.
    public static let outputBytes = 65_536
    /// The most random bytes asked for in one call.
    public static let randomBytes = 65_536
    /// The most bytes of a PIN.
    public static let secretBytes = 1_024
}
