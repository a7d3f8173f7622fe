// What nodes say to each other: the remote procedure calls of the Raft paper (figure 2, figure 13) and the
// dissertation (PreVote §9.6, leadership transfer §3.10), flattened into one-way messages that may be lost,
// delayed, repeated and reordered. Every message carries a term; that alone decides how stale ones are
// treated. Heartbeats are append requests without entries.

import ClusterModel

/// A message between two nodes. The transport adds who sent it, and must have authenticated that.
public enum Message: Hashable, Sendable, Codable {
    /// "Would you vote for me?" Its term is the one the sender would campaign in; nobody adopts it.
    case preVoteRequest(VoteRequest)
    /// Granted: carries the term that was asked about. Refused: carries the sender's own term.
    case preVoteResponse(VoteResponse)
    /// "Vote for me" (Raft §5.2, §5.4.1).
    case voteRequest(VoteRequest)
    /// The answer to a vote request.
    case voteResponse(VoteResponse)
    /// Entries, or a heartbeat, from the leader (Raft §5.3).
    case appendRequest(AppendRequest)
    /// What the follower made of it.
    case appendResponse(AppendResponse)
    /// The description of a snapshot whose data the leader's shell has moved already (Raft §7).
    case snapshotRequest(SnapshotRequest)
    /// The follower's log now reaches the snapshot.
    case snapshotResponse(SnapshotResponse)
    /// The leader asks its successor to campaign at once (dissertation §3.10).
    case timeoutNow(TimeoutNow)

    /// The term that the message carries.
    public var term: Term {
        switch self {
        case .preVoteRequest(let request), .voteRequest(let request): request.term
        case .preVoteResponse(let response), .voteResponse(let response): response.term
        case .appendRequest(let request): request.term
        case .appendResponse(let response): response.term
        case .snapshotRequest(let request): request.term
        case .snapshotResponse(let response): response.term
        case .timeoutNow(let request): request.term
        }
    }
}

extension Message {
    /// No real cluster counts this far. Messages with larger numbers are damaged; arithmetic on them would
    /// trap.
    private static let largestNumber = UInt64.max / 4

    /// Whether every number in the message can have been counted up to.
    var isPlausible: Bool {
        let index: LogIndex =
            switch self {
            case .preVoteRequest(let request), .voteRequest(let request): request.lastLogIndex
            case .appendRequest(let request): max(request.previousIndex, request.commitIndex)
            case .appendResponse(let response): response.outcome.largestIndex
            case .snapshotRequest(let request): request.metadata.lastIndex
            case .snapshotResponse(let response): response.matchIndex
            case .preVoteResponse, .voteResponse, .timeoutNow: .zero
            }
        return max(term.rawValue, index.rawValue) <= Self.largestNumber
    }
}

extension AppendResponse.Outcome {
    fileprivate var largestIndex: LogIndex {
        switch self {
        case .matched(let index), .lost(let index): index
        case .conflict(let rejected, let hintIndex, _): max(rejected, hintIndex)
        case .installingSnapshot, .staleTerm: .zero
        }
    }
}

/// A candidate's claim: its term and how far its log reaches.
public struct VoteRequest: Hashable, Sendable, Codable {
    /// The term of the election.
    public var term: Term
    /// The candidate's last entry.
    public var lastLogIndex: LogIndex
    /// The term of that entry.
    public var lastLogTerm: Term
    /// Whether the present leader asked for this election; then the leader's lease does not forbid it.
    public var isTransfer: Bool
    /// Makes the request from its parts.
    public init(term: Term, lastLogIndex: LogIndex, lastLogTerm: Term, isTransfer: Bool) {
        self.term = term
        self.lastLogIndex = lastLogIndex
        self.lastLogTerm = lastLogTerm
        self.isTransfer = isTransfer
    }
}

/// A voter's answer.
public struct VoteResponse: Hashable, Sendable, Codable {
    /// See `Message` for what the term means in each kind of answer.
    public var term: Term
    /// Whether the vote was given.
    public var isGranted: Bool
    /// Makes the answer from its parts.
    public init(term: Term, isGranted: Bool) {
        self.term = term
        self.isGranted = isGranted
    }
}

/// Entries to append after a position that both logs must share; without entries, a heartbeat.
public struct AppendRequest: Hashable, Sendable, Codable {
    /// The leader's term.
    public var term: Term
    /// The position just before the entries.
    public var previousIndex: LogIndex
    /// The term of the entry at that position.
    public var previousTerm: Term
    /// Contiguous entries from `previousIndex` + 1 on; may be empty.
    public var entries: [LogEntry]
    /// How far the leader has committed.
    public var commitIndex: LogIndex
    /// The latest round of leadership confirmation that the leader has started (0: none in this term).
    public var readRound: UInt64
    /// Makes the request from its parts.
    public init(
        term: Term, previousIndex: LogIndex, previousTerm: Term, entries: [LogEntry], commitIndex: LogIndex,
        readRound: UInt64
    ) {
        self.term = term
        self.previousIndex = previousIndex
        self.previousTerm = previousTerm
        self.entries = entries
        self.commitIndex = commitIndex
        self.readRound = readRound
    }
}

/// A follower's answer to an append request.
public struct AppendResponse: Hashable, Sendable, Codable {
    /// What became of the request.
    public enum Outcome: Hashable, Sendable, Codable {
        /// The follower's durable log equals the leader's up to here.
        case matched(LogIndex)
        /// The follower has no entry of the leader's term at `rejected`. It can agree with the leader at
        /// `hintIndex` at best, where its own entry has `hintTerm`.
        case conflict(rejected: LogIndex, hintIndex: LogIndex, hintTerm: Term)
        /// As `conflict`; moreover, what the follower has acknowledged after the index was lost to damage and must be
        /// sent again. A leader of an older version skips the answer, and does not repair before it is upgraded.
        case lost(after: LogIndex)
        /// The follower is installing a snapshot and takes no entries meanwhile.
        case installingSnapshot
        /// The request's term has passed; the response's term is the follower's.
        case staleTerm
    }

    /// The follower's term.
    public var term: Term
    /// What became of the request.
    public var outcome: Outcome
    /// The round of leadership confirmation that the request carried.
    public var readRound: UInt64
    /// Makes the response from its parts.
    public init(term: Term, outcome: Outcome, readRound: UInt64) {
        self.term = term
        self.outcome = outcome
        self.readRound = readRound
    }
}

/// The description of a snapshot that has arrived at the receiver's shell.
public struct SnapshotRequest: Hashable, Sendable, Codable {
    /// The leader's term.
    public var term: Term
    /// What the snapshot covers.
    public var metadata: SnapshotMetadata
    /// Makes the request from its parts.
    public init(term: Term, metadata: SnapshotMetadata) {
        self.term = term
        self.metadata = metadata
    }
}

/// The follower has what the snapshot covers, durably.
public struct SnapshotResponse: Hashable, Sendable, Codable {
    /// The follower's term.
    public var term: Term
    /// How far the follower's log equals the leader's.
    public var matchIndex: LogIndex
    /// Makes the response from its parts.
    public init(term: Term, matchIndex: LogIndex) {
        self.term = term
        self.matchIndex = matchIndex
    }
}

/// The leader's request to its successor.
public struct TimeoutNow: Hashable, Sendable, Codable {
    /// The leader's term.
    public var term: Term
    /// Makes the request.
    public init(term: Term) { self.term = term }
}

/// A message and where it goes.
public struct Envelope: Hashable, Sendable {
    /// The receiver.
    public var to: NodeID
    /// What it is told.
    public var message: Message
    /// Addresses a message.
    public init(to: NodeID, message: Message) {
        self.to = to
        self.message = message
    }
}
