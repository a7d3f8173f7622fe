// What the Raft paper and Ongaro's dissertation say, section by section.

import ClusterModel
import Testing

@testable import Raft

struct PaperTests {
    @Test func aNodeStartsAsFollower() {
        // Raft §5.2: "When servers start up, they begin as followers."
        #expect(SimulatedCluster(3).consensus(1)?.role == .follower(leader: nil))
    }

    @Test func threeNodesElectALeaderAndReplicate() {
        let cluster = SimulatedCluster(3)
        cluster.elect(NodeID(1))
        cluster.propose(1, "a")
        cluster.stabilize()
        #expect(cluster.consensus(1)?.isLeader == true)
        #expect(cluster.ids.allSatisfy { cluster.nodes[$0]?.applied == LogIndex(2) })
        #expect(cluster.monitor.violations == [])
    }

    @Test func aSingleNodeCommitsAlone() {
        let cluster = SimulatedCluster(1)
        cluster.step(NodeID(1), .tick)
        cluster.propose(1, "a")
        #expect(cluster.nodes[NodeID(1)]?.applied == LogIndex(2))
    }
}
