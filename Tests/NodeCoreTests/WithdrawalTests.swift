import ClusterModel
import KeyCatalog
import NodeCore
import Testing

// Endpoints that an operator drains, removes and enables while keys are made.

@Suite struct EndpointWithdrawalTests {
    private let a = EndpointName("hsm-a"), b = EndpointName("hsm-b"), c = EndpointName("hsm-c")

    private func ask(_ cluster: TestCluster, _ request: ClientRequest) -> ClientReply? {
        cluster.reply(cluster.ask(request, of: NodeID(2)), of: NodeID(2))
    }

    private func makeKey(_ number: UInt64, _ cluster: TestCluster) throws -> MasterKey {
        let reply = cluster.generate(number, of: NodeID(1))
        guard case .key(let key) = reply else { throw Unexpected(reply: reply) }
        return key
    }

    private struct Unexpected: Error { var reply: ClientReply? }

    private func catalog(_ cluster: TestCluster) -> Catalog? {
        cluster.leader.flatMap { cluster.nodes[$0]?.node.catalog }
    }

    @Test func aDrainedEndpointGetsNoNewKeysUntilItIsEnabled() throws {
        let cluster = TestCluster.ready()
        #expect(try makeKey(1, cluster).verifiedEndpoints == [a, b, c])
        #expect(ask(cluster, .drainEndpoint(c)) == .done)
        let second = try makeKey(2, cluster)
        #expect(second.verifiedEndpoints == [a, b])
        cluster.run(milliseconds: 15_000)
        #expect(catalog(cluster)?.endpointsInService == [a, b])
        #expect(catalog(cluster)?.keysInOrder.map(\.verifiedEndpoints) == [[a, b, c], [a, b]])
        #expect(ask(cluster, .enableEndpoint(c)) == .done)
        let isRepaired = cluster.run(until: {
            catalog(cluster)?.keysInOrder.map(\.verifiedEndpoints) == [[a, b, c], [a, b, c]]
        })
        #expect(isRepaired && catalog(cluster)?.endpointsInService == [a, b, c])
    }

    /// hsm-c alone is a source after hsm-a went away; it is drained, and still gives what hsm-b lacks.
    @Test func aDrainedEndpointGivesCopies() throws {
        let cluster = TestCluster.ready()
        let key = try makeKey(1, cluster)
        let sources = key.sources
        let other = try #require([a, b, c].first { !sources.contains($0) })
        #expect(ask(cluster, .drainEndpoint(sources[0])) == .done)
        cluster.take(sources[1], away: true)
        cluster.tokens[other]?.objects = [:]
        let wasMissed = cluster.run(until: {
            catalog(cluster)?.keysInOrder[0].verifiedEndpoints.contains(other) == false
        })
        let isBack = cluster.run(until: {
            catalog(cluster)?.keysInOrder[0].verifiedEndpoints.contains(other) == true
        })
        #expect(wasMissed && isBack)
    }

    @Test(arguments: [0, 3, 10, 40])
    func anEndpointIsRemovedAndComesBackWithEveryKeyThoughTheLeaderDies(moment: Int64) throws {
        let cluster = TestCluster.ready(seed: UInt64(moment) + 7)
        for number in 1...3 as ClosedRange<UInt64> { _ = try makeKey(number, cluster) }
        let leader = try #require(cluster.leader)
        let other = leader == NodeID(1) ? NodeID(2) : NodeID(1)
        let number = cluster.ask(.removeEndpoint(c, isForced: false), of: other)
        cluster.run(milliseconds: moment)
        cluster.crash(leader)
        #expect(cluster.reply(number, of: other) == .done)
        cluster.restart(leader)
        cluster.run(milliseconds: 15_000)
        #expect(catalog(cluster)?.presentEndpoints == [a, b])
        #expect(catalog(cluster)?.keysInOrder.allSatisfy { $0.verifiedEndpoints == [a, b] } == true)
        // Its two replicas are the minimum of each key.
        guard case .refused(.catalog(.keysNeedEndpoint)) = ask(cluster, .removeEndpoint(b, isForced: false))
        else {
            Issue.record("a key was left below its minimum")
            return
        }
        cluster.tokens[c]?.objects = [:]
        #expect(ask(cluster, .enableEndpoint(c)) == .done)
        let isWhole = cluster.run(until: {
            catalog(cluster)?.keysInOrder.allSatisfy { $0.verifiedEndpoints == [a, b, c] } == true
        })
        #expect(isWhole && cluster.tokens[c]?.objects.count == 3)
        cluster.run(milliseconds: 500)
        #expect(cluster.catalogsAgree)
    }
}
