import ClusterModel
import GRDB
import KeyCatalog
import Raft
import Synchronization

// The state machine's side of Raft (§5.3, figure 2: lastApplied): `catalog.sqlite` holds the catalog's rows
// and, written in the same transaction, how much of the log they are the result of. Commits are not synced
// one by one (synchronous NORMAL): after a power cut the catalog may be a few entries behind, never torn, and
// the node applies those entries again from its log, which is synced. Hence the one rule about the two
// stores: the log may forget only what `makeDurable` has reported.

/// Which prefix of the log a catalog is the result of.
public struct CatalogPosition: Hashable, Sendable, Codable {
    /// The last applied entry.
    public var appliedIndex: LogIndex
    /// Its term.
    public var appliedTerm: Term
    /// A fingerprint of all rows, the same on every node that has applied the same entries. Finds differences
    /// that come from bugs and broken disks; no protection against forgery.
    public var stateHash: UInt64
    /// How many rows there are.
    public var rowCount: UInt64

    /// The position of an empty catalog.
    public static let start = CatalogPosition(
        appliedIndex: .zero, appliedTerm: .zero, stateHash: 0, rowCount: 0)
}

/// Everything that a catalog store holds.
public struct CatalogContents: Hashable, Sendable {
    /// Which prefix of the log the rows are the result of.
    public var position: CatalogPosition
    /// The rows, ordered by table and key; every `value` is present.
    public var rows: [RowChange]
}

/// The durable catalog of one node.
///
/// May be called from any thread. Calls wait for each other and for the disk: give the store a dedicated
/// queue. Fail-stop like `LogStore`: after the first failed write or sync every later call throws
/// `failedBefore`.
public final class CatalogStore: Sendable {
    /// The database's name in its directory.
    public static let fileName = "catalog.sqlite"
    /// The layout that this version writes and reads.
    public static let formatVersion = 1
    static let applicationID: Int32 = 0x4853_4D43

    /// Whose catalog this is.
    public let identity: StoreIdentity
    /// Where the database is.
    public var path: String { database.path }
    /// Which prefix of the log the rows are the result of.
    public var position: CatalogPosition { state.withLock { $0 } }

    let database: DurableDatabase
    let state: Mutex<CatalogPosition>
    private let installed: Mutex<SnapshotMetadata?>
    private static let installedName = "snapshot"

    /// Opens the catalog in `directory`, which is made (mode 0700) if it is missing, and so is the catalog.
    /// - Throws: `StorageError`, among them `wrongCluster`, `wrongNode`, `lockedByAnotherProcess`, `readOnly`
    ///   and `diskFull`.
    public init(directory: String, cluster: String, node: NodeID) throws(StorageError) {
        database = try DurableDatabase(
            directory: directory, name: Self.fileName, synchronous: .normal, applicationID: Self.applicationID
        )
        let path = database.path
        if try !database.read(MetaTable.exists) {
            let fresh = StoreIdentity.fresh(cluster: cluster, node: node, formatVersion: Self.formatVersion)
            try database.write { db in
                try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
                try MetaTable.create(db)
                try CatalogTable.create(db)
                try MetaTable.write(fresh, as: MetaTable.identity, db)
                try MetaTable.write(CatalogPosition.start, as: CatalogTable.position, db)
            }
            try database.checkpoint(.truncate)
        }
        let (identity, position, snapshot) = try database.read { db in
            let identity = try MetaTable.read(StoreIdentity.self, MetaTable.identity, db, path)
            try identity.require(cluster: cluster, node: node, formatVersion: Self.formatVersion, path: path)
            return (
                identity, try MetaTable.read(CatalogPosition.self, CatalogTable.position, db, path),
                try MetaTable.readIfPresent(SnapshotMetadata.self, Self.installedName, db, path)
            )
        }
        self.identity = identity
        state = Mutex(position)
        installed = Mutex(snapshot)
    }

    // MARK: - Writing

    /// Writes the rows that applying the log up to `appliedIndex` changed, and that position, together: all
    /// or nothing. Later changes of the same row win. Survives a crash of the process on return, and a power
    /// cut once `makeDurable` has returned.
    /// - Throws: `invalidRequest` when the index does not grow or the term shrinks (nothing was written),
    ///   else a failure of the disk, after which the process must stop.
    public func apply(
        _ changes: [RowChange], appliedIndex: LogIndex, appliedTerm: Term
    ) throws(StorageError) {
        try transaction(to: appliedIndex, appliedTerm) { position, db in
            var bytes = 0
            for change in changes {
                try CatalogTable.apply(change, &position, db)
                bytes += (change.value?.count ?? 0) + DurableDatabase.recordOverheadBytes
            }
            return bytes
        }
    }

    /// Syncs everything applied so far and says up to where that is: the log may be compacted through there.
    public func makeDurable() throws(StorageError) -> CatalogPosition {
        try state.withLock { (state) throws(StorageError) in
            try database.checkpoint(.passive)
            return state
        }
    }

    /// Replaces all rows by those of a snapshot that a leader sent, and keeps its description with them, in one
    /// transaction, synced on return. The log has to follow: `LogStore.install`, or, after a crash in between,
    /// `LogStore.finishInstallation`.
    /// - Throws: as `apply`; the snapshot must be newer than what is in place.
    public func replace(with rows: [RowChange], snapshot: SnapshotMetadata) throws(StorageError) {
        try transaction(to: snapshot.lastIndex, snapshot.lastTerm) { position, db in
            try CatalogTable.clear(&position, db)
            for row in rows { try CatalogTable.apply(row, &position, db) }
            try MetaTable.write(snapshot, as: Self.installedName, db)
            return DurableDatabase.checkpointThresholdBytes
        }
        installed.withLock { $0 = snapshot }
    }

    /// The latest snapshot that replaced the rows, if any ever did.
    public var installedSnapshot: SnapshotMetadata? { installed.withLock { $0 } }

    /// Runs `body`, which says about how many bytes it wrote, and moves the position, in one transaction.
    func transaction(
        to appliedIndex: LogIndex, _ appliedTerm: Term,
        _ body: (inout CatalogPosition, Database) throws -> Int
    ) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try database.requireUsable()
            guard appliedIndex > state.appliedIndex, appliedTerm >= state.appliedTerm else {
                throw .invalidRequest(
                    "entry \(appliedIndex) of term \(appliedTerm) can't be applied after "
                        + "entry \(state.appliedIndex) of term \(state.appliedTerm)")
            }
            var next = state
            next.appliedIndex = appliedIndex
            next.appliedTerm = appliedTerm
            let bytes = try database.write { db in
                let bytes = try body(&next, db)
                try MetaTable.write(next, as: CatalogTable.position, db)
                return bytes
            }
            state = next
            database.note(bytes: bytes)
            _ = try database.checkpointIfDue()
        }
    }

    // MARK: - Reading

    /// Reads and verifies everything, into memory: SQLite's structure, each row's checksum, and that the rows
    /// are those that the position was written with.
    /// - Throws: `corruptRow`, `corruptDatabase` or `inputOutput`; nothing is ever left out or repaired.
    public func load() throws(StorageError) -> CatalogContents {
        try database.verifyStructure()
        let path = database.path
        return try state.withLock { (state) throws(StorageError) in
            let position = state
            let rows = try database.read { db in
                var rows: [RowChange] = []
                try CatalogTable.visit(db, position, path) { rows.append($0) }
                return rows
            }
            return CatalogContents(position: position, rows: rows)
        }
    }

    /// Closes the files; later calls throw `closed`.
    public func close() throws(StorageError) {
        try state.withLock { (_) throws(StorageError) in try database.close() }
    }
}
