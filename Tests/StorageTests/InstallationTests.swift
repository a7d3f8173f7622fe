import ClusterModel
import Foundation
import KeyCatalog
import Raft
import Testing

@testable import Storage

// A snapshot replaces the catalog first and the log second; there is no transaction over both. These tests stop
// an installation between any two writes, and in the middle of any write, and start from what is left: it must be
// the state before, or the state after, never one that a node cannot start from.

@Suite struct InstallationTests {
    private static let files = [
        "raft.sqlite", "raft.sqlite-wal", "raft.acknowledged", "catalog.sqlite", "catalog.sqlite-wal",
    ]
    private static let rows = (1...40).map {
        RowChange(table: "keys", key: "key \($0)", value: [UInt8](repeating: UInt8($0), count: 200))
    }

    private struct Start: Equatable {
        var log: RecoveredState
        var catalog: CatalogContents
    }

    /// What a start finds, as the node does it.
    private static func start(_ directory: String) throws -> Start {
        let log = try openLog(directory)
        let catalog = try openCatalog(directory)
        try log.finishInstallation(of: catalog)
        let start = Start(log: try log.recovered(), catalog: try catalog.load())
        #expect(start.log.problem(appliedIndex: start.catalog.position.appliedIndex) == nil)
        // A second start finds the same and has nothing left to do.
        #expect(try !log.finishInstallation(of: catalog))
        return start
    }

    private static func copy(_ scratch: ScratchDirectory) throws -> [String: [UInt8]] {
        var contents: [String: [UInt8]] = [:]
        for file in files { contents[file] = try scratch.bytes(file) }
        return contents
    }

    private static func start(from contents: [String: [UInt8]]) throws -> Start {
        let scratch = try ScratchDirectory()
        for (file, bytes) in contents where !bytes.isEmpty { try scratch.put(bytes, file) }
        return try start(scratch.path)
    }

    /// A follower with ten entries, four of them committed and applied.
    private static func follower(_ directory: String) throws -> (LogStore, CatalogStore) {
        let log = try openLog(directory)
        let catalog = try openCatalog(directory)
        try log.write(
            hardState: hardState(3, vote: 2, commit: 4), truncateFrom: nil,
            entries: (1...10).map { entry($0) })
        try catalog.apply(
            [RowChange(table: "keys", key: "old", value: [1])], appliedIndex: LogIndex(4),
            appliedTerm: Term(1))
        return (log, catalog)
    }

    private static let installed = snapshot(20, term: 2)

    @Test func aCrashBetweenTheTwoStoresIsFinishedAtTheNextStart() throws {
        let scratch = try ScratchDirectory()
        var stores: (log: LogStore, catalog: CatalogStore)? = try Self.follower(scratch.path)
        try #require(stores).catalog.replace(with: Self.rows, snapshot: Self.installed)
        stores = nil
        let start = try Self.start(scratch.path)
        #expect(start.log.snapshot == Self.installed && start.log.entries.isEmpty)
        #expect(start.log.hardState == hardState(3, vote: 2, commit: 4))
        #expect(start.catalog.rows.count == 40)
        #expect(start.catalog.position.appliedIndex == LogIndex(20))
    }

    @Test func aStartAfterACompleteInstallationChangesNothing() throws {
        let scratch = try ScratchDirectory()
        var stores: (log: LogStore, catalog: CatalogStore)? = try Self.follower(scratch.path)
        try #require(stores).catalog.replace(with: Self.rows, snapshot: Self.installed)
        try #require(stores).log.install(Self.installed)
        try #require(stores).log.append((21...30).map { entry($0, term: 3) })
        try #require(stores).log.compact(through: snapshot(25, term: 3))
        stores = nil
        let start = try Self.start(scratch.path)
        #expect(start.log.snapshot == snapshot(25, term: 3))
        #expect(start.log.entries.map(\.index.rawValue) == Array(26...30))
    }

    @Test func aCrashInTheMiddleOfAnyWriteGivesTheStateBeforeOrAfterIt() throws {
        let scratch = try ScratchDirectory()
        let (log, catalog) = try Self.follower(scratch.path)
        try log.database.checkpoint(.passive)
        _ = try catalog.makeDurable()
        var moments = [try Self.copy(scratch)]
        try catalog.replace(with: Self.rows, snapshot: Self.installed)
        moments.append(try Self.copy(scratch))
        try log.install(Self.installed)
        moments.append(try Self.copy(scratch))
        let states = try moments.map { try Self.start(from: $0) }
        #expect(states[1] == states[2])
        #expect(states[0].log.entries.count == 10)
        var generator = SeededGenerator(seed: 7)
        for step in 0..<2 {
            for file in Self.files where moments[step][file] != moments[step + 1][file] {
                let (old, new) = (moments[step][file] ?? [], moments[step + 1][file] ?? [])
                guard file.hasSuffix("-wal") else { continue }
                for _ in 0..<24 {
                    let cut = Int.random(in: 0...new.count, using: &generator)
                    var crashed = moments[step]
                    crashed[file] = Array(new[..<cut]) + old.dropFirst(cut)
                    let found = try Self.start(from: crashed)
                    #expect(found == states[step] || found == states[step + 1], "\(file) cut at \(cut)")
                }
            }
        }
    }

    @Test func anInstallationSurvivesAPowerCutAsSoonAsTheCatalogHasIt() throws {
        let scratch = try ScratchDirectory()
        let (log, catalog) = try Self.follower(scratch.path)
        try catalog.replace(with: Self.rows, snapshot: Self.installed)
        var contents = try Self.copy(scratch)
        // What had not been synced is gone: of the catalog that is its write-ahead log.
        contents["catalog.sqlite-wal"] = []
        let start = try Self.start(from: contents)
        #expect(start.catalog.position.appliedIndex == LogIndex(20))
        #expect(start.log.snapshot == Self.installed)
        withExtendedLifetime((log, catalog)) {}
    }
}
