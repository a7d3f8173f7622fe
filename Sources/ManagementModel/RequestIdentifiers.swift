// Request ids are UUIDs of version 4 (RFC 9562 §5.4). Floor 0 has no randomness of its own, so whoever makes
// one brings the generator.

import ClusterModel

extension Identifier128 {
    /// A UUID of version 4 from 122 bits of `generator`.
    public static func version4(using generator: inout some RandomNumberGenerator) -> Identifier128 {
        let high = (generator.next() as UInt64) & ~0xF000 | 0x4000
        let low = (generator.next() as UInt64) & ~(0b11 << 62) | (0b10 << 62)
        return Identifier128(high: high, low: low)
    }
}

/// The version of this software, as programs report it.
public enum SoftwareVersion {
    /// Semantic version of the source tree.
    public static let current = "0.1.0"
}
