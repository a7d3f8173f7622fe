// A checksum against mistakes and damage, where nobody would gain by forging: one multiplication a byte, and the same
// on every machine (Fowler, Noll and Vo; RFC 9923).

/// FNV-1a with 64 bits. A value; bytes may be added piece by piece.
public struct FNV1a: Hashable, Sendable {
    /// The hash of what was added so far.
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash of nothing.
    public init() {}

    /// Adds bytes behind those before.
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }

    /// The hash of `bytes`.
    public static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash = FNV1a()
        hash.add(bytes)
        return hash.value
    }
}
