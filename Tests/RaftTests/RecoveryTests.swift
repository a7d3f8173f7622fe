// Starting from storage: what is damaged is named before anyone votes with it, and what was applied is not
// delivered again.

import ClusterModel
import Testing

@testable import Raft

struct RecoveryTests {
    private let voters = VoterConfiguration(voters: [NodeID(1)])

    private func entry(_ index: UInt64, _ term: UInt64) -> LogEntry {
        LogEntry(term: Term(term), index: LogIndex(index), payload: .noop)
    }

    @Test func damagedLogsAreNamed() {
        func problem(_ entries: [LogEntry], commit: UInt64 = 0, applied: UInt64 = 0) -> RecoveryProblem? {
            RecoveredState(
                hardState: HardState(term: Term(3), commitIndex: LogIndex(commit)), entries: entries,
                initialConfiguration: voters
            ).problem(appliedIndex: LogIndex(applied))
        }
        #expect(problem([entry(1, 1), entry(2, 3)], commit: 2, applied: 2) == nil)
        #expect(problem([entry(1, 1), entry(3, 1)]) == .gap(after: LogIndex(1), next: LogIndex(3)))
        #expect(problem([entry(2, 1)]) == .gap(after: .zero, next: LogIndex(2)))
        #expect(problem([entry(1, 2), entry(2, 1)]) == .termOutOfOrder(at: LogIndex(2)))
        #expect(problem([entry(1, 4)]) == .termOutOfOrder(at: LogIndex(1)))
        #expect(
            problem([entry(1, 1)], commit: 2)
                == .commitBeyondLog(commitIndex: LogIndex(2), lastIndex: LogIndex(1)))
        #expect(
            problem([entry(1, 1)], applied: 2)
                == .appliedBeyondLog(appliedIndex: LogIndex(2), lastIndex: LogIndex(1)))
    }

    @Test func theFirstStepDeliversWhatWasCommittedButNotApplied() {
        let state = RecoveredState(
            hardState: HardState(term: Term(1), commitIndex: LogIndex(3)),
            entries: (1...4).map { entry($0, 1) },
            initialConfiguration: VoterConfiguration(voters: [NodeID(1), NodeID(2)]))
        var consensus = Consensus(id: NodeID(1), recovered: state, appliedIndex: LogIndex(1), seed: 1)
        var effects = Consensus.Effects()
        consensus.step(.tick, into: &effects)
        #expect(effects.committed.map(\.index) == [LogIndex(2), LogIndex(3)])
    }

    @Test func theConfigurationComesFromTheLogThenTheSnapshotThenTheInitialOne() {
        let later = VoterConfiguration(voters: [NodeID(1), NodeID(2)])
        let latest = VoterConfiguration(voters: [NodeID(1), NodeID(2), NodeID(3)])
        let snapshot = SnapshotMetadata(lastIndex: LogIndex(5), lastTerm: Term(1), configuration: later)
        var state = RecoveredState(hardState: HardState(term: Term(1)), initialConfiguration: voters)
        #expect(Consensus(id: NodeID(1), recovered: state, seed: 1).configuration == voters)
        state.snapshot = snapshot
        #expect(Consensus(id: NodeID(1), recovered: state, seed: 1).configuration == later)
        state.entries = [LogEntry(term: Term(1), index: LogIndex(6), payload: .configuration(latest))]
        let consensus = Consensus(id: NodeID(1), recovered: state, seed: 1)
        #expect(consensus.configuration == latest)
        #expect(consensus.commitIndex == LogIndex(5))
    }

    @Test func configurationsAreSortedAndDisjoint() {
        let mixed = VoterConfiguration(
            voters: [NodeID(3), NodeID(1), NodeID(3)], learners: [NodeID(1), NodeID(5), NodeID(4)])
        #expect(mixed.voters == [NodeID(1), NodeID(3)])
        #expect(mixed.learners == [NodeID(4), NodeID(5)])
        #expect(mixed.addingVoter(NodeID(4)).learners == [NodeID(5)])
        #expect(mixed.addingLearner(NodeID(3)).voters == [NodeID(1)])
        #expect(mixed.removing(NodeID(1)).members == [NodeID(3), NodeID(4), NodeID(5)])
    }
}
