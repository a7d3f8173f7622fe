import ClusterModel

// Labels on tokens: `CMS MK` and a number. The seed document counts 4099, 4100, … and calls them
// hexadecimal, which cannot both hold; we write decimal from 4099 on, and refuse to guess when a token
// already holds labels that only the other reading explains.

/// The labels that the CMS gives to master keys.
public enum KeyLabel {
    /// What every master key's label starts with.
    public static let prefix = "CMS MK"
    /// The first number of a key generated on the HSM side.
    public static let firstGenerated: UInt64 = 4_099

    /// The label of a key generated on the HSM side.
    public static func generated(_ number: UInt64) -> String { "\(prefix) \(number)" }

    /// What an existing label says.
    public enum Reading: Hashable, Sendable {
        /// Not a master key's label.
        case other
        /// A key copied from an operator card or software store: `CMS MK 00` to `CMS MK 999`.
        case copied(UInt64)
        /// A key generated on the HSM side, with its decimal number (4096 or more).
        case generated(UInt64)
        /// Explained only by a hexadecimal reading: new numbers cannot be chosen until an operator decides.
        case ambiguous
    }

    /// Reads a label as a token gives it; a Primus suffix `@?!…` is ignored.
    public static func read(_ raw: String) -> Reading {
        let utf8 = Array(DecoratedLabel.plain(raw).utf8)
        let start = Array((prefix + " ").utf8)
        guard utf8.starts(with: start) else { return .other }
        let digits = utf8[start.count...]
        guard (2...16).contains(digits.count), digits.allSatisfy(isUpperHexDigit) else { return .other }
        guard let number = UInt64(String(decoding: digits, as: UTF8.self)) else { return .ambiguous }
        switch number {
        case 0..<1_000: return .copied(number)
        case 1_000..<4_096: return .ambiguous
        default: return .generated(number)
        }
    }

    private static func isUpperHexDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
    }
}
