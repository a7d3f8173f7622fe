// A disk that obeys what PersistBatch promises and nothing more: batches wait in order, a sync makes a prefix
// of them durable, a crash loses the rest.

import ClusterModel

@testable import Raft

/// Log, hard state and snapshot of one node as its disk holds them.
struct SimulatedDisk {
    private(set) var hardState = HardState()
    private(set) var entries: [LogEntry] = []
    private(set) var snapshot: SnapshotMetadata?
    /// Batches handed over but not synced.
    private(set) var waiting: [PersistBatch] = []

    init() {}
    init(hardState: HardState, entries: [LogEntry]) {
        self.hardState = hardState
        self.entries = entries
    }

    var lastIndex: LogIndex { entries.last?.index ?? snapshot?.lastIndex ?? .zero }

    mutating func hand(_ batch: PersistBatch) { waiting.append(batch) }

    /// Makes the first waiting batch durable and returns it.
    mutating func syncOne() -> PersistBatch? {
        guard !waiting.isEmpty else { return nil }
        let batch = waiting.removeFirst()
        if let hardState = batch.hardState { self.hardState = hardState }
        if let cut = batch.truncateFrom { entries.removeAll { $0.index >= cut } }
        if let first = batch.entries.first {
            precondition(first.index == lastIndex.next, "batch leaves a gap on disk")
            entries += batch.entries
        }
        return batch
    }

    mutating func crash() { waiting.removeAll() }

    /// Stores a snapshot of this node's own state.
    mutating func take(_ metadata: SnapshotMetadata) {
        snapshot = metadata
        entries.removeAll { $0.index <= metadata.lastIndex }
    }

    /// Stores a snapshot from elsewhere in place of the whole log.
    mutating func install(_ metadata: SnapshotMetadata) {
        snapshot = metadata
        entries = []
    }

    func recovered(initial: VoterConfiguration) -> RecoveredState {
        RecoveredState(
            hardState: hardState, entries: entries, snapshot: snapshot, initialConfiguration: initial)
    }
}
