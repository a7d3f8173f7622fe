// The bodies of requests. They come from outside, so decoding is strict: a member that is not known is
// refused by its name (a misspelt optional would otherwise be ignored in silence), and every text is bounded.

import ClusterModel

/// Bounds on what a request may hold.
public enum ManagementLimits {
    /// The most bytes of a request body.
    public static let bodyBytes = 65_536
    /// The most bytes of a key's comment.
    public static let commentBytes = 256
    /// The most bytes of a key store's name.
    public static let keyStoreNameBytes = 64
    /// The most bytes of a node's address.
    public static let addressBytes = 300
    /// The most replicas that a key store may ask for.
    public static let replicas = 32
    /// The most bytes of foreign text that an error message repeats.
    public static let quotedBytes = 64
}

/// The body of POST /v1/key-stores.
public struct CreateKeyStore: Hashable, Sendable {
    /// The name: letters, digits, spaces, `.`, `_`, `-`; at most 64 bytes.
    public var name: String
    /// How many verified replicas a key needs; nil takes the cluster's configured minimum.
    public var minimumReplicas: Int?

    /// Puts a request together. `validate` tells whether it is acceptable.
    public init(name: String, minimumReplicas: Int? = nil) {
        self.name = name
        self.minimumReplicas = minimumReplicas
    }

    /// Throws `invalid-request` when a value is out of bounds.
    public func validate() throws(ManagementError) {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.count <= ManagementLimits.keyStoreNameBytes else {
            throw .invalid(
                "name has \(bytes.count) bytes",
                "Give a name of 1 to \(ManagementLimits.keyStoreNameBytes) bytes.")
        }
        guard bytes.allSatisfy(Self.isNameByte), bytes.first != 0x20, bytes.last != 0x20 else {
            throw .invalid(
                "name holds a character that is not allowed",
                "Use letters, digits, '.', '_', '-' and inner spaces, such as 'HSM Keystore'.")
        }
        if let minimumReplicas, !(1...ManagementLimits.replicas).contains(minimumReplicas) {
            throw .invalid(
                "minimumReplicas is \(minimumReplicas)",
                "Give a number from 1 to \(ManagementLimits.replicas), or leave it out.")
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: " "), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension CreateKeyStore: Codable {
    private enum Keys: String, CodingKey, CaseIterable { case name, minimumReplicas }

    /// Reads and validates the body.
    public init(from decoder: any Decoder) throws {
        try AnyKey.refuseUnknown(in: decoder, known: Keys.allCases.map(\.rawValue))
        let members = try decoder.container(keyedBy: Keys.self)
        name = try members.decode(String.self, forKey: .name)
        minimumReplicas = try members.decodeIfPresent(Int.self, forKey: .minimumReplicas)
        try validate()
    }

    /// Writes the body.
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(name, forKey: .name)
        try members.encodeIfPresent(minimumReplicas, forKey: .minimumReplicas)
    }
}

/// The body of POST /v1/master-keys.
public struct GenerateMasterKey: Hashable, Sendable {
    /// The algorithm; in JSON `aes128`, `aes256` or `des-ede3`, in either case.
    public var algorithm: KeyAlgorithm
    /// What the operator wants to remember; no control characters, at most 256 bytes.
    public var comment: String

    /// Puts a request together. `validate` tells whether it is acceptable.
    public init(algorithm: KeyAlgorithm, comment: String = "") {
        self.algorithm = algorithm
        self.comment = comment
    }

    /// Throws `invalid-request` when a value is out of bounds.
    public func validate() throws(ManagementError) {
        guard comment.utf8.count <= ManagementLimits.commentBytes else {
            throw .invalid(
                "comment has \(comment.utf8.count) bytes",
                "Shorten it to \(ManagementLimits.commentBytes) bytes.")
        }
        guard comment.unicodeScalars.allSatisfy({ !$0.isControl }) else {
            throw .invalid("comment holds a control character", "Write it on one line, without tabs.")
        }
    }

    /// The algorithm that people call `name`; throws `unknown-algorithm`.
    public static func algorithm(named name: String) throws(ManagementError) -> KeyAlgorithm {
        guard name.utf8.count <= ManagementLimits.quotedBytes,
            let algorithm = KeyAlgorithm(rawValue: name.lowercased())
        else {
            throw ManagementError(.unknownAlgorithm, detail: "'\(name.quotable)' is not a known algorithm.")
        }
        return algorithm
    }
}

extension GenerateMasterKey: Codable {
    private enum Keys: String, CodingKey, CaseIterable { case algorithm, comment }

    /// Reads and validates the body.
    public init(from decoder: any Decoder) throws {
        try AnyKey.refuseUnknown(in: decoder, known: Keys.allCases.map(\.rawValue))
        let members = try decoder.container(keyedBy: Keys.self)
        algorithm = try Self.algorithm(named: members.decode(String.self, forKey: .algorithm))
        comment = try members.decodeIfPresent(String.self, forKey: .comment) ?? ""
        try validate()
    }

    /// Writes the body.
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(algorithm.rawValue, forKey: .algorithm)
        if !comment.isEmpty { try members.encode(comment, forKey: .comment) }
    }
}

/// Any member name, to see which ones an object has.
struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }

    static func refuseUnknown(in decoder: any Decoder, known: [String]) throws {
        let names = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted()
        guard let unknown = names.first(where: { !known.contains($0) }) else { return }
        throw ManagementError.invalid(
            "the member '\(unknown.quotable)' is not known here",
            "Remove it; known are \(known.sorted().joined(separator: ", ")).")
    }
}

extension Unicode.Scalar {
    /// True for what a terminal or a log might act on: C0, DEL, C1, line separators and bidi controls.
    public var isControl: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}

extension String {
    /// This text made fit for a message: one line, no control characters, at most
    /// `ManagementLimits.quotedBytes` bytes.
    public var quotable: String {
        var text = ""
        for scalar in unicodeScalars {
            let piece = scalar.isControl ? "?" : String(scalar)
            guard text.utf8.count + piece.utf8.count <= ManagementLimits.quotedBytes else {
                return text + "…"
            }
            text += piece
        }
        return text
    }
}
