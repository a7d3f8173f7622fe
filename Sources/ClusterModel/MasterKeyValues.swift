// Values that describe one master key wherever it lives: its algorithm, the identity stamped on every copy
// (CKA_ID), and the check value by which copies are compared. The seed document calls the algorithms
// DES-EDE3, AES128 and AES256.

/// The algorithm of a master key, with the seed document's names.
public enum KeyAlgorithm: String, Hashable, Sendable, Codable, CaseIterable {
    /// AES with a 16-byte key.
    case aes128
    /// AES with a 32-byte key.
    case aes256
    /// Three-key triple DES (24 bytes with parity). Withdrawn by NIST (SP 800-67, end of 2023).
    case desEDE3 = "des-ede3"

    /// The length of the key in bytes.
    public var keyBytes: Int {
        switch self {
        case .aes128: 16
        case .aes256: 32
        case .desEDE3: 24
        }
    }

    /// The name that people see: `AES128`, `AES256`, `DES-EDE3`.
    public var displayName: String { rawValue.uppercased() }

    /// True when NIST has withdrawn the algorithm and a person should be warned before a key is made.
    public var isWithdrawn: Bool { self == .desEDE3 }
}

/// What a master key may be used for on the token. Decided when the key is made (PKCS#11 §4.4).
public struct KeyUsage: OptionSet, Hashable, Sendable, Codable {
    /// The bits.
    public var rawValue: UInt8
    /// Wraps the bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// CKA_DERIVE: the least that diversification by `*_ECB_ENCRYPT_DATA` needs.
    public static let derive = KeyUsage(rawValue: 1)
    /// CKA_SIGN and CKA_VERIFY: diversification by CMAC on tokens without SP 800-108.
    public static let mac = KeyUsage(rawValue: 2)
    /// CKA_ENCRYPT: diversification by plain encryption.
    public static let encrypt = KeyUsage(rawValue: 4)
}

/// An opaque 16-byte identifier, printed as a UUID (RFC 9562).
public struct Identifier128: Hashable, Comparable, Sendable {
    /// Exactly 16 bytes.
    public let bytes: [UInt8]

    /// Wraps 16 bytes; nil for any other count.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// An identifier from two halves, most significant first.
    public init(high: UInt64, low: UInt64) {
        bytes = ByteOrder.bigEndian(high) + ByteOrder.bigEndian(low)
    }

    /// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in either case; nil for anything else.
    public init?(_ text: String) {
        let characters = Array(text.utf8)
        guard characters.count == 36 else { return nil }
        var digits: [UInt8] = []
        for (position, character) in characters.enumerated() {
            if [8, 13, 18, 23].contains(position) {
                guard character == UInt8(ascii: "-") else { return nil }
            } else {
                digits.append(character)
            }
        }
        guard let bytes = Hex.decode(String(decoding: digits, as: UTF8.self)) else { return nil }
        self.bytes = bytes
    }

    /// Orders identifiers by their bytes.
    public static func < (left: Identifier128, right: Identifier128) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

extension Identifier128: CustomStringConvertible {
    /// The UUID form, lower case.
    public var description: String {
        let text = Array(Hex.encode(bytes))
        let cuts = [0..<8, 8..<12, 12..<16, 16..<20, 20..<32]
        return cuts.map { String(text[$0]) }.joined(separator: "-")
    }
}

extension Identifier128: Codable {
    /// Reads the UUID form.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Identifier128(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a UUID"))
        }
        self = value
    }

    /// Writes the UUID form.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// Names one client request, so that repeating it cannot make a second key.
public typealias RequestID = Identifier128

/// Names one key generation in the catalog; stamped on every object that it makes.
public typealias OperationID = Identifier128

/// The CKA_ID of one attempt to make a master key: operation (16 bytes) | term (8) | attempt (2), big-endian.
///
/// PKCS#11 cannot fence a late writer, so the fencing token is stamped on the object itself: an object
/// whose identity no activation names is invisible, whoever made it and whenever it appears.
public struct KeyIdentity: Hashable, Comparable, Sendable, Codable {
    /// The generation this object belongs to.
    public var operation: OperationID
    /// The term of the leader that asked for it.
    public var term: Term
    /// The number of the attempt within the operation, from 1.
    public var attempt: UInt16

    /// Puts an identity together.
    public init(operation: OperationID, term: Term, attempt: UInt16) {
        self.operation = operation
        self.term = term
        self.attempt = attempt
    }

    /// The number of bytes of every such CKA_ID.
    public static let byteCount = 26

    /// The CKA_ID.
    public var bytes: [UInt8] {
        operation.bytes + ByteOrder.bigEndian(term.rawValue) + [UInt8(attempt >> 8), UInt8(attempt & 0xFF)]
    }

    /// Reads a CKA_ID; nil when it does not have this form. Whether the operation exists only the
    /// catalog knows.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, let operation = OperationID(bytes: Array(bytes[0..<16])) else {
            return nil
        }
        self.operation = operation
        term = Term(bytes[16..<24].reduce(0) { $0 << 8 | UInt64($1) })
        attempt = UInt16(bytes[24]) << 8 | UInt16(bytes[25])
    }

    /// Orders identities by operation, term and attempt.
    public static func < (left: KeyIdentity, right: KeyIdentity) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

/// What a token proves about a key it holds, without giving the key away.
public struct KeyProof: Hashable, Sendable, Codable {
    /// The key check value: the first three bytes of the encryption of a zero block (24 bits: a check
    /// against mistakes, not an identity), as upper-case hexadecimal. Computed, never read.
    public var keyCheckValue: String
    /// The encryption of a zero block under a key derived from the challenge, as hexadecimal.
    public var probe: String

    /// Puts a proof together.
    public init(keyCheckValue: String, probe: String) {
        self.keyCheckValue = keyCheckValue
        self.probe = probe
    }
}
