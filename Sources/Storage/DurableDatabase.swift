import GRDB
import Glibc
import Synchronization

// One SQLite file with the settings that durability rests on, shared by the log and the catalog. SQLite in
// WAL mode (sqlite.org/wal.html) appends whole transactions to a side file; with synchronous=FULL it syncs
// that file at each commit, with NORMAL only at checkpoints. Locking mode EXCLUSIVE avoids the shared-memory
// index, so a full disk cannot turn into a SIGBUS. Checkpoints are made here and not by SQLite, because
// SQLite ignores the errors of its automatic ones, and a failed sync must stop the node.

/// A private SQLite database that stops for good at the first failed write or sync.
///
/// May be used from any thread; calls wait for each other and for the disk, so use it from one dedicated
/// queue and never from a shared pool of threads.
final class DurableDatabase: Sendable {
    enum Synchronous: Int {
        /// Synced when SQLite checkpoints: a power cut loses recent commits but breaks nothing.
        case normal = 1
        /// Synced at each commit.
        case full = 2
    }

    private enum State {
        case open
        case failed(String)
        case closed
    }

    /// About how much may gather in the write-ahead log before a checkpoint copies it into the database.
    static let checkpointThresholdBytes = 4 << 20
    /// What a transaction writes at least: the pages of the bookkeeping and the ends of the tables.
    static let transactionOverheadBytes = 3 * 4096
    /// What a record takes beside its content.
    static let recordOverheadBytes = 64

    let path: String
    private let queue: DatabaseQueue
    private let lock: StoreLock
    private let state = Mutex(State.open)
    private let pendingBytes = Mutex(0)

    /// Opens or creates `directory`/`name`.
    init(
        directory: String, name: String, synchronous: Synchronous, applicationID: Int32
    ) throws(StorageError) {
        let path = "\(directory)/\(name)"
        self.path = path
        try FileSystem.ensureDirectory(directory)
        lock = try StoreLock(path: path + ".lock")
        _ = try FileSystem.ensureFile(path)
        if FileSystem.size(of: path) == 0, FileSystem.size(of: path + "-wal") ?? 0 > 0 {
            throw .corruptDatabase(path: path, detail: "the file is empty but its write-ahead log is not")
        }
        do {
            queue = try Self.connect(path, synchronous, applicationID)
        } catch {
            throw Self.named(error, path)
        }
        // What an earlier process wrote but failed to sync may sit in the page cache only. Copying the
        // write-ahead log into the database and syncing both makes what we are about to read durable.
        try checkpoint(.truncate)
        try FileSystem.syncDirectory(directory)
    }

    deinit {
        // Before the lock goes, so that nobody else opens the file while SQLite still writes to it.
        try? queue.close()
    }

    private static func connect(
        _ path: String, _ synchronous: Synchronous, _ applicationID: Int32
    ) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "storage"
        configuration.busyMode = .immediateError
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
            try db.execute(sql: "PRAGMA synchronous = \(synchronous.rawValue)")
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
            // Uncommitted pages stay in memory, so that the write-ahead log holds committed writes only.
            try db.execute(sql: "PRAGMA cache_spill = OFF")
            try db.execute(sql: "PRAGMA cell_size_check = ON")
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
            try db.execute(sql: "PRAGMA temp_store = MEMORY")
        }
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.writeWithoutTransaction { db in
            try requireSetting(db, path, "journal_mode", "wal")
            try requireSetting(db, path, "synchronous", String(synchronous.rawValue))
            try requireSetting(db, path, "locking_mode", "exclusive")
            try requireSetting(db, path, "wal_autocheckpoint", "0")
            let found = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
            if found == applicationID { return }
            let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
            guard found == 0, tables == 0 else {
                throw StorageError.corruptDatabase(path: path, detail: "it is another program's database")
            }
        }
        return queue
    }

    private static func requireSetting(
        _ db: Database, _ path: String, _ name: String, _ wanted: String
    ) throws {
        let value = try String.fetchOne(db, sql: "PRAGMA \(name)") ?? "nothing"
        guard value == wanted else {
            throw StorageError.durabilityUnavailable(path: path, setting: name, value: value)
        }
    }

    // MARK: - Access

    /// Runs `body` in one transaction, committed (and, with synchronous FULL, synced) on return. Any error
    /// but a refusal makes the database fail for good.
    func write<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
        let result = try guarded { queue in
            try queue.writeWithoutTransaction { db in
                var result: T?
                try db.inTransaction(.immediate) {
                    result = try body(db)
                    return .commit
                }
                return result
            }
        }
        guard let result else {
            throw fail(.corruptDatabase(path: path, detail: "a transaction did not run"))
        }
        return result
    }

    /// Counts about how much a transaction has added to the write-ahead log.
    func note(bytes: Int) { pendingBytes.withLock { $0 += bytes + Self.transactionOverheadBytes } }

    /// Copies the write-ahead log into the database once enough has gathered. Tells whether it did.
    func checkpointIfDue() throws(StorageError) -> Bool {
        guard pendingBytes.withLock({ $0 }) >= Self.checkpointThresholdBytes else { return false }
        try checkpoint(.passive)
        return true
    }

    /// Copies the write-ahead log into the database and syncs both: all that was committed is durable.
    func checkpoint(_ mode: Database.CheckpointMode) throws(StorageError) {
        try guarded { queue in
            try queue.writeWithoutTransaction { db in
                let counts = try db.checkpoint(mode)
                guard counts.walFrameCount == counts.checkpointedFrameCount else {
                    throw DatabaseError(resultCode: .SQLITE_BUSY, message: "the checkpoint is incomplete")
                }
            }
        }
        pendingBytes.withLock { $0 = 0 }
    }

    /// Runs `body` for reading. An error does not make the database fail.
    func read<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
        try requireUsable()
        do {
            return try queue.writeWithoutTransaction(body)
        } catch {
            throw Self.named(error, path)
        }
    }

    /// Copies the database to the connection `target`; an error is named after `targetPath` and does not make
    /// the database fail.
    func backup(to target: DatabaseQueue, _ targetPath: String) throws(StorageError) {
        try requireUsable()
        do {
            try queue.backup(to: target)
        } catch {
            throw Self.named(error, targetPath)
        }
    }

    /// SQLite's own structural check, which reads every page.
    func verifyStructure() throws(StorageError) {
        let complaint = try read { db in try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "no answer"
        }
        guard complaint == "ok" else { throw .corruptDatabase(path: path, detail: complaint) }
    }

    /// Checkpoints and closes; later calls fail with `closed`. Closing twice is harmless.
    func close() throws(StorageError) {
        let wasOpen = state.withLock { state in
            guard case .open = state else { return false }
            return true
        }
        if wasOpen { try checkpoint(.truncate) }
        state.withLock { state in if case .open = state { state = .closed } }
        do {
            try queue.close()
        } catch {
            throw Self.named(error, path)
        }
        lock.release()
    }

    // MARK: - Failure

    /// Makes the database fail for good because of `error`, which is handed back.
    func fail(_ error: StorageError) -> StorageError {
        state.withLock { state in
            if case .open = state { state = .failed(error.description) }
        }
        return error
    }

    /// Throws unless the database is open and has never failed.
    func requireUsable() throws(StorageError) {
        switch state.withLock({ $0 }) {
        case .open: return
        case .failed(let first): throw .failedBefore(path: path, first: first)
        case .closed: throw .closed(path: path)
        }
    }

    private func guarded<T>(_ body: (DatabaseQueue) throws -> T) throws(StorageError) -> T {
        try requireUsable()
        do {
            return try body(queue)
        } catch {
            let named = Self.named(error, path)
            throw named.isRefusal ? named : fail(named)
        }
    }

    /// The named error for whatever SQLite or GRDB threw.
    static func named(_ error: any Error, _ path: String) -> StorageError {
        if let error = error as? StorageError { return error }
        guard let error = error as? DatabaseError else {
            return .corruptDatabase(path: path, detail: "unexpected value: \(error)")
        }
        let code = error.extendedResultCode.rawValue
        let detail = error.message ?? "no message"
        switch error.resultCode {
        case .SQLITE_FULL: return .diskFull(path: path)
        case .SQLITE_READONLY, .SQLITE_PERM: return .readOnly(path: path)
        case .SQLITE_BUSY, .SQLITE_LOCKED: return .lockedByAnotherProcess(path: path)
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .corruptDatabase(path: path, detail: detail)
        case .SQLITE_IOERR, .SQLITE_CANTOPEN:
            // SQLite folds the errno into these; ask the file system what was meant.
            if FileSystem.isFull(path) { return .diskFull(path: path) }
            if FileSystem.isReadOnly(path) { return .readOnly(path: path) }
            return .inputOutput(path: path, code: code, detail: detail)
        default: return .inputOutput(path: path, code: code, detail: detail)
        }
    }
}
