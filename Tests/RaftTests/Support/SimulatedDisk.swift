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

    /// Makes entries unreadable, and the state machine's state if `losesState`, then carries out what the plan for
    /// such a start says. Returns how far the state machine has applied then.
    mutating func damage(
        entries bad: Set<LogIndex>, losesState: Bool, losesVotes: Bool, applied: LogIndex,
        initial: VoterConfiguration
    ) -> (applied: LogIndex, findings: [RecoveryPlan.Finding]) {
        let log = Log(recovered: recovered(initial: initial))
        let state = log.term(at: applied).map {
            SnapshotMetadata(lastIndex: applied, lastTerm: $0, configuration: log.configuration(at: applied))
        }
        let plan = RecoveryPlan(
            SurvivingState(
                hardState: losesVotes ? nil : hardState, snapshot: snapshot, end: log.end,
                entries: entries.filter { !bad.contains($0.index) }, applied: losesState ? nil : state,
                initialConfiguration: initial))
        hardState = plan.state.hardState
        entries = plan.state.entries
        snapshot = plan.state.snapshot
        return (plan.discardsState ? .zero : applied, plan.findings)
    }

    func recovered(initial: VoterConfiguration) -> RecoveredState {
        RecoveredState(
            hardState: hardState, entries: entries, snapshot: snapshot, initialConfiguration: initial)
    }
}
