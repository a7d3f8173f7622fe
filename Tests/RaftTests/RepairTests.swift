// Damaged disks: what is decided at the start, and that a node which lacks what it acknowledged neither leads nor
// helps anybody to lead who lacks it, but is repaired by the leader.

import ClusterModel
import Testing

@testable import Raft

struct RepairTests {
    private let initial = VoterConfiguration(voters: [NodeID(1), NodeID(2), NodeID(3)])

    private func entries(_ indexes: ClosedRange<UInt64>, without missing: Set<UInt64> = []) -> [LogEntry] {
        indexes.filter { !missing.contains($0) }
            .map { LogEntry(term: Term(2), index: LogIndex($0), payload: .noop) }
    }

    private func covered(_ index: UInt64) -> SnapshotMetadata {
        SnapshotMetadata(lastIndex: LogIndex(index), lastTerm: Term(2), configuration: initial)
    }

    private func plan(
        _ readable: [LogEntry], snapshot: UInt64? = nil, applied: UInt64?, knowsVotes: Bool = true
    ) -> RecoveryPlan {
        let hardState = HardState(term: Term(3), votedFor: NodeID(2), commitIndex: LogIndex(8))
        return RecoveryPlan(
            SurvivingState(
                hardState: knowsVotes ? hardState : nil, snapshot: snapshot.map(covered),
                end: LogPosition(index: LogIndex(10), term: Term(2)), entries: readable,
                applied: applied.map(covered), initialConfiguration: initial))
    }

    private let end = LogPosition(index: LogIndex(10), term: Term(2))

    // MARK: What a start decides

    @Test func anUndamagedStateIsStartedFromAsItIs() {
        let whole = plan(entries(1...10), applied: 6)
        #expect(whole.findings.isEmpty && !whole.discardsState)
        #expect(whole.state.entries.count == 10 && whole.state.hardState.lostEnd == nil)
        #expect(plan(entries(5...10), snapshot: 4, applied: 6).findings.isEmpty)
    }

    @Test func damagedEntriesThatWereAppliedAreCoveredByTheState() {
        let plan = plan(entries(1...10, without: [2, 5]), applied: 6)
        #expect(plan.findings == [.coveredByState(LogIndex(2))] && !plan.discardsState)
        #expect(plan.state.snapshot == covered(6) && plan.state.entries == entries(7...10))
        #expect(plan.state.hardState.lostEnd == nil && plan.state.hardState.commitIndex == LogIndex(8))
        #expect(plan.state.problem(appliedIndex: LogIndex(6)) == nil)
    }

    @Test func damagedEntriesThatWereNotAppliedAreCutOffAndOwed() {
        let plan = plan(entries(1...10, without: [2, 7]), applied: 4)
        #expect(
            plan.findings == [.coveredByState(LogIndex(2)), .cut(from: LogIndex(7), oldEnd: end)])
        #expect(plan.state.entries == entries(5...6) && plan.state.hardState.lostEnd == end)
        #expect(plan.state.hardState.commitIndex == LogIndex(6))
        #expect(plan.state.hardState.votedFor == NodeID(2))
        #expect(plan.state.problem(appliedIndex: LogIndex(4)) == nil)
        #expect(self.plan(entries(1...9), applied: 4).findings == [.cut(from: LogIndex(10), oldEnd: end)])
    }

    @Test func aDamagedStateIsBuiltAnewFromACompleteLogAndElseOwed() {
        let rebuilt = plan(entries(1...10), applied: nil)
        #expect(rebuilt.findings == [.stateRebuilt] && rebuilt.discardsState)
        #expect(rebuilt.state.entries.count == 10 && rebuilt.state.hardState.lostEnd == nil)
        let lost = plan(entries(5...10), snapshot: 4, applied: nil)
        #expect(lost.findings == [.stateLost(oldEnd: end)] && lost.discardsState)
        #expect(lost.state.entries.isEmpty && lost.state.snapshot == nil)
        #expect(lost.state.hardState.lostEnd == end && lost.state.hardState.term == Term(3))
        // An older copy of the state is no better than none.
        #expect(plan(entries(5...10), snapshot: 4, applied: 3).findings == [.stateLost(oldEnd: end)])
    }

    @Test func lostVotesMakeTheNodeStartOver() {
        for plan in [
            plan(entries(1...10), applied: 6, knowsVotes: false), plan(entries(1...10), applied: 11),
        ] {
            #expect(plan.findings == [.votesLost] && plan.discardsState)
            #expect(plan.state.hardState.rejoin == .demotion && plan.state.initialConfiguration.voters == [])
        }
    }

    // MARK: What a damaged node does

    /// Five entries committed by 1 and 2 while 3 is away; then 2's disk is damaged from `bad` on.
    private func damagedFollower(bad: UInt64) -> SimulatedCluster {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        cluster.partition([[NodeID(3)], [NodeID(1), NodeID(2)]])
        for number in 1...5 { cluster.propose(1, "\(number)") }
        cluster.stabilize()
        cluster.crash(NodeID(2), forgetting: 6)
        cluster.damage(NodeID(2), entries: Set((bad...6).map { LogIndex($0) }))
        cluster.start(NodeID(2))
        return cluster
    }

    @Test func theLeaderSendsAgainWhatItsFollowerHasLost() {
        let cluster = damagedFollower(bad: 3)
        #expect(cluster.consensus(2)?.isUnderRepair == true)
        #expect(cluster.consensus(2)?.lastIndex == LogIndex(2))
        cluster.tickAll(6)
        #expect(cluster.consensus(2)?.isUnderRepair == false)
        #expect(cluster.consensus(2)?.deliveredIndex == LogIndex(6))
        #expect(cluster.nodes[NodeID(2)]?.disk.hardState.lostEnd == nil)
        #expect(cluster.monitor.violations == [])
    }

    @Test func aDamagedNodeHelpsNobodyWhoLacksWhatItAcknowledged() {
        let cluster = damagedFollower(bad: 3)
        cluster.crash(NodeID(1))
        cluster.heal()
        cluster.tickAll(100)
        #expect(cluster.leaders.isEmpty)
        #expect(cluster.consensus(2)?.role.kind == .follower)
        // Once the node with the entries is back, all is well.
        cluster.start(NodeID(1))
        cluster.tickAll(100)
        #expect(cluster.consensus(2)?.isUnderRepair == false)
        #expect(cluster.consensus(3)?.deliveredIndex ?? .zero >= LogIndex(6))
        #expect(cluster.monitor.violations == [])
    }

    @Test func aDamagedNodeHelpsWhoeverHasWhatItAcknowledged() {
        let cluster = damagedFollower(bad: 3)
        cluster.crash(NodeID(1))
        cluster.heal()
        cluster.crash(NodeID(3))
        cluster.start(NodeID(1))
        cluster.tickAll(100)
        #expect(cluster.consensus(1)?.isLeader == true)
        #expect(cluster.consensus(2)?.isUnderRepair == false)
        #expect(cluster.monitor.violations == [])
    }

    @Test func nodesThatAreAllDamagedAtOneEntryElectNobody() {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        for number in 1...5 { cluster.propose(1, "\(number)") }
        cluster.stabilize()
        for id in cluster.ids { cluster.crash(id, forgetting: 6) }
        for id in cluster.ids {
            let end = LogPosition(index: LogIndex(6), term: Term(1))
            #expect(cluster.damage(id, entries: [LogIndex(4)]) == [.cut(from: LogIndex(4), oldEnd: end)])
            cluster.start(id)
        }
        cluster.tickAll(200)
        #expect(cluster.leaders.isEmpty && cluster.running.allSatisfy(\.isUnderRepair))
    }

    // MARK: A node without its votes

    private func forgetful() -> SimulatedCluster {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        cluster.propose(1, "before")
        cluster.stabilize()
        cluster.crash(NodeID(3))
        cluster.damage(NodeID(3), entries: [], losesVotes: true)
        cluster.nodes[NodeID(3)]?.initial = VoterConfiguration(voters: [])
        cluster.start(NodeID(3))
        return cluster
    }

    @Test func aNodeWithoutItsVotesSaysNothing() {
        let cluster = forgetful()
        cluster.tickAll(30)
        #expect(cluster.consensus(3)?.lastIndex == .zero)
        cluster.crash(NodeID(1))
        cluster.tickAll(100)
        #expect(cluster.leaders.isEmpty)
        #expect(cluster.consensus(3)?.term == .zero)
    }

    @Test func aNodeWithoutItsVotesVotesAgainOnceItWasDemotedAndPromoted() throws {
        let cluster = forgetful()
        let leader = try #require(cluster.consensus(1))
        let demoted = leader.configuration.addingLearner(NodeID(3))
        cluster.step(NodeID(1), .configurationProposed(demoted, token: 1))
        cluster.stabilize()
        let commit = try #require(cluster.consensus(1)?.commitIndex)
        #expect(commit == leader.lastIndex.next)
        cluster.step(NodeID(3), .demoted(by: NodeID(1), term: leader.term, index: commit))
        #expect(cluster.nodes[NodeID(3)]?.disk.hardState.votedFor == NodeID(1))
        cluster.tickAll(30)
        #expect(cluster.consensus(3)?.lastIndex == commit)
        #expect(cluster.consensus(3)?.rejoin == .promotion(after: commit))
        let promoted = demoted.addingVoter(NodeID(3))
        cluster.step(NodeID(1), .configurationProposed(promoted, token: 2))
        cluster.stabilize()
        #expect(cluster.consensus(3)?.isUnderRepair == false)
        #expect(cluster.nodes[NodeID(3)]?.disk.hardState.rejoin == nil)
        // Now it can replace a node again.
        cluster.crash(NodeID(1))
        cluster.tickAll(100)
        #expect(cluster.leaders.count == 1 && cluster.monitor.violations == [])
    }

    // MARK: A full disk

    @Test func aNodeWhoseDiskIsFullTakesNoEntriesAndDoesNotCampaign() {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        cluster.step(NodeID(3), .storageImpeded(true))
        cluster.propose(1, "one")
        cluster.tickAll(10)
        #expect(cluster.consensus(3)?.lastIndex == LogIndex(1))
        #expect(cluster.consensus(1)?.commitIndex == LogIndex(2))
        cluster.crash(NodeID(1))
        cluster.crash(NodeID(2))
        cluster.tickAll(100)
        #expect(cluster.consensus(3)?.role.kind == .follower)
        cluster.start(NodeID(1))
        cluster.tickAll(100)
        #expect(cluster.consensus(1)?.isLeader == true)
        cluster.step(NodeID(3), .storageImpeded(false))
        cluster.tickAll(30)
        #expect(cluster.consensus(3)?.lastIndex == cluster.consensus(1)?.lastIndex)
        #expect(cluster.monitor.violations == [])
    }
}
