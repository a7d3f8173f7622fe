import ClusterModel
import KeyCatalog
import NodeCore
import Raft
import Testing

// Nodes that come and go while the cluster works.

@Suite struct MembershipTests {
    private static let founders = [1, 2, 3].map { NodeID($0) }
    private let four = NodeID(4)

    private func record(_ id: NodeID) -> NodeRecord {
        NodeRecord(id: id, peerAddress: "10.0.0.\(id):7100", apiAddress: "https://10.0.0.\(id):7200")
    }

    private static func compact(_ settings: inout NodeSettings) {
        settings.snapshotEntries = 20
        settings.raft.entriesKeptBehindSnapshot = 5
    }

    private func ask(_ cluster: TestCluster, _ request: ClientRequest, of id: NodeID) -> ClientReply? {
        cluster.reply(cluster.ask(request, of: id), of: id)
    }

    private func createStore(_ number: UInt64, _ cluster: TestCluster, through id: NodeID) {
        let request = ClientRequest.createKeyStore(
            name: "store \(number)", minimumReplicas: nil, requestID: .init(high: 2, low: number))
        guard case .keyStore? = ask(cluster, request, of: id) else {
            Issue.record("no key store through node \(id)")
            return
        }
    }

    private func expectAgreement(_ cluster: TestCluster, among ids: [NodeID]) {
        let agrees = cluster.run(until: {
            let nodes = ids.compactMap { cluster.nodes[$0]?.node }
            return nodes.allSatisfy { $0.catalog == nodes[0].catalog }
        })
        #expect(agrees)
        for id in ids { #expect(cluster.nodes[id]?.disk.violations == []) }
    }

    private func grown(seed: UInt64 = 1) -> TestCluster {
        let cluster = TestCluster.ready(seed: seed, adjust: Self.compact)
        for number in 100..<130 as Range<UInt64> { createStore(number, cluster, through: NodeID(1)) }
        cluster.join(four)
        #expect(ask(cluster, .addNode(record(four)), of: NodeID(1)) == .done)
        return cluster
    }

    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func aNodeJoinsLearnsAndVotes(asked: UInt64) throws {
        let cluster = grown(seed: asked)
        let leader = try #require(cluster.leader)
        #expect(cluster.nodes[leader]?.node.raft.configuration.learners == [four])
        expectAgreement(cluster, among: Self.founders + [four])
        #expect(cluster.nodes[four]?.disk.installations == 1)
        #expect(ask(cluster, .promoteNode(four), of: NodeID(asked)) == .done)
        #expect(cluster.nodes[leader]?.node.voters == Self.founders + [four])
        #expect(cluster.nodes[leader]?.node.catalog.nodes[four] == record(four))
        // Three of four are needed now.
        let down = try #require(Self.founders.first { $0 != leader })
        cluster.crash(down)
        createStore(200, cluster, through: four)
        cluster.restart(down)
        expectAgreement(cluster, among: Self.founders + [four])
        #expect(cluster.reply(cluster.ask(.transferLeadership(to: four), of: leader), of: leader) == .done)
        createStore(201, cluster, through: NodeID(1))
    }

    @Test func aNodeThatNobodyAddedDoesNothing() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let term = cluster.nodes[leader]?.node.raft.term
        cluster.join(four)
        cluster.run(milliseconds: 10_000)
        #expect(cluster.leader == leader && cluster.nodes[leader]?.node.raft.term == term)
        #expect(cluster.nodes[four]?.node.raft.term == .zero)
        #expect(cluster.nodes[four]?.node.isRemoved == false)
        #expect(ask(cluster, .readCatalog, of: four) == .refused(.noQuorum(reachable: 0, voters: 0)))
    }

    @Test func askingAgainForAChangeThatStandsChangesNothing() throws {
        let cluster = grown()
        let leader = try #require(cluster.leader)
        let index = cluster.nodes[leader]?.node.catalog.membership?.index
        #expect(ask(cluster, .addNode(record(four)), of: NodeID(2)) == .done)
        #expect(cluster.nodes[leader]?.node.catalog.membership?.index == index)
        for _ in 0..<2 { #expect(ask(cluster, .promoteNode(four), of: NodeID(2)) == .done) }
        for _ in 0..<2 { #expect(ask(cluster, .removeNode(four), of: NodeID(2)) == .done) }
        #expect(cluster.nodes[leader]?.node.catalog.nodes[four] == nil)
        #expect(cluster.nodes[leader]?.node.voters == Self.founders)
    }

    @Test func removingANodeThatNeverWasIsRefused() throws {
        let cluster = TestCluster.ready()
        let nine = NodeID(9)
        #expect(ask(cluster, .removeNode(nine), of: NodeID(1)) == .refused(.nodeUnknown(nine)))
        // A former member is remembered: asking again, also of a later leader, is no error.
        let leader = try #require(cluster.leader)
        let gone = try #require(Self.founders.first { $0 != leader })
        let stays = try #require(Self.founders.first { $0 != leader && $0 != gone })
        #expect(ask(cluster, .removeNode(gone), of: leader) == .done)
        _ = ask(cluster, .transferLeadership(to: stays), of: leader)
        #expect(ask(cluster, .removeNode(gone), of: stays) == .done)
        #expect(ask(cluster, .removeNode(nine), of: stays) == .refused(.nodeUnknown(nine)))
        #expect(cluster.nodes[stays]?.node.catalog.membership?.former == [gone])
    }

    @Test func aDeadNodeIsReplaced() throws {
        let cluster = grown()
        let leader = try #require(cluster.leader)
        let dead = try #require(Self.founders.first { $0 != leader })
        cluster.crash(dead)
        #expect(ask(cluster, .promoteNode(four), of: leader) == .done)
        #expect(ask(cluster, .removeNode(dead), of: leader) == .done)
        let rest = Self.founders.filter { $0 != dead } + [four]
        #expect(cluster.nodes[leader]?.node.voters == rest)
        let another = try #require(rest.first { $0 != leader && $0 != four })
        cluster.crash(another)
        createStore(300, cluster, through: four)
        cluster.restart(another)
        expectAgreement(cluster, among: rest)
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func aRemovedNodeSaysSoAndNeverCampaigns(seed: UInt64) throws {
        let cluster = TestCluster.ready(seed: seed)
        let leader = try #require(cluster.leader)
        let gone = try #require(Self.founders.last { $0 != leader })
        #expect(ask(cluster, .removeNode(gone), of: gone) != nil)
        #expect(cluster.run(until: { cluster.nodes[gone]?.node.isRemoved == true }))
        let term = cluster.nodes[leader]?.node.raft.term
        cluster.run(milliseconds: 10_000)
        #expect(cluster.leader == leader && cluster.nodes[leader]?.node.raft.term == term)
        #expect(ask(cluster, .readCatalog, of: gone) == .refused(.nodeRemoved))
        createStore(1, cluster, through: leader)
        // It finds out again after a restart.
        cluster.crash(gone)
        cluster.restart(gone)
        cluster.run(milliseconds: 5_000)
        #expect(cluster.nodes[gone]?.node.isRemoved == true)
        #expect(cluster.leader == leader && cluster.nodes[leader]?.node.raft.term == term)
    }

    @Test func aNodeThatWasAwayWhenItWasRemovedLearnsItWhenItCampaigns() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let gone = try #require(Self.founders.last { $0 != leader })
        cluster.crash(gone)
        #expect(ask(cluster, .removeNode(gone), of: leader) == .done)
        cluster.restart(gone)
        #expect(cluster.run(until: { cluster.nodes[gone]?.node.isRemoved == true }, atMost: 5_000))
        #expect(cluster.leader == leader)
    }

    @Test func aNoticeFromAPeerThatLagsBehindIsNotBelieved() throws {
        let cluster = grown()
        #expect(ask(cluster, .promoteNode(four), of: NodeID(1)) == .done)
        expectAgreement(cluster, among: Self.founders + [four])
        let index = try #require(cluster.nodes[four]?.node.catalog.membership?.index)
        for number in [0, 1, index.rawValue] {
            cluster.post(.received(.removed(.init(index: LogIndex(number))), from: NodeID(1)), to: four)
        }
        cluster.run(milliseconds: 100)
        #expect(cluster.nodes[four]?.node.isRemoved == false)
        // Any number can be survived; nobody but a broken or hostile member sends this one.
        cluster.post(.received(.removed(.init(index: LogIndex(.max))), from: NodeID(1)), to: four)
        cluster.run(milliseconds: 100)
        #expect(cluster.leader != nil)
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func aLeaderThatIsRemovedHandsOver(seed: UInt64) throws {
        let cluster = TestCluster.ready(seed: seed)
        let leader = try #require(cluster.leader)
        let other = try #require(Self.founders.first { $0 != leader })
        let asked = seed.isMultiple(of: 2) ? leader : other
        #expect(ask(cluster, .removeNode(leader), of: asked) == .done)
        #expect(cluster.run(until: { cluster.leader != nil && cluster.leader != leader }))
        #expect(cluster.run(until: { cluster.nodes[leader]?.node.isRemoved == true }))
        createStore(1, cluster, through: other)
        cluster.run(milliseconds: 5_000)
        #expect(cluster.nodes[other]?.node.catalog.nodes[leader] == nil)
        #expect(cluster.nodes[leader]?.node.isLeader == false)
    }

    @Test func aRemovedNodeMayComeBack() throws {
        let cluster = grown()
        #expect(ask(cluster, .promoteNode(four), of: NodeID(1)) == .done)
        #expect(ask(cluster, .removeNode(four), of: NodeID(1)) == .done)
        #expect(cluster.run(until: { cluster.nodes[four]?.node.isRemoved == true }))
        #expect(ask(cluster, .addNode(record(four)), of: NodeID(1)) == .done)
        #expect(cluster.run(until: { cluster.nodes[four]?.node.isRemoved == false }))
        expectAgreement(cluster, among: Self.founders + [four])
    }

    @Test func changesThatWouldEndTheQuorumAreRefused() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let others = Self.founders.filter { $0 != leader }
        cluster.crash(others[0])
        cluster.run(milliseconds: 500)
        #expect(
            ask(cluster, .removeNode(others[1]), of: leader)
                == .refused(.quorumAtRisk(reachable: 1, voters: 2)))
        let alone = TestCluster.ready(nodes: 1)
        #expect(
            ask(alone, .removeNode(NodeID(1)), of: NodeID(1))
                == .refused(.quorumAtRisk(reachable: 0, voters: 0)))
    }

    @Test func aLearnerThatLagsOrIsAwayIsNotPromoted() throws {
        let cluster = grown()
        cluster.crash(four)
        cluster.run(milliseconds: 200)
        guard case .refused(.nodeLagging(four, _))? = ask(cluster, .promoteNode(four), of: NodeID(1)) else {
            Issue.record("no refusal")
            return
        }
        #expect(ask(cluster, .promoteNode(NodeID(9)), of: NodeID(1)) == .refused(.nodeUnknown(NodeID(9))))
    }

    @Test func oneChangeAtATime() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        cluster.join(four)
        cluster.join(NodeID(5))
        let first = cluster.ask(.addNode(record(four)), of: leader)
        let second = cluster.ask(.addNode(record(NodeID(5))), of: leader)
        #expect(cluster.reply(second, of: leader) == .refused(.membershipBusy(four)))
        #expect(cluster.reply(first, of: leader) == .done)
    }

    @Test func twoNodesCannotHaveOneAddress() throws {
        let cluster = grown()
        var other = record(four)
        other.id = NodeID(5)
        guard case .refused(.catalog(.outOfBounds))? = ask(cluster, .addNode(other), of: NodeID(1)) else {
            Issue.record("no refusal")
            return
        }
    }

    @Test(arguments: Array(stride(from: 0, to: 40, by: 2)))
    func aChangeSurvivesTheDeathOfTheLeaderAtAnyMoment(moment: Int) throws {
        let cluster = TestCluster.ready(seed: UInt64(moment) + 300, adjust: Self.compact)
        let leader = try #require(cluster.leader)
        let other = try #require(Self.founders.first { $0 != leader })
        cluster.join(four)
        let number = cluster.ask(.addNode(record(four)), of: other)
        cluster.run(milliseconds: Int64(moment))
        cluster.crash(leader)
        #expect(cluster.reply(number, of: other) == .done)
        #expect(cluster.run(until: { cluster.leader != nil }))
        let next = try #require(cluster.leader)
        #expect(cluster.nodes[next]?.node.raft.configuration.learners == [four])
        cluster.restart(leader)
        expectAgreement(cluster, among: Self.founders + [four])
    }

    @Test func theMembersAreTheSameAfterEveryoneRestarts() throws {
        let cluster = grown()
        #expect(ask(cluster, .promoteNode(four), of: NodeID(1)) == .done)
        for number in 200..<240 as Range<UInt64> { createStore(number, cluster, through: NodeID(2)) }
        expectAgreement(cluster, among: Self.founders + [four])
        for id in Self.founders + [four] { cluster.crash(id, powerCut: true) }
        for id in Self.founders + [four] { cluster.restart(id) }
        createStore(300, cluster, through: four)
        for id in Self.founders + [four] {
            #expect(cluster.nodes[id]?.node.voters == Self.founders + [four])
            #expect(cluster.nodes[id]?.node.peerRecords.contains { $0.id == four } == (id != four))
        }
    }
}
