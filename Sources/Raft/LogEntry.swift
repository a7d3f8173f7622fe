// What the log holds and what must survive a crash (Ongaro & Ousterhout, "In Search of an Understandable
// Consensus Algorithm (Extended Version)", figure 2). Plain values: the machine computes with them, the
// shell writes them down, peers send them to each other.

import ClusterModel

/// One slot of the replicated log (Raft §5.3). Two entries with the same index and term are the same entry.
public struct LogEntry: Hashable, Sendable, Codable {
    /// The term of the leader that created the entry.
    public var term: Term
    /// The entry's position, counted from 1.
    public var index: LogIndex
    /// What the entry says.
    public var payload: Payload
    /// Makes an entry from its parts.
    public init(term: Term, index: LogIndex, payload: Payload) {
        self.term = term
        self.index = index
        self.payload = payload
    }

    /// What the entry is charged against the byte limits of the settings: its command and a flat amount for
    /// everything around it.
    public var byteCount: Int {
        switch payload {
        case .noop: Self.overheadBytes
        case .command(let bytes): Self.overheadBytes + bytes.count
        case .configuration(let configuration): Self.overheadBytes + 8 * configuration.members.count
        }
    }

    private static let overheadBytes = 32
}

/// What a log entry says.
public enum Payload: Hashable, Sendable, Codable {
    /// Nothing; a new leader appends one to commit what its predecessors left (Raft §5.4.2, §8).
    case noop
    /// A command of the state machine, opaque to consensus.
    case command([UInt8])
    /// The set of voters and learners from this entry on (Ongaro's dissertation §4.1).
    case configuration(VoterConfiguration)
}

/// Who votes and who only listens. Always sorted, without duplicates, and no node is both.
public struct VoterConfiguration: Hashable, Sendable, Codable {
    /// The nodes that count in elections and commitment, ascending.
    public private(set) var voters: [NodeID]
    /// The nodes that receive the log but never count, ascending (dissertation §4.2.1).
    public private(set) var learners: [NodeID]

    /// Sorts and deduplicates; a node named in both lists is a voter.
    public init(voters: [NodeID], learners: [NodeID] = []) {
        let voting = Set(voters)
        self.voters = voting.sorted()
        self.learners = Set(learners).subtracting(voting).sorted()
    }

    /// Decodes and normalizes, so that a list from the wire is sorted like any other.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            voters: try container.decode([NodeID].self, forKey: .voters),
            learners: try container.decode([NodeID].self, forKey: .learners))
    }

    private enum CodingKeys: String, CodingKey {
        case voters
        case learners
    }

    /// Voters and learners, ascending.
    public var members: [NodeID] { (voters + learners).sorted() }
    /// Whether the node counts in elections.
    public func isVoter(_ node: NodeID) -> Bool { voters.contains(node) }
    /// Whether the node receives the log.
    public func isMember(_ node: NodeID) -> Bool { voters.contains(node) || learners.contains(node) }

    /// The configuration with the node as a voter; promotes a learner.
    public func addingVoter(_ node: NodeID) -> VoterConfiguration {
        VoterConfiguration(voters: voters + [node], learners: learners)
    }
    /// The configuration with the node as a learner; demotes a voter.
    public func addingLearner(_ node: NodeID) -> VoterConfiguration {
        VoterConfiguration(voters: voters.filter { $0 != node }, learners: learners + [node])
    }
    /// The configuration without the node.
    public func removing(_ node: NodeID) -> VoterConfiguration {
        VoterConfiguration(voters: voters.filter { $0 != node }, learners: learners.filter { $0 != node })
    }
}

/// The part of a node's state that must be durable before it answers anyone (Raft figure 2, "persistent
/// state"). The commit index is a convenience: it lets a restarted node apply what it knew to be committed.
public struct HardState: Hashable, Sendable, Codable {
    /// The latest term the node has seen.
    public var term: Term
    /// Whom the node voted for in that term.
    public var votedFor: NodeID?
    /// A lower bound of what is committed.
    public var commitIndex: LogIndex
    /// How far the log reached before damage cut it short; nil when it reaches that far.
    public var lostEnd: LogPosition?
    /// How far a node that has forgotten its votes is on the way back; nil for all others.
    public var rejoin: Rejoin?
    /// Makes a hard state; without arguments that of a node that has never run.
    public init(
        term: Term = .zero, votedFor: NodeID? = nil, commitIndex: LogIndex = .zero,
        lostEnd: LogPosition? = nil, rejoin: Rejoin? = nil
    ) {
        self.term = term
        self.votedFor = votedFor
        self.commitIndex = commitIndex
        self.lostEnd = lostEnd
        self.rejoin = rejoin
    }
}

/// The end of a log. The greater one is the more up to date (Raft §5.4.1): the later term, then the longer log.
public struct LogPosition: Hashable, Comparable, Sendable, Codable {
    /// The last entry.
    public var index: LogIndex
    /// Its term.
    public var term: Term
    /// Makes a position from its parts.
    public init(index: LogIndex, term: Term) {
        self.index = index
        self.term = term
    }
    /// Orders positions by how up to date a log is that ends there.
    public static func < (left: Self, right: Self) -> Bool {
        (left.term, left.index) < (right.term, right.index)
    }
}

/// The way back of a node that has lost its hard state.
public enum Rejoin: Hashable, Sendable, Codable {
    /// It takes no part at all until the others have committed a configuration in which it does not vote.
    case demotion
    /// They have, at or before the index. It takes entries, and votes again once a later one makes it a voter.
    case promotion(after: LogIndex)
}

/// What a snapshot replaces: every entry up to and including `lastIndex` (Raft §7).
public struct SnapshotMetadata: Hashable, Sendable, Codable {
    /// The last entry that the snapshot includes.
    public var lastIndex: LogIndex
    /// The term of that entry.
    public var lastTerm: Term
    /// The configuration in force at that entry.
    public var configuration: VoterConfiguration
    /// Makes the description from its parts.
    public init(lastIndex: LogIndex, lastTerm: Term, configuration: VoterConfiguration) {
        self.lastIndex = lastIndex
        self.lastTerm = lastTerm
        self.configuration = configuration
    }
}

extension LogIndex {
    /// The position `count` further on.
    func advanced(by count: Int) -> LogIndex { LogIndex(rawValue + UInt64(count)) }
    /// How many positions lie from this one up to `other`; zero when `other` is not further on.
    func distance(to other: LogIndex) -> Int { other <= self ? 0 : Int(other.rawValue - rawValue) }
}
