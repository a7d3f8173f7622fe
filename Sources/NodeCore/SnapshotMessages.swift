import ClusterModel
import KeyCatalog
import Raft

// How the catalog travels to a follower whose next log entry has been forgotten (Raft §7, figure 13). The paper
// sends byte offsets of a file; here a chunk is a run of whole rows, so that each one can be read by itself.
// One chunk is on its way at a time and the answer names the next one wanted: what is lost is sent again, and
// after a broken link the transfer goes on where it stopped.

/// A part of a snapshot, from the leader to a follower.
public struct SnapshotChunk: Hashable, Sendable, Codable {
    /// The leader's term.
    public var term: Term
    /// Numbers the transfer within the sending node's term.
    public var transfer: UInt64
    /// What the whole snapshot covers.
    public var metadata: SnapshotMetadata
    /// The chunk's number, from 0.
    public var number: UInt64
    /// Whether it is the last one.
    public var isLast: Bool
    /// Rows of the catalog; every `value` is present.
    public var rows: [RowChange]
    /// Puts a chunk together.
    public init(
        term: Term, transfer: UInt64, metadata: SnapshotMetadata, number: UInt64, isLast: Bool,
        rows: [RowChange]
    ) {
        self.term = term
        self.transfer = transfer
        self.metadata = metadata
        self.number = number
        self.isLast = isLast
        self.rows = rows
    }
}

/// A follower's answer to a `SnapshotChunk`.
public struct SnapshotAnswer: Hashable, Sendable, Codable {
    /// What the follower makes of the transfer.
    public enum Outcome: Hashable, Sendable, Codable {
        /// It waits for the chunk of this number.
        case wants(UInt64)
        /// It has everything.
        case complete
        /// It cannot take the snapshot, for a reason that another try may not meet.
        case refused(String)
    }

    /// The term of the chunk.
    public var term: Term
    /// The transfer that is answered.
    public var transfer: UInt64
    /// What the follower makes of it.
    public var outcome: Outcome
}

/// A snapshot that the shell puts in place of everything the node has stored.
public struct SnapshotInstallation: Hashable, Sendable {
    /// What the snapshot covers.
    public var metadata: SnapshotMetadata
    /// All rows of the catalog.
    public var rows: [RowChange]
}
