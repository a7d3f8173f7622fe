import ClusterModel
import GRDB
import Raft

// The store's bookkeeping: one checksummed value that every transaction rewrites. It carries both ends of the
// record chain, so that a record lost at either end is missed, and the rules about what may be written.

/// Hard state, snapshot and both ends of the log.
struct LogState: Codable, Sendable {
    static let name = "log"

    var hardState = HardState()
    var snapshot: SnapshotMetadata?
    /// The end of the chain before the first stored record.
    var base = Position.start
    /// The end of the chain at the last stored record.
    var last = Position.start
    /// Counts transactions.
    var sequence: UInt64 = 0
    /// Roughly how much the running transaction writes; not stored.
    var pendingBytes = 0

    private enum CodingKeys: String, CodingKey {
        case hardState, snapshot, base, last, sequence
    }

    mutating func apply(_ batch: LogBatch, _ db: Database, _ path: String) throws {
        if let index = batch.truncateFrom { try truncate(from: index, db, path) }
        for entry in batch.entries { try append(entry, db) }
        if let hardState = batch.hardState { try adopt(hardState) }
    }

    private mutating func truncate(from index: LogIndex, _ db: Database, _ path: String) throws {
        guard index > hardState.commitIndex, index > base.index else {
            throw StorageError.invalidRequest(
                "truncating from \(index) would cut off committed entries "
                    + "(committed \(hardState.commitIndex), snapshot \(base.index))")
        }
        guard index <= last.index else { return }
        try LogTable.delete(from: index, db)
        let previous = index.previous
        last = previous == base.index ? base : try LogTable.position(at: previous, db, path)
    }

    private mutating func append(_ entry: LogEntry, _ db: Database) throws {
        guard entry.index == last.index.next, entry.index <= LogTable.lastPossibleIndex else {
            throw StorageError.invalidRequest("entry \(entry.index) does not follow entry \(last.index)")
        }
        guard entry.term >= last.term else {
            throw StorageError.invalidRequest(
                "entry \(entry.index) of term \(entry.term) follows an entry of term \(last.term)")
        }
        last = try LogTable.append(entry, after: last, db)
        if case .command(let bytes) = entry.payload { pendingBytes += bytes.count }
        pendingBytes += DurableDatabase.recordOverheadBytes
    }

    private mutating func adopt(_ new: HardState) throws {
        guard new.term >= hardState.term else {
            throw StorageError.invalidRequest("term \(new.term) follows term \(hardState.term)")
        }
        if new.term == hardState.term, let vote = hardState.votedFor, new.votedFor != vote {
            throw StorageError.invalidRequest("the vote for \(vote) in term \(new.term) can't be taken back")
        }
        guard new.commitIndex >= hardState.commitIndex else {
            throw StorageError.invalidRequest(
                "commit index \(new.commitIndex) follows \(hardState.commitIndex)")
        }
        hardState = new
    }

    /// Tells whether anything changed.
    mutating func compact(_ snapshot: SnapshotMetadata, _ db: Database, _ path: String) throws -> Bool {
        guard snapshot.lastIndex > base.index else { return false }
        guard snapshot.lastIndex <= last.index else {
            throw StorageError.invalidRequest(
                "can't compact through \(snapshot.lastIndex): the log ends at \(last.index)")
        }
        let position = try LogTable.position(at: snapshot.lastIndex, db, path)
        guard position.term == snapshot.lastTerm else {
            throw StorageError.invalidRequest(
                "entry \(snapshot.lastIndex) is of term \(position.term), not \(snapshot.lastTerm)")
        }
        try LogTable.delete(through: snapshot.lastIndex, db)
        base = position
        self.snapshot = snapshot
        return true
    }

    /// Tells whether anything changed.
    mutating func install(_ snapshot: SnapshotMetadata, _ db: Database) throws -> Bool {
        guard snapshot.lastIndex > base.index, snapshot.lastIndex >= hardState.commitIndex,
            snapshot.lastIndex <= LogTable.lastPossibleIndex
        else {
            throw StorageError.invalidRequest(
                "snapshot \(snapshot.lastIndex) is not newer than what is stored "
                    + "(committed \(hardState.commitIndex), snapshot \(base.index))")
        }
        try LogTable.delete(from: .zero, db)
        base = Position(index: snapshot.lastIndex, term: snapshot.lastTerm, checksum: 0)
        last = base
        self.snapshot = snapshot
        return true
    }
}
