import ClusterModel
import Foundation
import GRDB
import KeyCatalog
import Raft
import Testing

@testable import Storage

// Bytes flipped in the files of a stopped node, record by record and at random: a start either finds everything, or
// knows exactly from where on its log is no more what it acknowledged. The damaged file stays beside the new one.

@Suite struct DamageTests {
    private static let count: UInt64 = 12

    /// A node that has stopped: twelve entries in its log, of which some are applied, and some compacted.
    private func node(applied: UInt64, compacted: UInt64 = 0) throws -> ScratchDirectory {
        let scratch = try ScratchDirectory()
        let log = try openLog(scratch.path)
        let catalog = try openCatalog(scratch.path)
        try log.write(hardState: hardState(2, vote: 3), truncateFrom: nil, entries: [])
        try log.append((1...Self.count).map { entry($0, term: 2) })
        if applied > 0 {
            try catalog.apply([], appliedIndex: LogIndex(applied), appliedTerm: Term(2))
        }
        try log.write(hardState: hardState(2, vote: 3, commit: applied), truncateFrom: nil, entries: [])
        if compacted > 0 { try log.compact(through: snapshot(compacted, term: 2)) }
        try log.close()
        try catalog.close()
        return scratch
    }

    private func open(_ scratch: ScratchDirectory) throws -> NodeStores {
        try NodeStores(
            directory: scratch.path, cluster: "test", node: NodeID(1), initialConfiguration: voters)
    }

    private let end = LogPosition(index: LogIndex(count), term: Term(2))

    /// Flips a bit in the payload of an entry, and tells whether it is there.
    private func damage(_ index: UInt64, _ scratch: ScratchDirectory) throws {
        var bytes = Data(try scratch.bytes(LogStore.fileName))
        let range = try #require(bytes.range(of: Data("command \(index) of 2".utf8)))
        bytes[range.lowerBound] ^= 4
        try scratch.put(Array(bytes), LogStore.fileName)
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func everyDamagedEntryIsCutOffOrCovered(damaged: UInt64) throws {
        let scratch = try node(applied: 5)
        try damage(damaged, scratch)
        for isSecondStart in [false, true] {
            let stores = try open(scratch)
            let indexes = stores.recovered.entries.map(\.index.rawValue)
            #expect(stores.recovered.hardState.votedFor == NodeID(3) && stores.appliedIndex == LogIndex(5))
            if damaged <= 5 {
                #expect(indexes == Array(6...12) && stores.recovered.snapshot?.lastIndex == LogIndex(5))
                #expect(stores.recovered.hardState.lostEnd == nil)
                #expect(stores.findings == (isSecondStart ? [] : [.coveredByState(LogIndex(damaged))]))
            } else {
                #expect(indexes == Array(1..<damaged) && stores.recovered.hardState.lostEnd == end)
                let cut = RecoveryPlan.Finding.cut(from: LogIndex(damaged), oldEnd: end)
                #expect(stores.findings == (isSecondStart ? [] : [cut]))
            }
            #expect(try scratch.bytes(LogStore.fileName + ".damaged").isEmpty == false)
            try stores.log.close()
            try stores.catalogStore.close()
        }
        // What the peers send again makes the node whole.
        let stores = try open(scratch)
        let last = stores.log.lastIndex.rawValue
        if last < 12 { try stores.log.append((last + 1...12).map { entry($0, term: 2) }) }
        #expect(try stores.log.recovered().entries.last == entry(12, term: 2))
    }

    @Test func damagedCatalogIsBuiltFromTheLogOrOwed() throws {
        for compacted: UInt64 in [0, 4] {
            let scratch = try node(applied: 5, compacted: compacted)
            var bytes = try scratch.bytes(CatalogStore.fileName)
            for position in 0..<bytes.count where position % 7 == 0 { bytes[position] ^= 0x55 }
            try scratch.put(bytes, CatalogStore.fileName)
            let stores = try open(scratch)
            #expect(stores.appliedIndex == .zero && stores.catalogStore.position == .start)
            if compacted == 0 {
                #expect(stores.findings == [.stateRebuilt] && stores.recovered.entries.count == 12)
                #expect(stores.recovered.hardState.lostEnd == nil)
            } else {
                #expect(stores.findings == [.stateLost(oldEnd: end)] && stores.recovered.entries.isEmpty)
                #expect(stores.recovered.hardState.lostEnd == end)
                #expect(stores.log.lastIndex == .zero)
            }
        }
    }

    @Test func anOlderCopyOfTheCatalogIsNotTakenForThePresentOne() throws {
        let scratch = try node(applied: 5, compacted: 4)
        try FileSystem.remove(scratch.file(CatalogStore.fileName))
        let stores = try open(scratch)
        #expect(stores.findings == [.stateLost(oldEnd: end)])
    }

    @Test func lostVotesAreKnownToBeLostAtEveryStart() throws {
        let scratch = try node(applied: 5)
        var bytes = try scratch.bytes(LogStore.fileName)
        for position in 0..<100 { bytes[position] ^= 0xFF }
        try scratch.put(bytes, LogStore.fileName)
        for isFirst in [true, false] {
            let stores = try open(scratch)
            #expect(stores.recovered.hardState == HardState(rejoin: .demotion))
            #expect(stores.recovered.initialConfiguration.voters.isEmpty && stores.appliedIndex == .zero)
            #expect(stores.findings == (isFirst ? [.votesLost] : []))
            try stores.log.close()
            try stores.catalogStore.close()
        }
        #expect(try scratch.bytes(LogStore.fileName + ".damaged").isEmpty == false)
        // The same for a disk that was replaced, when whoever did it says so.
        let empty = try ScratchDirectory()
        try empty.put([], StartingOver.markerName)
        #expect(try open(empty).recovered.hardState.rejoin == .demotion)
        #expect(!StartingOver.isUnderWay(in: empty.path))
    }

    @Test(arguments: [0, 4] as [UInt64])
    func flippedBytesAreFoundOrHarmless(compacted: UInt64) throws {
        var generator = SeededGenerator(seed: 77 &+ compacted)
        var found = 0
        var refused = 0
        let whole = try node(applied: 5, compacted: compacted)
        let files = [LogStore.fileName, CatalogStore.fileName, "raft.acknowledged"]
        let original = try files.map { try whole.bytes($0) }
        for _ in 0..<300 {
            let scratch = try ScratchDirectory()
            for (name, bytes) in zip(files, original) { try scratch.put(bytes, name) }
            let name = files[Int.random(in: 0..<2, using: &generator)]
            var bytes = try scratch.bytes(name)
            bytes[Int.random(in: bytes.indices, using: &generator)] ^=
                UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
            try scratch.put(bytes, name)
            do {
                let stores = try open(scratch)
                found += stores.findings.isEmpty ? 0 : 1
                let state = stores.recovered
                if state.hardState.rejoin == .demotion {
                    refused += 1
                    #expect(state.entries.isEmpty && stores.findings == [.votesLost])
                    continue
                }
                // Either everything that was acknowledged is there, or the node knows that it is not.
                let last = state.entries.last?.index ?? state.snapshot?.lastIndex ?? .zero
                #expect(last == LogIndex(12) || state.hardState.lostEnd == end)
                #expect(state.hardState.term == Term(2) && state.hardState.votedFor == NodeID(3))
                for kept in state.entries { #expect(kept == entry(kept.index.rawValue, term: 2)) }
            } catch is StorageError {
                refused += 1
            }
        }
        #expect(found > 10 && refused < 250, "\(found) \(refused)")
    }
}
