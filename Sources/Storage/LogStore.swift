import ClusterModel
import GRDB
import Raft
import Synchronization

// Raft answers a vote or an append only after what it answered from is on disk (Raft §5, figure 2: "updated
// on stable storage before responding"). This store is that disk: `raft.sqlite` holds the log, the hard state
// and the latest snapshot's description, and one call is one transaction with one sync. It checks what it is
// told against the invariants that storage can see (no gaps, no vote taken back, nothing committed cut off),
// since a bug above would otherwise be made durable.

/// What one step of the consensus machine wants durable, in the order in which it is carried out.
public struct LogBatch: Hashable, Sendable {
    /// The hard state to keep from now on, when it has changed.
    public var hardState: HardState?
    /// Delete this entry and all after it first.
    public var truncateFrom: LogIndex?
    /// Append these, without gaps.
    public var entries: [LogEntry]
    /// Puts a batch together.
    public init(hardState: HardState? = nil, truncateFrom: LogIndex? = nil, entries: [LogEntry] = []) {
        self.hardState = hardState
        self.truncateFrom = truncateFrom
        self.entries = entries
    }
    /// True when there is nothing to write.
    public var isEmpty: Bool { hardState == nil && truncateFrom == nil && entries.isEmpty }
}

/// The durable Raft log, hard state and snapshot description of one node.
///
/// May be called from any thread. Calls wait for each other and for the disk (a sync each): give the store a
/// dedicated queue, and call it neither from Swift's shared threads nor from the queue that steps the
/// machine.
///
/// Fail-stop: after the first failed write or sync every later call throws `StorageError.failedBefore`, and
/// the process must stop; what it wrote last may or may not be on disk, as after a crash. `invalidRequest` is
/// no failure of the disk: nothing was written and the store goes on, but the caller has a bug.
public final class LogStore: Sendable {
    /// The database's name in its directory.
    public static let fileName = "raft.sqlite"
    /// The layout that this version writes and reads.
    public static let formatVersion = 1
    /// The largest payload of one entry, encoded.
    public static let maximumPayloadBytes = 16 << 20
    static let applicationID: Int32 = 0x4853_4D4C

    /// Whose log this is.
    public let identity: StoreIdentity
    /// True when opening made the store: the node has never voted nor stored anything.
    public let isNew: Bool
    /// Where the database is.
    public var path: String { database.path }

    let database: DurableDatabase
    private let mark: AcknowledgedMark
    let state: Mutex<LogState>

    /// Opens the log in `directory`, which is made (mode 0700) if it is missing, and so is the log.
    ///
    /// Whatever an earlier process left in SQLite's write-ahead log is brought into the database and synced
    /// first. Call `recover` before anything else, to have the records verified.
    /// - Throws: `StorageError`, among them `wrongCluster` and `wrongNode` for the log of somebody else,
    ///   `lockedByAnotherProcess`, `lostAcknowledgedWrites`, `readOnly` and `diskFull`.
    public convenience init(directory: String, cluster: String, node: NodeID) throws(StorageError) {
        try self.init(directory: directory, cluster: cluster, node: node, fresh: HardState())
    }

    /// As `init(directory:cluster:node:)`; a log that is made begins with the hard state `fresh`.
    init(directory: String, cluster: String, node: NodeID, fresh hardState: HardState) throws(StorageError) {
        database = try DurableDatabase(
            directory: directory, name: Self.fileName, synchronous: .full, applicationID: Self.applicationID)
        let path = database.path
        let markPath = "\(directory)/raft.acknowledged"
        let acknowledged = try AcknowledgedMark.read(markPath)
        isNew = try !database.read(MetaTable.exists)
        if isNew {
            if let acknowledged, acknowledged.sequence > 0 {
                throw .lostAcknowledgedWrites(path: path, acknowledged: acknowledged.sequence, found: 0)
            }
            let fresh = StoreIdentity.fresh(cluster: cluster, node: node, formatVersion: Self.formatVersion)
            try database.write { db in
                try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
                try MetaTable.create(db)
                try LogTable.create(db)
                try MetaTable.write(fresh, as: MetaTable.identity, db)
                try MetaTable.write(LogState(hardState: hardState), as: LogState.name, db)
            }
        }
        let (identity, found) = try database.read { db in
            let identity = try MetaTable.read(StoreIdentity.self, MetaTable.identity, db, path)
            try identity.require(cluster: cluster, node: node, formatVersion: Self.formatVersion, path: path)
            return (identity, try MetaTable.read(LogState.self, LogState.name, db, path))
        }
        guard let storeID = Hex.decode(identity.storeID), storeID.count == AcknowledgedMark.storeIDLength
        else {
            throw .corruptDatabase(path: path, detail: "its store identifier is damaged")
        }
        if let acknowledged, !isNew {
            guard acknowledged.storeID == storeID, found.sequence >= acknowledged.sequence else {
                throw .lostAcknowledgedWrites(
                    path: path, acknowledged: acknowledged.sequence, found: found.sequence)
            }
        }
        mark = try AcknowledgedMark(path: markPath, storeID: storeID, sequence: found.sequence)
        self.identity = identity
        state = Mutex(found)
    }

    // MARK: - Writing

    /// Makes one batch durable; when this returns it will survive a power cut.
    /// - Throws: `invalidRequest` when the batch breaks an invariant (nothing was written), else a failure of
    ///   the disk, after which the process must stop.
    public func write(
        hardState: HardState?, truncateFrom: LogIndex?, entries: [LogEntry]
    ) throws(StorageError) {
        try write([LogBatch(hardState: hardState, truncateFrom: truncateFrom, entries: entries)])
    }

    /// Makes several batches durable, in order, all or none, with a single sync (group commit).
    /// - Throws: as `write(hardState:truncateFrom:entries:)`.
    public func write(_ batches: [LogBatch]) throws(StorageError) {
        try transaction { state, db, path in
            var changed = false
            for batch in batches where !batch.isEmpty {
                try state.apply(batch, db, path)
                changed = true
            }
            return changed
        }
    }

    /// Forgets all entries up to `snapshot.lastIndex` and keeps the snapshot's description in their place.
    ///
    /// The state that the entries led to must be durable elsewhere first: `CatalogStore.makeDurable` says up
    /// to where it is. Does nothing when the log starts later already.
    /// - Throws: `invalidRequest` when the log does not hold that entry in that term, else as `write`.
    public func compact(through snapshot: SnapshotMetadata) throws(StorageError) {
        try transaction { state, db, path in try state.compact(snapshot, db, path) }
    }

    /// Replaces the whole log by a snapshot that a leader sent and that is in place in the catalog already.
    /// - Throws: `invalidRequest` for a snapshot that is older than the one in place or than what is known to
    ///   be committed, else as `write`.
    public func install(_ snapshot: SnapshotMetadata) throws(StorageError) {
        try transaction { state, db, _ in try state.install(snapshot, db) }
    }

    /// Completes an installation that a crash stopped after the catalog had been replaced and before the log was.
    /// Call it before `recover`. The entries that go were cut off by the snapshot: none of them is part of what the
    /// cluster has committed, or the snapshot would not have been installed.
    /// - Returns: whether there was anything to complete.
    /// - Throws: as `install`.
    @discardableResult
    public func finishInstallation(of catalog: CatalogStore) throws(StorageError) -> Bool {
        guard let snapshot = catalog.installedSnapshot,
            state.withLock({ $0.base.index < snapshot.lastIndex })
        else { return false }
        try install(snapshot)
        return true
    }

    /// Runs `body` in one transaction on a copy of the state, which is kept, in memory and on disk, when
    /// `body` says that it changed something.
    private func transaction(
        _ body: (inout LogState, Database, String) throws -> Bool
    ) throws(StorageError) {
        let path = database.path
        try state.withLock { (state) throws(StorageError) in
            var next = state
            next.sequence += 1
            var bytes = 0
            let changed = try database.write { db in
                guard try body(&next, db, path) else { return false }
                try MetaTable.write(next, as: LogState.name, db)
                bytes = next.pendingBytes
                return true
            }
            guard changed else { return }
            next.pendingBytes = 0
            state = next
            database.note(bytes: bytes)
            do throws(StorageError) {
                try mark.set(next.sequence)
                if try database.checkpointIfDue() { try mark.sync() }
            } catch {
                throw database.fail(error)
            }
        }
    }

    // MARK: - Reading

    /// Reads and verifies everything: SQLite's structure, each record's checksum, that none is missing and
    /// that the last one is the last that was written. Reads the whole log into memory.
    ///
    /// `initialConfiguration` goes into the result as it is.
    /// - Throws: `corruptRecord`, `corruptDatabase` or `inputOutput`; nothing is ever left out or repaired.
    public func recover(initialConfiguration: VoterConfiguration) throws(StorageError) -> RecoveredState {
        try database.verifyStructure()
        let path = database.path
        return try state.withLock { (state) throws(StorageError) in
            let current = state
            let entries = try database.read { db in
                try LogTable.readAll(after: current.base, to: current.last, db, path)
            }
            return RecoveredState(
                hardState: current.hardState, entries: entries, snapshot: current.snapshot,
                initialConfiguration: initialConfiguration)
        }
    }

    /// The index of the last stored entry, or that of the snapshot when there is none after it.
    public var lastIndex: LogIndex { state.withLock { $0.last.index } }

    /// Closes the files; later calls throw `closed`. Needed only to see an error of closing: letting go of
    /// the store, or killing the process, loses nothing.
    public func close() throws(StorageError) {
        try state.withLock { (_) throws(StorageError) in
            try database.close()
            try mark.sync()
        }
    }
}
