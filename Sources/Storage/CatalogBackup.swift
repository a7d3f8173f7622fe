import ClusterModel
import GRDB
import KeyCatalog

// A snapshot of the state machine (Raft §7) is a copy of the catalog database in one file, made with SQLite's
// online backup (sqlite.org/backup.html). Installing one does not swap files: its rows, verified one by one,
// replace the present ones in one transaction, so a crash leaves either the old or the new catalog, and the
// node keeps its own identity.

extension CatalogStore {
    /// Writes the catalog as one file at `path`, atomically and synced; an older file there is replaced.
    /// - Returns: the position that the file holds.
    /// - Throws: an error naming `path` when the file can't be written; the store itself goes on.
    public func backup(to path: String) throws(StorageError) -> CatalogPosition {
        try state.withLock { (state) throws(StorageError) in
            let partial = path + ".partial"
            try FileSystem.remove(partial)
            do throws(StorageError) {
                _ = try FileSystem.ensureFile(partial)
                try copy(to: partial)
                try FileSystem.syncFile(partial)
                try FileSystem.replace(path, with: partial)
            } catch {
                try? FileSystem.remove(partial)
                throw error
            }
            return state
        }
    }

    private func copy(to path: String) throws(StorageError) {
        do {
            let target = try DatabaseQueue(path: path)
            try database.backup(to: target, path)
            try target.writeWithoutTransaction { db in
                // The copy has inherited WAL mode; a snapshot must be one file.
                _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = DELETE")
            }
            try target.close()
        } catch {
            throw DurableDatabase.named(error, path)
        }
    }

    /// Replaces all rows and the position by those of the backup at `path`, which may come from another node
    /// of the same cluster; in one transaction, synced on return.
    /// - Throws: `corruptRow` or `corruptDatabase` naming the backup when it is damaged, `wrongCluster`,
    ///   `unsupportedFormat`, `invalidRequest` when it is not newer: nothing has changed then. Otherwise as
    ///   `apply`.
    public func replace(withBackupAt path: String) throws(StorageError) {
        let source = try Backup(path: path, cluster: identity.cluster)
        try source.verify()
        let wanted = source.position
        try transaction(to: wanted.appliedIndex, wanted.appliedTerm) { position, db in
            try CatalogTable.clear(&position, db)
            try source.visit { row in try CatalogTable.apply(row, &position, db) }
            return DurableDatabase.checkpointThresholdBytes
        }
    }
}

/// A snapshot file, opened for reading.
private struct Backup {
    let path: String
    let queue: DatabaseQueue
    let position: CatalogPosition

    init(path: String, cluster: String) throws(StorageError) {
        self.path = path
        do {
            guard FileSystem.size(of: path) != nil else {
                throw StorageError.inputOutput(path: path, code: 2, detail: "there is no such file")
            }
            var configuration = Configuration()
            configuration.readonly = true
            configuration.label = "snapshot"
            queue = try DatabaseQueue(path: path, configuration: configuration)
            position = try queue.read { db in
                guard try Int32.fetchOne(db, sql: "PRAGMA application_id") == CatalogStore.applicationID,
                    try String.fetchOne(db, sql: "PRAGMA quick_check(1)") == "ok"
                else { throw StorageError.corruptDatabase(path: path, detail: "it is no catalog") }
                let identity = try MetaTable.read(StoreIdentity.self, MetaTable.identity, db, path)
                try identity.require(
                    cluster: cluster, node: identity.node, formatVersion: CatalogStore.formatVersion,
                    path: path)
                return try MetaTable.read(CatalogPosition.self, CatalogTable.position, db, path)
            }
        } catch {
            throw DurableDatabase.named(error, path)
        }
    }

    func verify() throws(StorageError) { try visit { _ in } }

    func visit(_ body: (RowChange) throws -> Void) throws(StorageError) {
        do {
            try queue.read { db in try CatalogTable.visit(db, position, path, body) }
        } catch {
            throw DurableDatabase.named(error, path)
        }
    }
}
