import ClusterModel
import KeyCatalog
import Raft
import Testing

@testable import NodeCore

// A node that has lost its votes comes back by itself, and gives no vote before it may.

@Suite struct RejoinTests {
    private func forget(_ id: NodeID, _ cluster: TestCluster) {
        cluster.crash(id)
        var disk = ModelDisk()
        disk.hardState = RecoveryPlan.startingOver().state.hardState
        cluster.nodes[id]?.disk = disk
        cluster.forgetful.insert(id)
        cluster.restart(id)
    }

    private func isVoter(_ id: NodeID, in cluster: TestCluster) -> Bool {
        guard let leader = cluster.leader, let node = cluster.nodes[leader]?.node else { return false }
        return node.raft.configuration.isVoter(id) && node.raft.commitIndex == node.raft.lastIndex
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func nodeWithoutItsVotesIsDemotedRepairedAndPromoted(seed: UInt64) throws {
        let cluster = TestCluster.ready(seed: seed)
        _ = cluster.generate(1, of: NodeID(1))
        let leader = try #require(cluster.leader)
        let victim = NodeID(leader.rawValue % 3 + 1)
        forget(victim, cluster)
        let isBack = cluster.run(until: {
            cluster.nodes[victim]?.node.raft.isUnderRepair == false && self.isVoter(victim, in: cluster)
        })
        #expect(isBack)
        #expect(cluster.nodes[victim]?.node.catalog.keys.count == 1)
        // It can stand in for another node again.
        cluster.crash(leader)
        guard case .key? = cluster.generate(2, of: victim) else {
            Issue.record("no key without node \(leader)")
            return
        }
        #expect(cluster.catalogsAgree)
    }

    @Test func nodeWithoutItsVotesElectsNobody() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let victim = NodeID(leader.rawValue % 3 + 1)
        let third = NodeID(6 - leader.rawValue - victim.rawValue)
        cluster.crash(third)
        forget(victim, cluster)
        // The two that are left are no majority of voters that know what they promised.
        cluster.run(milliseconds: 5_000)
        #expect(cluster.leader == nil)
        #expect(cluster.nodes[victim]?.node.raft.term == .zero)
        cluster.restart(third)
        #expect(cluster.run(until: { self.isVoter(victim, in: cluster) }))
        #expect(cluster.run(until: { cluster.nodes[victim]?.node.raft.rejoin == nil }))
    }

    @Test func questionsAndAnswersCrossTheWire() throws {
        for message: RejoinMessage in [
            .votesLost(life: 7), .demoted(life: 7, term: Term(3), index: LogIndex(9)), .wantsPromotion,
        ] {
            let (kind, payload) = try PeerMessage.rejoin(message).encoded()
            #expect(try PeerMessage.decode(kind: kind, payload: payload) == .rejoin(message))
        }
    }
}
