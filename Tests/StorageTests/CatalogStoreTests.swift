import ClusterModel
import Foundation
import GRDB
import KeyCatalog
import Testing

@testable import Storage

// The catalog store keeps rows and the applied index in step, whatever happens, and carries snapshots from
// one node to another.

@Suite struct CatalogStoreTests {
    func row(_ table: String, _ key: String, _ value: String?) -> RowChange {
        RowChange(table: table, key: key, value: value.map { Array($0.utf8) })
    }

    @Test func rowsAndAppliedIndexComeBackTogether() throws {
        let scratch = try ScratchDirectory()
        do {
            let store = try openCatalog(scratch.path)
            #expect(store.position == .start)
            #expect(try store.load() == CatalogContents(position: .start, rows: []))
            try store.apply(
                [row("keys", "b", "1"), row("keys", "a", ""), row("endpoints", "b", "x")],
                appliedIndex: LogIndex(3), appliedTerm: Term(1))
            try store.apply(
                [
                    row("keys", "a", "2"), row("keys", "a", "3"), row("endpoints", "b", nil),
                    row("none", "x", nil),
                ],
                appliedIndex: LogIndex(4), appliedTerm: Term(2))
            try store.apply([], appliedIndex: LogIndex(9), appliedTerm: Term(2))
        }
        let store = try openCatalog(scratch.path)
        let contents = try store.load()
        #expect(contents.position.appliedIndex == LogIndex(9) && contents.position.appliedTerm == Term(2))
        #expect(contents.position.rowCount == 2)
        #expect(contents.rows == [row("keys", "a", "3"), row("keys", "b", "1")])
    }

    @Test func realCatalogRoundTrips() throws {
        let scratch = try ScratchDirectory()
        let catalog = Catalog()
        let store = try openCatalog(scratch.path)
        try store.apply(catalog.allRows, appliedIndex: LogIndex(1), appliedTerm: Term(1))
        #expect(try Catalog(rows: store.load().rows) == catalog)
    }

    @Test func appliedIndexMustGrow() throws {
        let scratch = try ScratchDirectory()
        let store = try openCatalog(scratch.path)
        try store.apply([row("t", "k", "v")], appliedIndex: LogIndex(5), appliedTerm: Term(3))
        let before = try store.load()
        for (index, term) in [(5, 3), (4, 3), (6, 2)] as [(UInt64, UInt64)] {
            expectStorageError(
                "entry \(index) of term \(term)",
                {
                    try store.apply(
                        [row("t", "k", nil)], appliedIndex: LogIndex(index), appliedTerm: Term(term))
                },
                matches: { if case .invalidRequest = $0 { true } else { false } })
        }
        #expect(try store.load() == before)
    }

    @Test func equalRowsHaveEqualFingerprintsWhateverTheWayThere() throws {
        let one = try ScratchDirectory()
        let other = try ScratchDirectory()
        let first = try openCatalog(one.path, node: 1)
        let second = try openCatalog(other.path, node: 2)
        try first.apply(
            [row("t", "a", "1"), row("t", "b", "2"), row("u", "c", "3")], appliedIndex: LogIndex(7),
            appliedTerm: Term(1))
        try second.apply(
            [row("u", "c", "0"), row("t", "b", "2"), row("t", "z", "9")], appliedIndex: LogIndex(2),
            appliedTerm: Term(1))
        #expect(first.position.stateHash != second.position.stateHash)
        try second.apply(
            [row("t", "z", nil), row("t", "a", "1"), row("u", "c", "3")], appliedIndex: LogIndex(7),
            appliedTerm: Term(1))
        #expect(first.position == second.position)
        // Names and values do not run together.
        try first.replace(with: [row("ab", "c", "")], snapshot: snapshot(8, term: 1))
        try second.replace(with: [row("a", "bc", "")], snapshot: snapshot(8, term: 1))
        #expect(first.position.stateHash != second.position.stateHash)
    }

    @Test func anotherNodesCatalogIsRefusedAndSoIsASecondOpen() throws {
        let scratch = try ScratchDirectory()
        let store = try openCatalog(scratch.path)
        expectStorageError("open twice", { _ = try openCatalog(scratch.path) }) {
            if case .lockedByAnotherProcess = $0 { true } else { false }
        }
        try store.close()
        expectStorageError("closed", { _ = try store.load() }) {
            if case .closed = $0 { true } else { false }
        }
        expectStorageError("another node", { _ = try openCatalog(scratch.path, node: 7) }) {
            if case .wrongNode = $0 { true } else { false }
        }
        expectStorageError("another cluster", { _ = try openCatalog(scratch.path, cluster: "x") }) {
            if case .wrongCluster = $0 { true } else { false }
        }
    }

    @Test func everyCrashLeavesRowsAndIndexInStep() throws {
        let scratch = try ScratchDirectory()
        let store = try openCatalog(scratch.path)
        var states = [try store.load()]
        for index in 1...12 as ClosedRange<UInt64> {
            let value = String(repeating: "v\(index)", count: Int(index) * 200)
            try store.apply(
                [row("t", "k\(index % 5)", value), row("t", "k\((index + 2) % 5)", nil)],
                appliedIndex: LogIndex(index), appliedTerm: Term(1))
            states.append(try store.load())
        }
        let database = try scratch.bytes("catalog.sqlite")
        let wal = try scratch.bytes("catalog.sqlite-wal")
        var generator = SeededGenerator(seed: 3)
        for cut in stride(from: 0, through: wal.count, by: 1371) {
            // Nothing of this file was synced: a power cut may end it anywhere and lose any sector of it.
            var crashed = Array(wal[..<cut])
            if cut > 512, Bool.random(using: &generator) {
                let lost = Int.random(in: 0..<(cut / 512), using: &generator) * 512
                crashed.replaceSubrange(lost..<(lost + 512), with: [UInt8](repeating: 0, count: 512))
            }
            let copy = try ScratchDirectory()
            try copy.put(database, "catalog.sqlite")
            try copy.put(crashed, "catalog.sqlite-wal")
            let contents = try openCatalog(copy.path).load()
            #expect(states.contains(contents), "cut at \(cut)")
        }
    }

    @Test func whatIsReportedDurableIsInTheDatabaseFile() throws {
        let scratch = try ScratchDirectory()
        let store = try openCatalog(scratch.path)
        try store.apply([row("t", "k", "v")], appliedIndex: LogIndex(5), appliedTerm: Term(3))
        #expect(try store.makeDurable().appliedIndex == LogIndex(5))
        let copy = try ScratchDirectory()
        try copy.put(try scratch.bytes("catalog.sqlite"), "catalog.sqlite")
        #expect(try openCatalog(copy.path).load() == store.load())
    }

    @Test func damagedRowIsNamedAndALostOneMissed() throws {
        for sql in ["UPDATE row SET value = x'00' WHERE key = 'b'", "UPDATE row SET crc = 1 WHERE key = 'b'"]
        {
            let scratch = try ScratchDirectory()
            let store = try openCatalog(scratch.path)
            try store.apply(
                [row("t", "a", "1"), row("t", "b", "2")], appliedIndex: LogIndex(1), appliedTerm: Term(1))
            try store.database.write { try $0.execute(sql: sql) }
            expectStorageError("\(sql)", { _ = try store.load() }) {
                $0 == .corruptRow(table: "t", key: "b", path: scratch.file("catalog.sqlite"))
            }
            try store.database.write { try $0.execute(sql: "DELETE FROM row WHERE key = 'b'") }
            expectStorageError("a lost row", { _ = try store.load() }) {
                if case .corruptDatabase = $0 { true } else { false }
            }
        }
    }

    @Test func backupCarriesTheCatalogToAnotherNode() throws {
        let scratch = try ScratchDirectory()
        let rows = (0..<3_000).map { row("credentials", "c\($0)", "value \($0)") }
        let source = try openCatalog(scratch.file("one"), node: 1)
        try source.apply(rows, appliedIndex: LogIndex(40), appliedTerm: Term(2))
        let path = scratch.file("snapshot")
        #expect(try source.backup(to: path) == source.position)
        // The source goes on, and a second backup replaces the first.
        try source.apply([row("t", "k", "v")], appliedIndex: LogIndex(41), appliedTerm: Term(2))
        #expect(try source.backup(to: path).appliedIndex == LogIndex(41))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted() == ["one", "snapshot"])
        do {
            let target = try openCatalog(scratch.file("two"), node: 2)
            try target.apply([row("t", "old", "x")], appliedIndex: LogIndex(3), appliedTerm: Term(1))
            try target.replace(withBackupAt: path)
            expectStorageError("not newer", { try target.replace(withBackupAt: path) }) {
                if case .invalidRequest = $0 { true } else { false }
            }
        }
        let target = try openCatalog(scratch.file("two"), node: 2)
        #expect(try target.load() == source.load())
        #expect(target.identity.node == NodeID(2))
    }

    @Test func damagedOrForeignBackupChangesNothing() throws {
        let scratch = try ScratchDirectory()
        let source = try openCatalog(scratch.file("one"))
        try source.apply(
            [row("t", "a", "a value to be found again")], appliedIndex: LogIndex(9), appliedTerm: Term(2))
        _ = try source.backup(to: scratch.file("snapshot"))
        let target = try openCatalog(scratch.file("two"), node: 2)
        try target.apply([row("t", "old", "x")], appliedIndex: LogIndex(3), appliedTerm: Term(1))
        let before = try target.load()

        var damaged = try scratch.bytes("snapshot")
        let range = try #require(Data(damaged).range(of: Data("found again".utf8)))
        damaged[range.lowerBound] ^= 4
        try scratch.put(damaged, "damaged")
        expectStorageError("a flipped bit", { try target.replace(withBackupAt: scratch.file("damaged")) }) {
            $0 == .corruptRow(table: "t", key: "a", path: scratch.file("damaged"))
        }
        try scratch.put(Array(damaged.prefix(damaged.count / 2)), "half")
        expectStorageError("half a file", { try target.replace(withBackupAt: scratch.file("half")) }) {
            if case .corruptDatabase = $0 { true } else { false }
        }
        try scratch.put(Array("no database".utf8), "text")
        for name in ["text", "missing"] {
            expectStorageError("\(name)", { try target.replace(withBackupAt: scratch.file(name)) }) {
                switch $0 {
                case .corruptDatabase, .inputOutput: true
                default: false
                }
            }
        }
        let foreign = try openCatalog(scratch.file("three"), cluster: "other")
        try foreign.apply([], appliedIndex: LogIndex(90), appliedTerm: Term(2))
        _ = try foreign.backup(to: scratch.file("foreign"))
        expectStorageError("another cluster", { try target.replace(withBackupAt: scratch.file("foreign")) }) {
            if case .wrongCluster = $0 { true } else { false }
        }
        // None of this has stopped the store.
        #expect(try target.load() == before)
        try target.replace(withBackupAt: scratch.file("snapshot"))
        #expect(try target.load() == source.load())
    }

    @Test func backupThatCannotBeWrittenLeavesTheStoreRunning() throws {
        let scratch = try ScratchDirectory()
        let store = try openCatalog(scratch.path)
        expectStorageError("no directory", { _ = try store.backup(to: scratch.file("none/snapshot")) }) {
            if case .inputOutput = $0 { true } else { false }
        }
        try store.apply([row("t", "k", "v")], appliedIndex: LogIndex(1), appliedTerm: Term(1))
    }
}
