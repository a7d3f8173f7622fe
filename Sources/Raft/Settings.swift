// The knobs of the machine, and the state it is started from. Times are counted in ticks; how long a tick
// is, is the shell's affair. Raft §5.6 wants broadcast time well below the election timeout, hence heartbeats
// several times as often as the shortest timeout.

import ClusterModel

/// Limits and timeouts of consensus. All nodes of a cluster should use the same.
public struct RaftSettings: Hashable, Sendable, Codable {
    /// Ticks between two heartbeats; at least 1 and less than `electionTicks`.
    public var heartbeatTicks: Int
    /// The shortest election timeout in ticks. Each timeout is drawn from `electionTicks ..< 2 *
    /// electionTicks`. It is also how long a follower protects a leader it has heard, how long a leader may
    /// go without hearing a quorum, and how long a leadership transfer may take.
    public var electionTicks: Int
    /// The most entries in one append request.
    public var maxEntriesPerAppend: Int
    /// The most bytes in one append request, as `LogEntry.byteCount` counts; one entry always fits.
    public var maxBytesPerAppend: Int
    /// The most append requests with entries that one follower has not answered yet.
    public var maxInflightAppends: Int
    /// The most bytes of commands that a leader holds uncommitted before it refuses proposals.
    public var maxUncommittedBytes: Int
    /// The largest command, in bytes.
    public var maxCommandBytes: Int
    /// The most reads that wait for a leader's confirmation.
    public var maxPendingReads: Int
    /// How many entries stay in memory behind a snapshot, so that a slightly late follower needs no snapshot.
    public var entriesKeptBehindSnapshot: Int

    /// Sane settings for a cluster on one local network; every limit can be given.
    public init(
        heartbeatTicks: Int = 2, electionTicks: Int = 10, maxEntriesPerAppend: Int = 256,
        maxBytesPerAppend: Int = 512 * 1024, maxInflightAppends: Int = 64,
        maxUncommittedBytes: Int = 16 * 1024 * 1024, maxCommandBytes: Int = 256 * 1024,
        maxPendingReads: Int = 4096, entriesKeptBehindSnapshot: Int = 1024
    ) {
        precondition(heartbeatTicks >= 1, "heartbeatTicks must be at least 1")
        precondition(electionTicks > heartbeatTicks, "electionTicks must exceed heartbeatTicks")
        precondition(maxEntriesPerAppend >= 1 && maxInflightAppends >= 1, "append limits must be at least 1")
        self.heartbeatTicks = heartbeatTicks
        self.electionTicks = electionTicks
        self.maxEntriesPerAppend = maxEntriesPerAppend
        self.maxBytesPerAppend = maxBytesPerAppend
        self.maxInflightAppends = maxInflightAppends
        self.maxUncommittedBytes = maxUncommittedBytes
        self.maxCommandBytes = maxCommandBytes
        self.maxPendingReads = maxPendingReads
        self.entriesKeptBehindSnapshot = entriesKeptBehindSnapshot
    }
}

/// What a node finds in its storage when it starts.
public struct RecoveredState: Hashable, Sendable, Codable {
    /// Term, vote and commit index; the default for a node that has never run.
    public var hardState: HardState
    /// All entries after the snapshot, contiguous; after index 0 when there is no snapshot.
    public var entries: [LogEntry]
    /// The latest snapshot that was taken or installed.
    public var snapshot: SnapshotMetadata?
    /// Who votes when neither log nor snapshot says so: the same list on every founding node, and a list
    /// without the node itself among the voters on a node that joins later.
    public var initialConfiguration: VoterConfiguration
    /// Makes the state from its parts.
    public init(
        hardState: HardState = HardState(), entries: [LogEntry] = [], snapshot: SnapshotMetadata? = nil,
        initialConfiguration: VoterConfiguration
    ) {
        self.hardState = hardState
        self.entries = entries
        self.snapshot = snapshot
        self.initialConfiguration = initialConfiguration
    }

    /// Why the state can't be started from, or nil. Check it before making a `Consensus`: storage that lost
    /// entries must be repaired or replaced by an operator, not voted with.
    /// - Parameter appliedIndex: how far the state machine has applied.
    public func problem(appliedIndex: LogIndex) -> RecoveryProblem? {
        var last = snapshot?.lastIndex ?? .zero
        var lastTerm = snapshot?.lastTerm ?? .zero
        for entry in entries {
            guard entry.index == last.next else { return .gap(after: last, next: entry.index) }
            guard entry.term >= lastTerm, entry.term <= hardState.term else {
                return .termOutOfOrder(at: entry.index)
            }
            last = entry.index
            lastTerm = entry.term
        }
        guard hardState.commitIndex <= last else {
            return .commitBeyondLog(commitIndex: hardState.commitIndex, lastIndex: last)
        }
        guard appliedIndex <= last else {
            return .appliedBeyondLog(appliedIndex: appliedIndex, lastIndex: last)
        }
        return nil
    }
}

/// Why recovered state is not what a node can have written.
public enum RecoveryProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// Entries are missing.
    case gap(after: LogIndex, next: LogIndex)
    /// An entry's term is below its predecessor's or above the term of the hard state.
    case termOutOfOrder(at: LogIndex)
    /// The hard state knows more to be committed than the log holds.
    case commitBeyondLog(commitIndex: LogIndex, lastIndex: LogIndex)
    /// The state machine has applied more than the log holds.
    case appliedBeyondLog(appliedIndex: LogIndex, lastIndex: LogIndex)

    /// What is wrong, and what to do.
    public var description: String {
        let advice = "the log is damaged: restore this node from a peer by letting it join anew"
        return switch self {
        case .gap(let last, let next): "log entry \(next) follows \(last); \(advice)"
        case .termOutOfOrder(let index): "log entry \(index) has a term out of order; \(advice)"
        case .commitBeyondLog(let commit, let last):
            "entries up to \(commit) are committed but the log ends at \(last); \(advice)"
        case .appliedBeyondLog(let applied, let last):
            "entries up to \(applied) are applied but the log ends at \(last); \(advice)"
        }
    }
}
