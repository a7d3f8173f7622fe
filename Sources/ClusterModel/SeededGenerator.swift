// Randomness arrives as a seed, so that a whole cluster can be replayed from one number. SplitMix64
// (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014) is enough for
// election jitter and gossip targets; it must never make a key, a nonce or an identifier that an
// attacker could profit from guessing.

/// A small deterministic generator for timeouts and peer choice. Not for cryptography.
public struct SeededGenerator: RandomNumberGenerator, Sendable, Hashable, Codable {
    private var state: UInt64
    /// A generator whose whole future follows from `seed`.
    public init(seed: UInt64) { state = seed }
    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
