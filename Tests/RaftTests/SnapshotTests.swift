// Snapshots (Raft §7) as one node sees them: what it refuses while one is being installed, and that a
// transfer which goes wrong is never waited for in vain.

import ClusterModel
import Testing

@testable import Raft

struct SnapshotTests {
    private static let voters = VoterConfiguration(voters: [NodeID(1), NodeID(2), NodeID(3)])
    private static let metadata = SnapshotMetadata(
        lastIndex: LogIndex(5), lastTerm: Term(2), configuration: voters)

    /// Node 1, which holds one entry, is told by leader 2 that a snapshot up to entry 5 has arrived.
    private func installingNode() -> (Consensus, Consensus.Effects) {
        let entry = LogEntry(term: Term(1), index: LogIndex(1), payload: .noop)
        let state = RecoveredState(
            hardState: HardState(term: Term(2)), entries: [entry], initialConfiguration: Self.voters)
        var consensus = Consensus(id: NodeID(1), recovered: state, seed: 3)
        var effects = Consensus.Effects()
        let request = SnapshotRequest(term: Term(2), metadata: Self.metadata)
        consensus.step(.received(.snapshotRequest(request), from: NodeID(2)), into: &effects)
        return (consensus, effects)
    }

    private func append(commit: UInt64) -> Consensus.Event {
        let entry = LogEntry(term: Term(2), index: LogIndex(2), payload: .noop)
        return .received(
            .appendRequest(
                AppendRequest(
                    term: Term(2), previousIndex: LogIndex(1), previousTerm: Term(1), entries: [entry],
                    commitIndex: LogIndex(commit), readRound: 4)), from: NodeID(2))
    }

    @Test func aNodeThatInstallsTakesNoEntriesButConfirmsItsLeader() {
        var (consensus, effects) = installingNode()
        #expect(effects.installSnapshot == Self.metadata)
        effects = Consensus.Effects()
        consensus.step(append(commit: 2), into: &effects)
        let answer = AppendResponse(term: Term(2), outcome: .installingSnapshot, readRound: 4)
        #expect(effects.send == [Envelope(to: NodeID(2), message: .appendResponse(answer))])
        #expect(consensus.lastIndex == LogIndex(1))
        #expect(consensus.commitIndex == .zero)
    }

    @Test func aNodeThatInstallsDoesNotCampaign() {
        var (consensus, effects) = installingNode()
        for _ in 0..<100 { consensus.step(.tick, into: &effects) }
        #expect(consensus.role.kind == .follower)
        consensus.step(.received(.timeoutNow(TimeoutNow(term: Term(2))), from: NodeID(2)), into: &effects)
        #expect(consensus.role.kind == .follower)
    }

    @Test func anInstalledSnapshotReplacesTheLogAndIsAcknowledged() {
        var (consensus, effects) = installingNode()
        effects = Consensus.Effects()
        consensus.step(.snapshotInstalled(Self.metadata), into: &effects)
        #expect(consensus.lastIndex == LogIndex(5))
        #expect(consensus.commitIndex == LogIndex(5))
        #expect(consensus.term(at: LogIndex(5)) == Term(2))
        #expect(consensus.entry(at: LogIndex(1)) == nil)
        #expect(effects.committed == [])
        let answer = SnapshotResponse(term: Term(2), matchIndex: LogIndex(5))
        #expect(effects.send == [Envelope(to: NodeID(2), message: .snapshotResponse(answer))])
    }

    @Test func aFailedInstallationLeavesTheNodeAsItWas() {
        var (consensus, effects) = installingNode()
        consensus.step(.snapshotInstallFailed(Self.metadata), into: &effects)
        consensus.step(append(commit: 2), into: &effects)
        #expect(consensus.lastIndex == LogIndex(2))
        #expect(consensus.commitIndex == LogIndex(2))
    }

    @Test func aFollowerThatForgetsADeliveredSnapshotGetsAnother() {
        // Node 3 crashes while it installs, and answers heartbeats as if nothing had been sent.
        let cluster = SimulatedCluster(3, settings: RaftSettings(entriesKeptBehindSnapshot: 0))
        cluster.elect(NodeID(1))
        cluster.crash(NodeID(3))
        for text in ["a", "b", "c"] { cluster.propose(1, text) }
        cluster.stabilize()
        cluster.takeSnapshot(NodeID(1))
        cluster.start(NodeID(3))
        cluster.nodes[NodeID(3)]?.isDiskHeld = true
        cluster.tickAll(5)
        #expect(cluster.nodes[NodeID(3)]?.installing != nil)
        cluster.crash(NodeID(3))
        cluster.start(NodeID(3))
        cluster.nodes[NodeID(3)]?.isDiskHeld = false
        cluster.tickAll(3 * cluster.settings.electionTicks)
        #expect(cluster.nodes[NodeID(3)]?.applied == LogIndex(4))
        #expect(cluster.monitor.violations == [])
    }

    @Test func snapshotsOfUndeliveredOrForeignPositionsAreIgnored() {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        for (index, term) in [(9, 1), (1, 7)] as [(UInt64, UInt64)] {
            let metadata = SnapshotMetadata(
                lastIndex: LogIndex(index), lastTerm: Term(term), configuration: Self.voters)
            cluster.step(NodeID(1), .snapshotTaken(metadata))
        }
        #expect(cluster.consensus(1)?.snapshot == nil)
        #expect(cluster.consensus(1)?.snapshotMetadata(at: LogIndex(1))?.lastTerm == Term(1))
        #expect(cluster.consensus(1)?.snapshotMetadata(at: LogIndex(2)) == nil)
    }
}
