// What a node is at a time (Raft figure 4, with the PreCandidate of dissertation §9.6). Each case carries
// just the state that only such a node has, so that nothing of a lost leadership can leak into the next one.

import ClusterModel

/// What a node is, with what only such a node knows.
public enum Role: Hashable, Sendable {
    /// Takes entries from the leader. Becomes preCandidate on timeout, candidate on TimeoutNow.
    case follower(leader: NodeID?)
    /// Asks whether it could win. Becomes candidate on a majority, else follower; asks anew on timeout.
    case preCandidate(Ballot)
    /// Campaigns in its term. Becomes leader on a majority, else follower; asks anew on timeout.
    case candidate(Ballot)
    /// Leads its term. Becomes follower on a higher term, when it hears no quorum, or when it is removed.
    case leader(Leadership)

    /// The case alone.
    public enum Kind: String, Hashable, Sendable, Codable {
        /// Follows.
        case follower
        /// Asks for pre-votes.
        case preCandidate
        /// Asks for votes.
        case candidate
        /// Leads.
        case leader
    }

    /// The case alone.
    public var kind: Kind {
        switch self {
        case .follower: .follower
        case .preCandidate: .preCandidate
        case .candidate: .candidate
        case .leader: .leader
        }
    }
}

/// The votes of one campaign.
public struct Ballot: Hashable, Sendable {
    /// Who said yes.
    public internal(set) var granted: Set<NodeID> = []
    /// Who said no.
    public internal(set) var refused: Set<NodeID> = []
    /// The candidate's own vote counts once this batch is durable.
    var ownVote: PersistToken?

    mutating func record(_ isGranted: Bool, from voter: NodeID) {
        if isGranted {
            granted.insert(voter)
        } else if !granted.contains(voter) {
            refused.insert(voter)
        }
    }
}

/// What a leader knows of its followers, and what others wait for it to finish.
public struct Leadership: Hashable, Sendable {
    var peers: [NodeID: Progress]
    var heartbeatElapsed = 0
    var uncommittedBytes = 0
    var transfer: Transfer?
    var reads = ReadQueue()

    init(peers: [NodeID: Progress]) { self.peers = peers }

    struct Transfer: Hashable, Sendable {
        var target: NodeID
        var elapsedTicks = 0
    }
}
