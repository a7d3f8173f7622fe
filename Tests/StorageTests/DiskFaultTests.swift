import ClusterModel
import Foundation
import GRDB
import Glibc
import Raft
import Testing

@testable import Storage

// Full disks, read-only disks and errors of the device: each has its own name, the first one ends the store's
// life, and what had been acknowledged is there when the disk is well again. Real small file systems are
// mounted where the user may mount; a page limit plays the full disk elsewhere.

@Suite struct DiskFaultTests {
    /// Appends until the store fails; returns how many entries were acknowledged, and the failure.
    func fill(_ store: LogStore) throws -> (acknowledged: UInt64, error: StorageError) {
        let block = [UInt8](repeating: 0x33, count: 10_000)
        for index in 1...5_000 {
            do {
                try store.append([entry(UInt64(index), .command(block))])
            } catch let error as StorageError {
                return (UInt64(index - 1), error)
            }
        }
        Issue.record("the store never filled up")
        return (0, .closed(path: ""))
    }

    func expectFailStop(_ store: LogStore, first: StorageError) {
        let failed = StorageError.failedBefore(path: store.path, first: first.description)
        expectStorageError("a later append", { try store.append([entry(1)]) }) { $0 == failed }
        expectStorageError("an empty write", { try store.write([]) }) { $0 == failed }
        expectStorageError("a later read", { _ = try store.recovered() }) { $0 == failed }
        expectStorageError("a later compaction", { try store.compact(through: snapshot(1, term: 1)) }) {
            $0 == failed
        }
    }

    @Test func fullDatabaseStopsTheStore() throws {
        let scratch = try ScratchDirectory()
        var acknowledged: UInt64 = 0
        do {
            let store = try openLog(scratch.path)
            _ = try store.database.read { try Int.fetchOne($0, sql: "PRAGMA max_page_count = 60") }
            let (count, error) = try fill(store)
            acknowledged = count
            #expect(error == .diskFull(path: scratch.file("raft.sqlite")))
            expectFailStop(store, first: error)
        }
        let store = try openLog(scratch.path)
        #expect(try store.recovered().entries.count == Int(acknowledged) && acknowledged > 5)
        try store.append([entry(acknowledged + 1)])
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable, "mounting a small file system needs root"))
    func fullDiskStopsTheStoreAndLosesNothing() throws {
        let disk = try #require(SmallFileSystem(bytes: 1 << 20))
        let directory = disk.path + "/state"
        var acknowledged: UInt64 = 0
        do {
            let store = try openLog(directory)
            let (count, error) = try fill(store)
            acknowledged = count
            #expect(error == .diskFull(path: directory + "/raft.sqlite"))
            expectFailStop(store, first: error)
        }
        #expect(disk.grow(to: 8 << 20))
        let store = try openLog(directory)
        #expect(try store.recovered().entries.map(\.index.rawValue) == Array(1...acknowledged))
        try store.append([entry(acknowledged + 1)])
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable, "mounting a small file system needs root"))
    func openingOnAFullDiskSaysSo() throws {
        let disk = try #require(SmallFileSystem(bytes: 1 << 20))
        let filler = Data(repeating: 1, count: (1 << 20) - 8192)
        #expect(FileManager.default.createFile(atPath: disk.path + "/filler", contents: filler))
        expectStorageError("a log on a full disk", { _ = try openLog(disk.path + "/state") }) {
            if case .diskFull = $0 { true } else { false }
        }
        expectStorageError("a catalog on a full disk", { _ = try openCatalog(disk.path + "/state") }) {
            if case .diskFull = $0 { true } else { false }
        }
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable, "mounting a small file system needs root"))
    func readOnlyDiskIsNamed() throws {
        let disk = try #require(SmallFileSystem(bytes: 4 << 20))
        let directory = disk.path + "/state"
        try openLog(directory).append([entry(1)])
        #expect(disk.makeReadOnly())
        expectStorageError("an existing store", { _ = try openLog(directory) }) {
            if case .readOnly = $0 { true } else { false }
        }
        expectStorageError("a new store", { _ = try openLog(disk.path + "/other") }) {
            if case .readOnly = $0 { true } else { false }
        }
    }

    @Test(.enabled(if: geteuid() != 0, "root may write everywhere"))
    func directoryWithoutWritePermissionIsNamed() throws {
        let scratch = try ScratchDirectory()
        chmod(scratch.path, 0o555)
        defer { chmod(scratch.path, 0o755) }
        expectStorageError("no permission", { _ = try openLog(scratch.path) }) {
            if case .readOnly = $0 { true } else { false }
        }
    }

    @Test func everySQLiteFailureHasItsName() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.file("raft.sqlite")
        func named(_ code: ResultCode) -> StorageError {
            DurableDatabase.named(DatabaseError(resultCode: code, message: "m"), path)
        }
        #expect(named(.SQLITE_FULL) == .diskFull(path: path))
        #expect(named(.SQLITE_READONLY) == .readOnly(path: path))
        #expect(named(.SQLITE_READONLY_DIRECTORY) == .readOnly(path: path))
        #expect(named(.SQLITE_IOERR_FSYNC) == .inputOutput(path: path, code: 1034, detail: "m"))
        #expect(named(.SQLITE_CORRUPT) == .corruptDatabase(path: path, detail: "m"))
        #expect(named(.SQLITE_BUSY) == .lockedByAnotherProcess(path: path))
        #expect(FileSystem.failure(ENOSPC, path, "write") == .diskFull(path: path))
        #expect(FileSystem.failure(EROFS, path, "open") == .readOnly(path: path))
        #expect(FileSystem.failure(EACCES, path, "open") == .readOnly(path: path))
        if case .inputOutput(_, EIO, _) = FileSystem.failure(EIO, path, "fsync") {
        } else {
            Issue.record("EIO has no name")
        }
    }

    @Test func failureOfTheDeviceStopsBothStores() throws {
        let scratch = try ScratchDirectory()
        let log = try openLog(scratch.path)
        let failed = DatabaseError(resultCode: .SQLITE_IOERR_FSYNC, message: "sync failed")
        expectStorageError("the failing write", { try log.database.write { _ in throw failed } }) {
            if case .inputOutput = $0 { true } else { false }
        }
        expectStorageError("after it", { try log.append([entry(1)]) }) {
            if case .failedBefore = $0 { true } else { false }
        }
        let catalog = try openCatalog(scratch.path)
        expectStorageError("the failing write", { try catalog.database.write { _ in throw failed } }) {
            if case .inputOutput = $0 { true } else { false }
        }
        for body in [
            { try catalog.apply([], appliedIndex: LogIndex(1), appliedTerm: Term(1)) },
            { _ = try catalog.makeDurable() }, { _ = try catalog.load() },
            { _ = try catalog.backup(to: scratch.file("snapshot")) },
        ] {
            expectStorageError("after it", body) { if case .failedBefore = $0 { true } else { false } }
        }
    }

    @Test func missingParentDirectoryIsNamed() throws {
        let scratch = try ScratchDirectory()
        expectStorageError("no parent", { _ = try openLog(scratch.file("a/b")) }) {
            if case .inputOutput(scratch.file("a/b"), ENOENT, _) = $0 { true } else { false }
        }
    }
}
