import ClusterModel
import Foundation
import GRDB
import Raft
import Testing

@testable import Storage

// A killed process leaves its files as they are; a power cut leaves any part of what had not been synced.
// Both are played by copying the files of a living store, and damaging the copy in every way that a crash
// may: the store must open with exactly what had been acknowledged, or with the write in flight on top.
// Damage that no crash explains must be reported, never passed over.

@Suite struct LogStoreCrashTests {
    static let files = ["raft.sqlite", "raft.sqlite-wal", "raft.acknowledged"]

    /// The files at one moment, and what had been acknowledged by then.
    struct Moment {
        var database: [UInt8]
        var wal: [UInt8]
        var mark: [UInt8]
        var state: RecoveredState

        init(_ scratch: ScratchDirectory, _ store: LogStore) throws {
            database = try scratch.bytes(LogStoreCrashTests.files[0])
            wal = try scratch.bytes(LogStoreCrashTests.files[1])
            mark = try scratch.bytes(LogStoreCrashTests.files[2])
            state = try store.recovered()
        }

        /// What a new process finds in a copy of the files.
        func recover() throws -> RecoveredState {
            let copy = try ScratchDirectory()
            try copy.put(database, LogStoreCrashTests.files[0])
            if !wal.isEmpty { try copy.put(wal, LogStoreCrashTests.files[1]) }
            if !mark.isEmpty { try copy.put(mark, LogStoreCrashTests.files[2]) }
            return try openLog(copy.path).recovered()
        }
    }

    /// A sequence of writes of all kinds, with the moment after each.
    static func history(_ scratch: ScratchDirectory) throws -> (store: LogStore, moments: [Moment]) {
        let store = try openLog(scratch.path)
        var moments = [try Moment(scratch, store)]
        func step(_ body: () throws -> Void) throws {
            try body()
            moments.append(try Moment(scratch, store))
        }
        try step { try store.write(hardState: hardState(1, vote: 1), truncateFrom: nil, entries: []) }
        try step { try store.append([entry(1, .noop), entry(2), entry(3)]) }
        let block = [UInt8](repeating: 0x5A, count: 9_000)
        try step { try store.append([entry(4, .command(block)), entry(5)]) }
        try step {
            try store.write(hardState: hardState(1, vote: 1, commit: 3), truncateFrom: nil, entries: [])
        }
        try step {
            try store.write(
                hardState: hardState(2, commit: 3), truncateFrom: LogIndex(5), entries: [entry(5, term: 2)])
        }
        try step { try store.compact(through: snapshot(3, term: 1)) }
        try step { try store.append((6...60).map { entry($0, term: 2) }) }
        try step {
            try store.write(hardState: hardState(3, vote: 2, commit: 9), truncateFrom: nil, entries: [])
        }
        try step { try store.append([entry(61, term: 3)]) }
        return (store, moments)
    }

    @Test func killedProcessLosesNothing() throws {
        let scratch = try ScratchDirectory()
        for moment in try Self.history(scratch).moments { #expect(try moment.recover() == moment.state) }
    }

    @Test func logCutAtAnyByteGivesTheLastWholeWrite() throws {
        let scratch = try ScratchDirectory()
        let moments = try Self.history(scratch).moments
        let whole = try #require(moments.last)
        let frame = 24 + 4096
        var cuts = Set(stride(from: 0, through: whole.wal.count, by: 997))
        for boundary in stride(from: 32, through: whole.wal.count, by: frame) {
            cuts.formUnion([boundary - 1, boundary, boundary + 1, boundary + 23, boundary + 25])
        }
        // The write-ahead log starts with the making of the store, which has a test of its own.
        let possible = moments[0].wal.count...whole.wal.count
        for cut in cuts.sorted() where possible.contains(cut) {
            let index = try #require(moments.lastIndex { $0.wal.count <= cut })
            var crashed = moments[index]
            crashed.wal = Array(whole.wal[..<cut])
            #expect(try crashed.recover() == moments[index].state, "cut at \(cut)")
        }
    }

    @Test func tornLastWriteGivesTheStateBeforeOrAfterIt() throws {
        let scratch = try ScratchDirectory()
        let moments = try Self.history(scratch).moments
        var generator = SeededGenerator(seed: 4)
        for (before, after) in zip(moments, moments.dropFirst()) {
            for _ in 0..<8 {
                // Any set of sectors of the unsynced part may be missing, as zeros or as old garbage.
                var crashed = before
                crashed.wal = after.wal
                let garbage = UInt8.random(in: 0...1, using: &generator) == 0
                for sector in stride(from: before.wal.count, to: after.wal.count, by: 512)
                where Bool.random(using: &generator) {
                    for byte in sector..<min(sector + 512, after.wal.count) {
                        crashed.wal[byte] = garbage ? UInt8.random(in: 0...255, using: &generator) : 0
                    }
                }
                let found = try crashed.recover()
                #expect(found == before.state || found == after.state)
            }
        }
    }

    @Test func crashInACheckpointLosesNothing() throws {
        let scratch = try ScratchDirectory()
        let (store, moments) = try Self.history(scratch)
        let before = try #require(moments.last)
        try store.database.checkpoint(.passive)
        let after = try Moment(scratch, store)
        #expect(before.wal == after.wal && before.database != after.database)
        var generator = SeededGenerator(seed: 9)
        for length in stride(from: 0, through: after.database.count, by: 4096) {
            // Some pages are in place, one is half written, and the file may not have grown yet.
            var crashed = before
            crashed.database = Array(after.database[..<length]) + before.database.dropFirst(length)
            let torn = length + 512 * Int.random(in: 1...7, using: &generator)
            if torn < after.database.count, torn < crashed.database.count {
                crashed.database.replaceSubrange(length..<torn, with: after.database[length..<torn])
            }
            #expect(try crashed.recover() == before.state, "after \(length) bytes")
        }
        // The next write starts the write-ahead log over, on top of its old frames.
        try store.append([entry(62, term: 3)])
        let restarted = try Moment(scratch, store)
        #expect(try restarted.recover() == restarted.state)
    }

    @Test(arguments: [false, true])
    func flippedBitIsReportedOrHarmless(checkpointed: Bool) throws {
        let scratch = try ScratchDirectory()
        let (store, moments) = try Self.history(scratch)
        var whole = try #require(moments.last)
        if checkpointed {
            try store.database.checkpoint(.truncate)
            whole = try Moment(scratch, store)
            #expect(whole.wal.isEmpty)
        }
        var generator = SeededGenerator(seed: checkpointed ? 1 : 2)
        var reported = 0
        for _ in 0..<400 {
            var damaged = whole
            let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
            if checkpointed {
                damaged.database[Int.random(in: damaged.database.indices, using: &generator)] ^= bit
            } else {
                damaged.wal[Int.random(in: damaged.wal.indices, using: &generator)] ^= bit
            }
            do {
                let found = try damaged.recover()
                #expect(found == whole.state)
            } catch is StorageError {
                reported += 1
            }
        }
        #expect(reported > 50)
    }

    @Test func flippedBitInARecordNamesTheRecord() throws {
        let scratch = try ScratchDirectory()
        let store = try openLog(scratch.path)
        try store.append((1...5).map { entry($0, .command(Array("the payload of number \($0)".utf8))) })
        try store.database.checkpoint(.truncate)
        var damaged = try Moment(scratch, store)
        let needle = Data("the payload of number 3".utf8)
        let range = try #require(Data(damaged.database).range(of: needle))
        damaged.database[range.lowerBound] ^= 1
        expectStorageError("a flipped bit", { _ = try damaged.recover() }) {
            if case .corruptRecord(LogIndex(3), _, _) = $0 { true } else { false }
        }
    }

    @Test func missingRecordIsReportedWhereverItStood() throws {
        for (missing, sql) in [
            (1, "DELETE FROM entry WHERE position = 1"), (3, "DELETE FROM entry WHERE position = 3"),
            (5, "DELETE FROM entry WHERE position = 5"),
            (1, "DELETE FROM entry"),
            // A record that is correct in itself but from another time.
            (4, "UPDATE entry SET crc = 17 WHERE position = 4"),
            (6, "INSERT INTO entry VALUES (6, 1, x'6430303030', 0)"),
        ] {
            let scratch = try ScratchDirectory()
            let store = try openLog(scratch.path)
            try store.append((1...5).map { entry($0) })
            try store.database.write { try $0.execute(sql: sql) }
            expectStorageError("\(sql)", { _ = try store.recovered() }) {
                if case .corruptRecord(LogIndex(UInt64(missing)), _, _) = $0 { true } else { false }
            }
        }
    }

    @Test func lossOfAcknowledgedWritesIsReported() throws {
        let scratch = try ScratchDirectory()
        let moments = try Self.history(scratch).moments
        let whole = try #require(moments.last)
        // A bit in the middle of the write-ahead log makes SQLite end its recovery there.
        var damaged = whole
        damaged.wal[moments[3].wal.count + 100] ^= 1
        expectStorageError("a damaged frame", { _ = try damaged.recover() }) {
            if case .lostAcknowledgedWrites = $0 { true } else { false }
        }
        // Without its write-ahead log, or from an older copy, the database is whole but old.
        damaged.wal = []
        expectStorageError("no write-ahead log", { _ = try damaged.recover() }) {
            if case .lostAcknowledgedWrites = $0 { true } else { false }
        }
        var old = moments[2]
        old.mark = whole.mark
        expectStorageError("an older copy", { _ = try old.recover() }) {
            if case .lostAcknowledgedWrites = $0 { true } else { false }
        }
        // Gone altogether: a node without its votes must not start afresh under the same number.
        let empty = try ScratchDirectory()
        try empty.put(whole.mark, "raft.acknowledged")
        expectStorageError("no database", { _ = try openLog(empty.path) }) {
            if case .lostAcknowledgedWrites(_, _, found: 0) = $0 { true } else { false }
        }
        // An unreadable or lost mark is only a lost precaution.
        var unmarked = whole
        unmarked.mark = [1, 2, 3]
        #expect(try unmarked.recover() == whole.state)
    }

    @Test func crashWhileTheStoreIsMadeLeavesAnOpenableOne() throws {
        let scratch = try ScratchDirectory()
        try scratch.put([], "raft.sqlite")
        try scratch.put([], "raft.sqlite.lock")
        let store = try openLog(scratch.path)
        #expect(store.isNew)
        let first = try Moment(scratch, store)
        // Before the first transaction was whole, with and without the mark's empty file.
        for wal in stride(from: 0, to: first.wal.count, by: 1000) {
            let copy = try ScratchDirectory()
            try copy.put(first.database, "raft.sqlite")
            try copy.put(Array(first.wal[..<wal]), "raft.sqlite-wal")
            try copy.put([], "raft.acknowledged")
            #expect(try openLog(copy.path).isNew)
        }
    }

    @Test func emptyDatabaseBesideAWriteAheadLogIsReported() throws {
        let scratch = try ScratchDirectory()
        var moment = try #require(try Self.history(scratch).moments.last)
        moment.database = []
        expectStorageError("an emptied database", { _ = try moment.recover() }) {
            if case .corruptDatabase = $0 { true } else { false }
        }
    }
}
