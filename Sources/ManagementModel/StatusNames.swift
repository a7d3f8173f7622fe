// The words that stand for states in JSON. They are open: a newer node may send a word that an older client
// has never heard of, and the client shows it instead of failing. The known words are constants.

/// A node's role in consensus (Raft §5.1).
public struct NodeRole: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word in JSON.
    public var rawValue: String
    /// Wraps a word.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Leads its term.
    public static let leader = NodeRole(rawValue: "leader")
    /// Follows a leader, or waits for one.
    public static let follower = NodeRole(rawValue: "follower")
    /// Stands for election.
    public static let candidate = NodeRole(rawValue: "candidate")
    /// The answering node cannot tell.
    public static let unknown = NodeRole(rawValue: "unknown")
    /// The word.
    public var description: String { rawValue }
}

/// Whether a node takes part in consensus.
public struct NodeMembership: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word in JSON.
    public var rawValue: String
    /// Wraps a word.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Counts in elections and commitment.
    public static let voter = NodeMembership(rawValue: "voter")
    /// Receives the log and may be promoted.
    public static let learner = NodeMembership(rawValue: "learner")
    /// Was a member and is none any more.
    public static let removed = NodeMembership(rawValue: "removed")
    /// Has not been added yet.
    public static let none = NodeMembership(rawValue: "none")
    /// The word.
    public var description: String { rawValue }
}

/// A member's liveness as gossip sees it (SWIM §4).
public struct MemberState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word in JSON.
    public var rawValue: String
    /// Wraps a word.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Answers pings.
    public static let alive = MemberState(rawValue: "alive")
    /// Has missed pings and may still refute it.
    public static let suspect = MemberState(rawValue: "suspect")
    /// Taken for failed.
    public static let dead = MemberState(rawValue: "dead")
    /// Never heard of.
    public static let unknown = MemberState(rawValue: "unknown")
    /// The word.
    public var description: String { rawValue }
}

/// What state an endpoint is in, for the cluster or as one node observes it.
public struct EndpointState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word in JSON.
    public var rawValue: String
    /// Wraps a word.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Usable.
    public static let inService = EndpointState(rawValue: "in service")
    /// Reachable, but taken out of the view.
    public static let outOfService = EndpointState(rawValue: "out of service")
    /// The token host, the module or the token does not answer.
    public static let unreachable = EndpointState(rawValue: "unreachable")
    /// The token rejected the PIN; it is not tried again until an operator says so.
    public static let credentialError = EndpointState(rawValue: "credential error")
    /// The token host is being started.
    public static let starting = EndpointState(rawValue: "starting")
    /// The word.
    public var description: String { rawValue }
}

/// How far the generation of a master key has come.
public struct MasterKeyState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word in JSON.
    public var rawValue: String
    /// Wraps a word.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// A label is bound; the key is not usable yet.
    public static let pending = MasterKeyState(rawValue: "pending")
    /// Activated: usable, irrevocably. (Which key is *the* active one, `active` tells.)
    public static let active = MasterKeyState(rawValue: "active")
    /// Given up; the label number is not used again.
    public static let failed = MasterKeyState(rawValue: "failed")
    /// The word.
    public var description: String { rawValue }
}
