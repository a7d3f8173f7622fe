import ClusterModel
import NodeCore
import Testing

// Planned changes of leadership, asked of any node.

@Suite struct LeadershipTests {
    private let everyNode = [1, 2, 3].map { NodeID($0) }

    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func anyNodeMovesLeadershipToTheNodeThatIsNamed(asked: UInt64) throws {
        let cluster = TestCluster.ready(seed: asked)
        for target in everyNode {
            let number = cluster.ask(.transferLeadership(to: target), of: NodeID(asked))
            #expect(cluster.reply(number, of: NodeID(asked)) == .done)
            #expect(cluster.leader == target)
        }
        #expect(cluster.generate(1, of: NodeID(asked)) != nil)
    }

    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func withoutANameLeadershipMovesOnceAndQuickly(asked: UInt64) throws {
        let cluster = TestCluster.ready(seed: asked + 20)
        let before = try #require(cluster.leader)
        let term = try #require(cluster.nodes[before]?.node.raft.term)
        let start = cluster.now
        let number = cluster.ask(.transferLeadership(to: nil), of: NodeID(asked))
        #expect(cluster.reply(number, of: NodeID(asked)) == .done)
        #expect(cluster.now - start < 100)
        cluster.run(milliseconds: 3_000)
        let after = try #require(cluster.leader)
        #expect(after != before)
        #expect(cluster.nodes[after]?.node.raft.term == term.next)
    }

    @Test func aGenerationGoesOnUnderTheNextLeader() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let key = cluster.ask(.generateKey(generate), of: leader)
        cluster.run(milliseconds: 12)
        let transfer = cluster.ask(.transferLeadership(to: nil), of: leader)
        #expect(cluster.reply(transfer, of: leader) == .done)
        guard case .key(let made)? = cluster.reply(key, of: leader) else {
            Issue.record("no key")
            return
        }
        #expect(made.label == "CMS MK 4099" && made.state == .usable)
    }

    @Test func leadershipStaysWhenTheTargetDoesNotTakeIt() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let target = try #require(everyNode.first { $0 != leader })
        cluster.cut = [[leader, target]]
        let number = cluster.ask(.transferLeadership(to: target), of: leader)
        guard case .refused(.transferFailed(let to, _))? = cluster.reply(number, of: leader) else {
            Issue.record("no refusal")
            return
        }
        #expect(to == target)
        cluster.cut = []
        #expect(cluster.leader == leader)
        let request = ClientRequest.createKeyStore(
            name: "after", minimumReplicas: nil, requestID: .init(high: 9, low: 9))
        guard case .keyStore? = cluster.reply(cluster.ask(request, of: leader), of: leader) else {
            Issue.record("no key store")
            return
        }
    }

    @Test func impossibleTransfersAreRefusedAtOnce() throws {
        let cluster = TestCluster.ready()
        let unknown = cluster.ask(.transferLeadership(to: NodeID(9)), of: NodeID(1))
        #expect(cluster.reply(unknown, of: NodeID(1)) == .refused(.nodeUnknown(NodeID(9))))
        let alone = TestCluster.ready(nodes: 1)
        let number = alone.ask(.transferLeadership(to: nil), of: NodeID(1))
        guard case .refused(.transferFailed(nil, _))? = alone.reply(number, of: NodeID(1)) else {
            Issue.record("no refusal")
            return
        }
    }
}
