import ClusterModel
import Dispatch
import Foundation
import GRDB
import Raft
import Testing

@testable import Storage

// What the log promises when nothing breaks: everything written comes back, somebody else's store is refused,
// and what a correct Raft node never asks for is refused before it reaches the disk.

@Suite struct LogStoreTests {
    @Test func everythingWrittenComesBack() throws {
        let scratch = try ScratchDirectory()
        let entries = [
            entry(1, .noop), entry(2, .configuration(voters)), entry(3, term: 2),
            entry(4, term: 2, .command([])),
            entry(5, term: 7, .command([UInt8](repeating: 0xA5, count: 20_000))),
        ]
        let state = hardState(7, vote: 3, commit: 2)
        do {
            let store = try openLog(scratch.path)
            #expect(store.isNew)
            #expect(try store.recovered() == RecoveredState(initialConfiguration: voters))
            try store.write(hardState: state, truncateFrom: nil, entries: entries)
        }
        let store = try openLog(scratch.path)
        #expect(!store.isNew)
        #expect(store.lastIndex == LogIndex(5))
        let wanted = RecoveredState(hardState: state, entries: entries, initialConfiguration: voters)
        #expect(try store.recovered() == wanted)
        #expect(wanted.problem(appliedIndex: LogIndex(2)) == nil)
        // Unchanged after a proper close as well.
        try store.close()
        #expect(try openLog(scratch.path).recovered() == wanted)
    }

    @Test func settingsThatDurabilityRestsOnAreInForce() throws {
        let scratch = try ScratchDirectory()
        let store = try openLog(scratch.path)
        let catalog = try openCatalog(scratch.path)
        #expect(try store.database.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 2)
        #expect(try store.database.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "wal")
        #expect(try catalog.database.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 1)
        #expect(!FileManager.default.fileExists(atPath: scratch.file("raft.sqlite-shm")))
    }

    @Test func filesAreForTheirOwnerOnly() throws {
        let scratch = try ScratchDirectory()
        let directory = scratch.file("state")
        let store = try openLog(directory)
        try store.append([entry(1)])
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(directory) == 0o700)
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
            #expect(try mode("\(directory)/\(name)") == 0o600, "\(name)")
        }
    }

    @Test func anotherNodesOrClustersStoreIsRefused() throws {
        let scratch = try ScratchDirectory()
        let identity = try openLog(scratch.path).identity
        #expect(identity.cluster == "test" && identity.node == NodeID(1) && identity.storeID.count == 32)
        expectStorageError("another node", { _ = try openLog(scratch.path, node: 2) }) {
            $0 == .wrongNode(path: scratch.file("raft.sqlite"), expected: NodeID(2), found: NodeID(1))
        }
        expectStorageError("another cluster", { _ = try openLog(scratch.path, cluster: "other") }) {
            $0 == .wrongCluster(path: scratch.file("raft.sqlite"), expected: "other", found: "test")
        }
        #expect(try openLog(scratch.path).identity == identity)
    }

    @Test func anotherProgramsDatabaseIsRefused() throws {
        let scratch = try ScratchDirectory()
        try openCatalog(scratch.path).close()
        try FileManager.default.moveItem(
            atPath: scratch.file("catalog.sqlite"), toPath: scratch.file("raft.sqlite"))
        expectStorageError("a catalog as a log", { _ = try openLog(scratch.path) }) {
            if case .corruptDatabase = $0 { true } else { false }
        }
        try scratch.put(Array("not a database at all, but long enough to look at".utf8), "raft.sqlite")
        expectStorageError("text as a log", { _ = try openLog(scratch.path) }) {
            if case .corruptDatabase = $0 { true } else { false }
        }
    }

    @Test func secondOpenIsRefusedUntilTheFirstIsGone() throws {
        let scratch = try ScratchDirectory()
        var first: LogStore? = try openLog(scratch.path)
        try first?.append([entry(1)])
        expectStorageError("open twice", { _ = try openLog(scratch.path) }) {
            $0 == .lockedByAnotherProcess(path: scratch.file("raft.sqlite.lock"))
        }
        first = nil
        #expect(try openLog(scratch.path).lastIndex == LogIndex(1))
    }

    @Test func groupCommitWritesAllBatchesInOrder() throws {
        let scratch = try ScratchDirectory()
        let store = try openLog(scratch.path)
        try store.write([
            LogBatch(hardState: hardState(1, vote: 1), entries: [entry(1), entry(2), entry(3)]),
            LogBatch(),
            LogBatch(hardState: hardState(2), truncateFrom: LogIndex(2), entries: [entry(2, term: 2)]),
            LogBatch(entries: [entry(3, term: 2)]),
        ])
        try store.write([])
        let recovered = try store.recovered()
        #expect(recovered.hardState == hardState(2))
        #expect(recovered.entries == [entry(1), entry(2, term: 2), entry(3, term: 2)])
    }

    @Test func truncationIsDurableAndChainsOn() throws {
        let scratch = try ScratchDirectory()
        do {
            let store = try openLog(scratch.path)
            try store.append((1...9).map { entry($0) })
            try store.write(hardState: nil, truncateFrom: LogIndex(4), entries: [])
            #expect(store.lastIndex == LogIndex(3))
            try store.append([entry(4, term: 3)])
            // Beyond the end there is nothing to cut off.
            try store.write(hardState: nil, truncateFrom: LogIndex(5), entries: [entry(5, term: 3)])
            try store.write(hardState: nil, truncateFrom: LogIndex(1), entries: [entry(1, term: 4)])
        }
        #expect(try openLog(scratch.path).recovered().entries == [entry(1, term: 4)])
    }

    @Test func whatNoCorrectNodeAsksForIsRefusedAndChangesNothing() throws {
        let scratch = try ScratchDirectory()
        let store = try openLog(scratch.path)
        try store.write(
            hardState: hardState(3, vote: 2, commit: 2), truncateFrom: nil,
            entries: [entry(1), entry(2), entry(3, term: 3)])
        let before = try store.recovered()
        let tooLarge = [UInt8](repeating: 1, count: LogStore.maximumPayloadBytes)
        let refused: [(Comment, LogBatch)] = [
            ("a gap", LogBatch(entries: [entry(5, term: 3)])),
            ("an overwrite", LogBatch(entries: [entry(3, term: 3)])),
            ("a gap after a good entry", LogBatch(entries: [entry(4, term: 3), entry(6, term: 3)])),
            ("a falling term", LogBatch(entries: [entry(4, term: 2)])),
            ("cutting off what is committed", LogBatch(truncateFrom: LogIndex(2))),
            ("a lower term", LogBatch(hardState: hardState(2, vote: 2, commit: 2))),
            ("another vote in the same term", LogBatch(hardState: hardState(3, vote: 1, commit: 2))),
            ("no vote in the same term", LogBatch(hardState: hardState(3, commit: 2))),
            ("a lower commit index", LogBatch(hardState: hardState(3, vote: 2, commit: 1))),
            ("a payload beyond the limit", LogBatch(entries: [entry(4, term: 3, .command(tooLarge))])),
        ]
        for (comment, batch) in refused {
            expectStorageError(
                comment, { try store.write([LogBatch(hardState: hardState(4, commit: 2)), batch]) }
            ) {
                if case .invalidRequest = $0 { true } else { false }
            }
            #expect(try store.recovered() == before, comment)
        }
        try store.append([entry(4, term: 3)])
        #expect(store.lastIndex == LogIndex(4))
    }

    @Test func compactionKeepsTheRestAndTheSnapshot() throws {
        let scratch = try ScratchDirectory()
        do {
            let store = try openLog(scratch.path)
            try store.append((1...6).map { entry($0) } + [entry(7, term: 2), entry(8, term: 2)])
            for (comment, metadata) in [
                ("beyond the end" as Comment, snapshot(9, term: 2)), ("the wrong term", snapshot(7, term: 1)),
            ] {
                expectStorageError(comment, { try store.compact(through: metadata) }) {
                    if case .invalidRequest = $0 { true } else { false }
                }
            }
            try store.compact(through: snapshot(7, term: 2))
            // An older snapshot has nothing left to compact.
            try store.compact(through: snapshot(3, term: 1))
            expectStorageError(
                "cutting into the snapshot",
                { try store.write(hardState: nil, truncateFrom: LogIndex(7), entries: []) },
                matches: { if case .invalidRequest = $0 { true } else { false } })
        }
        let store = try openLog(scratch.path)
        #expect(try store.recovered().snapshot == snapshot(7, term: 2))
        #expect(try store.recovered().entries == [entry(8, term: 2)])
        try store.write(hardState: nil, truncateFrom: LogIndex(8), entries: [entry(8, term: 3)])
        try store.compact(through: snapshot(8, term: 3))
        #expect(store.lastIndex == LogIndex(8))
        try store.append([entry(9, term: 3)])
        #expect(try store.recovered().entries == [entry(9, term: 3)])
    }

    @Test func installedSnapshotReplacesTheWholeLog() throws {
        let scratch = try ScratchDirectory()
        do {
            let store = try openLog(scratch.path)
            try store.write(
                hardState: hardState(2, commit: 2), truncateFrom: nil,
                entries: [entry(1), entry(2), entry(3)])
            expectStorageError("older than committed", { try store.install(snapshot(1, term: 1)) }) {
                if case .invalidRequest = $0 { true } else { false }
            }
            try store.install(snapshot(40, term: 2))
            #expect(try store.recovered().entries.isEmpty)
            try store.append([entry(41, term: 2)])
        }
        let recovered = try openLog(scratch.path).recovered()
        #expect(recovered.snapshot == snapshot(40, term: 2))
        #expect(recovered.entries == [entry(41, term: 2)])
        #expect(recovered.hardState == hardState(2, commit: 2))
    }

    @Test func closedStoreSaysSo() throws {
        let scratch = try ScratchDirectory()
        let store = try openLog(scratch.path)
        try store.append([entry(1)])
        try store.close()
        try store.close()
        expectStorageError("closed", { try store.append([entry(2)]) }) {
            $0 == .closed(path: scratch.file("raft.sqlite"))
        }
    }

    @Test func logGrowsThroughManyCheckpoints() throws {
        let scratch = try ScratchDirectory()
        let block = [UInt8](repeating: 7, count: 600_000)
        do {
            let store = try openLog(scratch.path)
            for index in 1...30 { try store.append([entry(UInt64(index), .command(block))]) }
            // Checkpoints let the write-ahead log start over instead of growing.
            let size = try #require(FileSystem.size(of: scratch.file("raft.sqlite-wal")))
            #expect(size < 3 * DurableDatabase.checkpointThresholdBytes)
        }
        #expect(try openLog(scratch.path).recovered().entries.count == 30)
    }

    @Test func callsFromManyThreadsWaitForEachOther() throws {
        let scratch = try ScratchDirectory()
        do {
            let store = try openLog(scratch.path)
            DispatchQueue.concurrentPerform(iterations: 8) { thread in
                for term in 1...10 as ClosedRange<UInt64> {
                    // Threads race for the terms; a late one is refused, which is all that may happen.
                    do {
                        try store.write(hardState: hardState(term), truncateFrom: nil, entries: [])
                        _ = try store.recovered()
                    } catch StorageError.invalidRequest {
                    } catch {
                        Issue.record("thread \(thread): \(error)")
                    }
                }
            }
        }
        #expect(try openLog(scratch.path).recovered().hardState == hardState(10))
    }

    @Test func everyErrorNamesThePathAndWhatToDo() {
        let errors: [StorageError] = [
            .lockedByAnotherProcess(path: "/p"), .wrongCluster(path: "/p", expected: "a", found: "b"),
            .wrongNode(path: "/p", expected: NodeID(1), found: NodeID(2)),
            .unsupportedFormat(path: "/p", found: 2, supported: 1), .diskFull(path: "/p"),
            .readOnly(path: "/p"),
            .inputOutput(path: "/p", code: 10, detail: "d"),
            .corruptRecord(LogIndex(4), path: "/p", detail: "d"),
            .corruptRow(table: "t", key: "k", path: "/p"), .corruptDatabase(path: "/p", detail: "d"),
            .lostAcknowledgedWrites(path: "/p", acknowledged: 2, found: 1),
            .durabilityUnavailable(path: "/p", setting: "s", value: "v"),
            .failedBefore(path: "/p", first: "f"), .closed(path: "/p"),
        ]
        for error in errors { #expect(error.description.contains("/p")) }
        #expect(Set(errors.map(\.description)).count == errors.count)
    }

    @Test func checksumIsTheStandardOne() {
        // The check value of CRC-32C, and the all-zero vector of RFC 3720 B.4.
        #expect(CRC32C.checksum("123456789".utf8) == 0xE306_9283)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        let split = CRC32C.checksum("6789".utf8, continuing: CRC32C.checksum("12345".utf8))
        #expect(split == 0xE306_9283)
    }
}
