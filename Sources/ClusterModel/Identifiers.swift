// Every floor of the system names the same few things: nodes, endpoints, terms, log positions. Bare
// integers invite mixing them up, so each gets a type of its own. All are plain values; none reads a
// clock, a socket or a random number.

/// A coordinator node, as the configuration numbers it (1, 2, 3, …). Never reused for another node.
public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number in the configuration. Zero is not a valid node.
    public var rawValue: UInt64
    /// Wraps a configured number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a configured number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Orders nodes by number.
    public static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { String(rawValue) }
}

/// A Raft term (Raft §5.1): a logical clock; at most one leader exists in each.
public struct Term: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The term's number; 0 is before the first election.
    public var rawValue: UInt64
    /// Wraps a term number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a term number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// The term before the first election.
    public static let zero = Term(0)
    /// The term after this one.
    public var next: Term { Term(rawValue + 1) }
    /// Orders terms by number.
    public static func < (left: Term, right: Term) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { String(rawValue) }
}

/// A position in the Raft log (Raft §5.3). The first entry has index 1; 0 means "before the log".
public struct LogIndex: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The position's number.
    public var rawValue: UInt64
    /// Wraps a position.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a position.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// The position before the first entry.
    public static let zero = LogIndex(0)
    /// The position after this one.
    public var next: LogIndex { LogIndex(rawValue + 1) }
    /// The position before this one; `zero` stays `zero`.
    public var previous: LogIndex { LogIndex(rawValue == 0 ? 0 : rawValue - 1) }
    /// Orders positions by number.
    public static func < (left: LogIndex, right: LogIndex) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { String(rawValue) }
}

/// The name of an HSM endpoint, unique in the cluster, such as `hsm-a`.
public struct EndpointName: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as configured.
    public var rawValue: String
    /// Wraps a configured name.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Wraps a configured name.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    /// Orders endpoints by name.
    public static func < (left: EndpointName, right: EndpointName) -> Bool {
        left.rawValue < right.rawValue
    }
    /// The bare name.
    public var description: String { rawValue }
}

extension NodeID: Codable {}
extension Term: Codable {}
extension LogIndex: Codable {}
extension EndpointName: Codable {}

/// As a dictionary key, an endpoint is encoded by its name.
extension EndpointName: CodingKeyRepresentable {
    /// The name as a coding key.
    public var codingKey: any CodingKey { NameKey(stringValue: rawValue) }

    /// Reads a coding key.
    public init?(codingKey: some CodingKey) { self.init(codingKey.stringValue) }

    private struct NameKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}
