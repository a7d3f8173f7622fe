// The machine's two sides: events go in, effects come out (the shape is that of etcd-io/raft's Ready, with
// the rule "durable before sent" made a type). Whatever may leave only after something is durable sits inside
// the batch that must become durable; everything else may leave at once.

import ClusterModel

/// Names a batch that was handed out for writing. Tokens grow by one within a process life.
public struct PersistToken: RawRepresentable, Hashable, Comparable, Sendable {
    /// The batch's number, from 1.
    public var rawValue: UInt64
    /// Wraps a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Orders batches as they were handed out.
    public static func < (left: PersistToken, right: PersistToken) -> Bool { left.rawValue < right.rawValue }
}

/// One write that the shell owes. Batches become durable in the order in which they were handed out; several
/// may share one sync.
public struct PersistBatch: Hashable, Sendable {
    /// Names the batch in `Event.persisted`.
    public var token: PersistToken
    /// Replaces the stored hard state when present.
    public var hardState: HardState?
    /// Stored entries from this index on are to be deleted, before `entries` are appended.
    public var truncateFrom: LogIndex?
    /// Entries to append; contiguous with what is stored.
    public var entries: [LogEntry]
    /// Messages that may leave once this batch and all earlier ones are durable. A batch with nothing else
    /// needs no write of its own.
    public var thenSend: [Envelope]
}

/// What became of a read request.
public enum ReadOutcome: Hashable, Sendable {
    /// Leadership is confirmed: a state machine that has applied up to the index serves a linearizable read.
    case ready(LogIndex)
    /// This node does not lead, or ceased to before it could confirm. Ask the other node, if one is known.
    case notLeader(leader: NodeID?)
    /// More reads wait than `RaftSettings.maxPendingReads`; try again later.
    case tooManyPending
}

/// What became of a proposal.
public enum ProposalOutcome: Hashable, Sendable {
    /// The proposal has a place in this leader's log. It is accepted once an entry with this index *and*
    /// term is committed; if another term's entry is committed there, it is lost.
    case appended(index: LogIndex, term: Term)
    /// The proposal was not appended, so it will never take effect.
    case rejected(ProposalRejection)
}

/// Why a proposal was not appended.
public enum ProposalRejection: Error, Hashable, Sendable {
    /// This node does not lead; ask the other node, if one is known.
    case notLeader(leader: NodeID?)
    /// Leadership is being handed over (by request, or since this leader has been removed): try again
    /// shortly.
    case transferInProgress
    /// `RaftSettings.maxUncommittedBytes` are in flight: try again when some are committed.
    case tooManyUncommitted
    /// The command exceeds `RaftSettings.maxCommandBytes`.
    case commandTooLarge(limit: Int)
    /// An earlier change of configuration is not committed yet: try again when it is.
    case configurationChangeInProgress
    /// This leader has committed nothing in its term yet, and may not change the configuration before that.
    case currentTermNotCommitted
    /// The configuration has no voter, or differs from the present one by more than one voter.
    case configurationInvalid
}

/// A change of what the node is, what term it is in, or whom it follows.
public struct RoleChange: Hashable, Sendable {
    /// What the node is now.
    public var role: Role.Kind
    /// Its term.
    public var term: Term
    /// The leader it knows; itself when it leads.
    public var leader: NodeID?
}

/// A snapshot that the leader's shell shall bring to a follower: first the data, then `request` as a message.
/// It answers with `Event.snapshotSendFinished` or `snapshotSendFailed`.
public struct SnapshotTransfer: Hashable, Sendable {
    /// The follower.
    public var to: NodeID
    /// The message to deliver after the data. A newer snapshot may be sent instead, with its own metadata.
    public var request: SnapshotRequest
}

extension Consensus {
    /// Something that happened outside the machine.
    public enum Event: Sendable {
        /// One tick of time has passed.
        case tick
        /// A message came from an authenticated peer.
        case received(Message, from: NodeID)
        /// Someone wants a command in the log. The token comes back in `Effects.proposals`.
        case proposed([UInt8], token: UInt64)
        /// Someone wants a linearizable read. The token comes back in `Effects.reads`.
        case readRequested(token: UInt64)
        /// All batches up to this token are durable.
        case persisted(through: PersistToken)
        /// An operator wants another voter to lead. Ignored unless this node leads and the target votes.
        case transferRequested(to: NodeID)
        /// Someone wants this configuration in the log. The token comes back in `Effects.proposals`.
        case configurationProposed(VoterConfiguration, token: UInt64)
        /// The shell has stored a snapshot of the applied state; entries up to it may be forgotten.
        case snapshotTaken(SnapshotMetadata)
        /// The snapshot of `Effects.installSnapshot` is durably in place of state and log.
        case snapshotInstalled(SnapshotMetadata)
        /// The snapshot of `Effects.installSnapshot` could not be installed; state and log are untouched.
        case snapshotInstallFailed(SnapshotMetadata)
        /// A snapshot and its request have been delivered to the follower.
        case snapshotSendFinished(to: NodeID)
        /// A snapshot could not be delivered; the machine will ask again.
        case snapshotSendFailed(to: NodeID)
        /// The disk has no room, or has room again.
        case storageImpeded(Bool)
        /// To a node whose state is `Rejoin.demotion`: a leader says that it has committed a configuration, at or
        /// before the index, in which this node does not vote. Must be an answer to a question of this life.
        case demoted(by: NodeID, term: Term, index: LogIndex)
    }

    /// What the shell shall do. Steps append, so several steps may share one value; carry out and clear it.
    public struct Effects: Sendable {
        /// Writes, in order. Their messages wait for them.
        public var persist: [PersistBatch] = []
        /// Messages that may leave at once, even before the writes of the same step are durable.
        public var send: [Envelope] = []
        /// Entries to apply, in order; each appears once in a process life, and only when it is durable here.
        public var committed: [LogEntry] = []
        /// Answers to read requests.
        public var reads: [(token: UInt64, outcome: ReadOutcome)] = []
        /// Answers to proposals.
        public var proposals: [(token: UInt64, outcome: ProposalOutcome)] = []
        /// The node's role, when it has changed.
        public var roleChange: RoleChange?
        /// Snapshots to bring to followers.
        public var snapshotNeeded: [SnapshotTransfer] = []
        /// A received snapshot to install after all earlier batches: it replaces the state machine's state
        /// and the *whole* stored log. Answer with `Event.snapshotInstalled` or `snapshotInstallFailed`.
        public var installSnapshot: SnapshotMetadata?

        /// No effects.
        public init() {}
        /// Whether there is nothing to do.
        public var isEmpty: Bool {
            persist.isEmpty && send.isEmpty && committed.isEmpty && reads.isEmpty && proposals.isEmpty
                && roleChange == nil && snapshotNeeded.isEmpty && installSnapshot == nil
        }
    }
}
