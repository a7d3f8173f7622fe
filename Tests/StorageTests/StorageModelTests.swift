import ClusterModel
import Foundation
import KeyCatalog
import Raft
import Testing

@testable import Storage

// The stores against models of a few lines each: the same seeded operations go to both, refusals included,
// and after each, and after reopening, both must hold the same.

/// What the log store is supposed to be.
private struct ModelLog: Equatable {
    var hardState = HardState()
    var snapshot: SnapshotMetadata?
    var entries: [LogEntry] = []

    var lastIndex: LogIndex { entries.last?.index ?? snapshot?.lastIndex ?? .zero }
    var lastTerm: Term { entries.last?.term ?? snapshot?.lastTerm ?? .zero }

    /// The log after the batches; nil when one of them is to be refused.
    func applying(_ batches: [LogBatch]) -> ModelLog? {
        var next = self
        for batch in batches {
            if let index = batch.truncateFrom {
                guard index > next.hardState.commitIndex, index > next.snapshot?.lastIndex ?? .zero else {
                    return nil
                }
                next.entries.removeAll { $0.index >= index }
            }
            for entry in batch.entries {
                guard entry.index == next.lastIndex.next, entry.term >= next.lastTerm else { return nil }
                next.entries.append(entry)
            }
            guard let state = batch.hardState else { continue }
            guard state.term >= next.hardState.term, state.commitIndex >= next.hardState.commitIndex else {
                return nil
            }
            if state.term == next.hardState.term, let vote = next.hardState.votedFor, state.votedFor != vote {
                return nil
            }
            next.hardState = state
        }
        return next
    }

    func compacted(through metadata: SnapshotMetadata) -> ModelLog? {
        if metadata.lastIndex <= snapshot?.lastIndex ?? .zero { return self }
        guard let entry = entries.first(where: { $0.index == metadata.lastIndex }),
            entry.term == metadata.lastTerm
        else { return nil }
        var next = self
        next.entries.removeAll { $0.index <= metadata.lastIndex }
        next.snapshot = metadata
        return next
    }

    func installed(_ metadata: SnapshotMetadata) -> ModelLog? {
        guard metadata.lastIndex > snapshot?.lastIndex ?? .zero, metadata.lastIndex >= hardState.commitIndex
        else { return nil }
        return ModelLog(hardState: hardState, snapshot: metadata, entries: [])
    }

    /// A batch that is mostly, but not always, acceptable.
    func randomBatch(_ generator: inout SeededGenerator) -> LogBatch {
        var batch = LogBatch()
        var end = lastIndex.rawValue
        var term = max(lastTerm.rawValue, 1)
        if Int.random(in: 0..<4, using: &generator) == 0 {
            let low = max(hardState.commitIndex.rawValue, snapshot?.lastIndex.rawValue ?? 0)
            let from = UInt64.random(in: low...(max(low, end) + 2), using: &generator)
            batch.truncateFrom = LogIndex(from)
            end = min(end, from == 0 ? 0 : from - 1)
            term = hardState.term.rawValue + 1
        }
        for _ in 0..<Int.random(in: 0...4, using: &generator) {
            end += Int.random(in: 0..<40, using: &generator) == 0 ? 2 : 1
            if Int.random(in: 0..<6, using: &generator) == 0 { term += 1 }
            let size = Int.random(in: 0..<3_000, using: &generator)
            let payload: Payload =
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: .noop
                case 1: .configuration(voters)
                default: .command((0..<size).map { UInt8(truncatingIfNeeded: UInt64($0) &* term &+ end) })
                }
            batch.entries.append(LogEntry(term: Term(term), index: LogIndex(end), payload: payload))
        }
        if Bool.random(using: &generator) {
            let new = hardState.term.rawValue + UInt64.random(in: 0...1, using: &generator)
            let commit = UInt64.random(
                in: hardState.commitIndex.rawValue...max(hardState.commitIndex.rawValue, end),
                using: &generator)
            let vote = UInt64.random(in: 0...3, using: &generator)
            batch.hardState = HardState(
                term: Term(new), votedFor: vote == 0 ? nil : NodeID(vote), commitIndex: LogIndex(commit))
        }
        return batch
    }
}

@Suite struct StorageModelTests {
    /// Whether `body` was carried out rather than refused; any other error is thrown on.
    func accepted(_ body: () throws -> Void) throws -> Bool {
        do {
            try body()
            return true
        } catch StorageError.invalidRequest {
            return false
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func logBehavesLikeAnArray(seed: UInt64) throws {
        let scratch = try ScratchDirectory()
        var generator = SeededGenerator(seed: seed)
        var model = ModelLog()
        var store: LogStore? = try openLog(scratch.path)
        var seen: [String: Int] = [:]
        for step in 0..<150 {
            let next: ModelLog?
            let done: Bool
            let kind: String
            switch Int.random(in: 0..<20, using: &generator) {
            case 0:
                kind = "reopen"
                if Bool.random(using: &generator) { try store?.close() }
                store = nil
                store = try openLog(scratch.path)
                (next, done) = (model, true)
            case 1:
                kind = "compact"
                let at = model.entries.randomElement(using: &generator)
                let metadata = snapshot(
                    at?.index.rawValue ?? model.lastIndex.rawValue + 1, term: at?.term.rawValue ?? 1)
                next = model.compacted(through: metadata)
                done = try accepted { try #require(store).compact(through: metadata) }
            case 2:
                kind = "install"
                let index = UInt64.random(in: 0...(model.lastIndex.rawValue + 10), using: &generator)
                let metadata = snapshot(index, term: model.lastTerm.rawValue + 1)
                next = model.installed(metadata)
                done = try accepted { try #require(store).install(metadata) }
            default:
                kind = "write"
                var batches: [LogBatch] = []
                var running = model
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    batches.append(running.randomBatch(&generator))
                    running = running.applying(batches.suffix(1)) ?? running
                }
                next = model.applying(batches)
                done = try accepted { try #require(store).write(batches) }
            }
            seen["\(kind) \(done ? "done" : "refused")", default: 0] += 1
            #expect(done == (next != nil), "seed \(seed), step \(step): \(kind)")
            model = next ?? model
            let found = try #require(store).recovered()
            let same = ModelLog(hardState: found.hardState, snapshot: found.snapshot, entries: found.entries)
            try #require(same == model, "seed \(seed), step \(step): \(kind)")
        }
        // A generator that never tries something proves nothing about it.
        for kind in ["write done", "write refused", "install done", "install refused", "reopen done"] {
            #expect(seen[kind, default: 0] > 0, "seed \(seed) never saw '\(kind)'")
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func catalogBehavesLikeADictionary(seed: UInt64) throws {
        let scratch = try ScratchDirectory()
        var generator = SeededGenerator(seed: seed)
        var model: [String: [UInt8]] = [:]
        var store: CatalogStore? = try openCatalog(scratch.path)
        var index: UInt64 = 0
        for step in 0..<80 {
            let changes = (0..<Int.random(in: 0...6, using: &generator)).map { _ in
                let size = Int.random(in: -8...400, using: &generator)
                return RowChange(
                    table: "t\(Int.random(in: 0...2, using: &generator))",
                    key: "k\(Int.random(in: 0...9, using: &generator))",
                    value: size < 0 ? nil : (0..<size).map { UInt8(truncatingIfNeeded: $0 &* step) })
            }
            index += UInt64.random(in: 1...3, using: &generator)
            let replaces = Int.random(in: 0..<10, using: &generator) == 0
            if replaces {
                model = [:]
                try #require(store).replace(
                    with: changes, snapshot: snapshot(index, term: 1))
            } else {
                try #require(store).apply(changes, appliedIndex: LogIndex(index), appliedTerm: Term(1))
            }
            for change in changes { model["\(change.table)/\(change.key)"] = change.value }
            if Int.random(in: 0..<8, using: &generator) == 0 {
                store = nil
                store = try openCatalog(scratch.path)
            }
            let contents = try #require(store).load()
            #expect(contents.position.appliedIndex == LogIndex(index))
            let found = Dictionary(
                uniqueKeysWithValues: contents.rows.map { ("\($0.table)/\($0.key)", $0.value ?? []) })
            try #require(found == model, "seed \(seed), step \(step)")
        }
    }

    /// Measures, asserts nothing about time: the figures depend on the disk.
    @Test func appendLatencyIsPrinted() throws {
        let scratch = try ScratchDirectory(onDisk: true)
        let store = try openLog(scratch.path)
        let clock = ContinuousClock()
        let command = Payload.command([UInt8](repeating: 1, count: 200))
        for batchSize in [1, 16] as [UInt64] {
            var spans: [Duration] = []
            for _ in 0..<200 {
                let next = store.lastIndex.rawValue + 1
                let entries = (next..<(next + batchSize)).map { entry($0, command) }
                spans.append(try clock.measure { try store.append(entries) })
            }
            spans.sort()
            let (median, high) = (spans[100].wholeNanoseconds / 1_000, spans[198].wholeNanoseconds / 1_000)
            print("append of \(batchSize) entries of 200 bytes: median \(median) µs, 99 % within \(high) µs")
        }
        #expect(try store.recovered().entries.count == 3_400)
    }
}
