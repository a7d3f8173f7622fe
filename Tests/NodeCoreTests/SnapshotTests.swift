import ClusterModel
import KeyCatalog
import NodeCore
import Raft
import Testing

// Bounded logs, followers that catch up by snapshot, and crashes at every step of it.

@Suite struct SnapshotTests {
    private static func compact(_ settings: inout NodeSettings) {
        settings.snapshotEntries = 20
        settings.snapshotChunkBytes = 300
        settings.raft.entriesKeptBehindSnapshot = 5
    }

    private let everyNode = [1, 2, 3].map { NodeID($0) }

    private func createStores(_ range: Range<UInt64>, _ cluster: TestCluster, through id: NodeID) {
        for number in range {
            let request = ClientRequest.createKeyStore(
                name: "store \(number)", minimumReplicas: nil, requestID: .init(high: 2, low: number))
            let reply = cluster.reply(cluster.ask(request, of: id), of: id)
            guard case .keyStore = reply else {
                Issue.record("\(String(describing: reply))")
                return
            }
        }
    }

    private func expectAgreement(_ cluster: TestCluster) {
        let agrees = cluster.run(until: {
            let nodes = cluster.nodes.values.map(\.node)
            return cluster.nodes.values.allSatisfy(\.isUp)
                && nodes.allSatisfy { $0.catalog == nodes[0].catalog }
        })
        #expect(agrees)
        #expect(cluster.catalogsAgree)
        for (id, model) in cluster.nodes { #expect(model.disk.violations == [], "node \(id)") }
    }

    /// A cluster in which a follower was away while the log moved past it.
    private func lagging(seed: UInt64 = 1) throws -> (cluster: TestCluster, leader: NodeID, away: NodeID) {
        let cluster = TestCluster.ready(seed: seed, adjust: Self.compact)
        let leader = try #require(cluster.leader)
        let away = try #require(everyNode.first { $0 != leader })
        cluster.crash(away)
        createStores(100..<145, cluster, through: leader)
        cluster.run(milliseconds: 100)
        #expect(cluster.leader == leader)
        return (cluster, leader, away)
    }

    @Test func logsStayBoundedInMemoryAndOnDisk() throws {
        let cluster = TestCluster.ready(adjust: Self.compact)
        createStores(100..<200, cluster, through: NodeID(1))
        cluster.run(milliseconds: 200)
        for id in everyNode {
            let model = try #require(cluster.nodes[id])
            #expect(model.disk.compactions >= 4)
            #expect(model.disk.log.count <= 45, "node \(id)")
            #expect(model.node.raft.entry(at: LogIndex(10)) == nil)
        }
        expectAgreement(cluster)
    }

    @Test func bytesCutTheLogToo() throws {
        let cluster = TestCluster.ready(adjust: {
            $0.snapshotEntries = 1_000_000
            $0.snapshotBytes = 2_000
        })
        createStores(100..<130, cluster, through: NodeID(1))
        #expect(try #require(cluster.nodes[NodeID(1)]).disk.compactions >= 2)
    }

    @Test(arguments: [false, true])
    func aCompactedClusterRestartsWithEverything(powerCut: Bool) throws {
        let cluster = TestCluster.ready(adjust: Self.compact)
        createStores(100..<150, cluster, through: NodeID(1))
        for id in everyNode { cluster.crash(id, powerCut: powerCut) }
        for id in everyNode { cluster.restart(id) }
        createStores(150..<151, cluster, through: NodeID(2))
        expectAgreement(cluster)
        #expect(cluster.nodes[NodeID(3)]?.node.catalog.keyStores.count == 52)
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func aFollowerThatLagsBehindGetsASnapshotInChunks(seed: UInt64) throws {
        let (cluster, leader, away) = try lagging(seed: seed)
        var chunks = 0
        cluster.loses = { envelope in
            if case .snapshotChunk = envelope.message { chunks += 1 }
            return false
        }
        cluster.restart(away)
        expectAgreement(cluster)
        #expect(chunks > 5)
        #expect(cluster.nodes[away]?.disk.installations == 1)
        #expect(cluster.leader == leader)
        createStores(200..<201, cluster, through: away)
        expectAgreement(cluster)
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func lostChunksAndAnswersAreSentAgain(seed: UInt64) throws {
        let (cluster, _, away) = try lagging(seed: seed)
        var dice = SeededGenerator(seed: seed)
        cluster.loses = { envelope in
            switch envelope.message {
            case .snapshotChunk, .snapshotAnswer: Int.random(in: 0..<3, using: &dice) == 0
            default: false
            }
        }
        cluster.restart(away)
        expectAgreement(cluster)
        #expect(cluster.nodes[away]?.disk.installations == 1)
    }

    @Test func aTransferGoesOnWhereABrokenLinkStoppedIt() throws {
        let (cluster, leader, away) = try lagging()
        var numbers: [UInt64] = []
        cluster.loses = { envelope in
            guard case .snapshotChunk(let chunk) = envelope.message else { return false }
            numbers.append(chunk.number)
            return false
        }
        cluster.restart(away)
        cluster.run { numbers.count >= 4 }
        cluster.cut = [[leader, away], [away, leader]]
        cluster.run(milliseconds: 150)
        cluster.cut = []
        expectAgreement(cluster)
        #expect(numbers.filter { $0 == 0 }.count == 1)
        #expect(cluster.nodes[away]?.disk.installations == 1)
    }

    @Test func aTransferThatNobodyAnswersIsGivenUpAndTriedAgain() throws {
        let (cluster, leader, away) = try lagging()
        cluster.loses = { envelope in
            if case .snapshotChunk = envelope.message { return true }
            return false
        }
        cluster.restart(away)
        cluster.run(milliseconds: 15_000)
        let stuck = cluster.nodes[leader]?.notices.filter { $0.text.contains("got stuck") } ?? []
        #expect(!stuck.isEmpty)
        cluster.loses = nil
        expectAgreement(cluster)
    }

    @Test(arguments: Array(stride(from: 0, to: 60, by: 3)))
    func anotherLeaderFinishesATransferThatItsPredecessorBegan(moment: Int) throws {
        let (cluster, leader, away) = try lagging(seed: UInt64(moment) + 10)
        cluster.restart(away)
        cluster.run(milliseconds: 100 + Int64(moment))
        cluster.crash(leader)
        // The follower that lags and the third node are a majority only together.
        createStores(200..<203, cluster, through: away)
        cluster.restart(leader)
        expectAgreement(cluster)
        #expect(cluster.nodes[away]?.node.catalog.keyStores.count == 49)
    }

    @Test(arguments: Array(stride(from: 0, to: 70, by: 2)) + [1, 31, 33, 35])
    func aFollowerThatCrashesAtAnyStepOfAnInstallationLosesNothing(step: Int) throws {
        let (cluster, _, away) = try lagging(seed: UInt64(step % 7) + 50)
        var isArriving = false
        cluster.loses = { envelope in
            if case .snapshotChunk(let chunk) = envelope.message, chunk.isLast || step < 30 {
                isArriving = true
            }
            return false
        }
        cluster.restart(away)
        cluster.run(until: { isArriving }, atMost: 5_000)
        cluster.run(milliseconds: Int64(step % 30))
        cluster.crash(away, powerCut: step.isMultiple(of: 2))
        cluster.run(milliseconds: 50)
        cluster.restart(away)
        expectAgreement(cluster)
        createStores(200..<202, cluster, through: away)
        expectAgreement(cluster)
    }

    @Test func anInstallationThatReachedOnlyTheCatalogIsFinishedAtTheNextStart() throws {
        let (cluster, _, away) = try lagging()
        cluster.nodes[away]?.disk.holdsInstallations = true
        cluster.restart(away)
        cluster.run { cluster.nodes[away]?.disk.catalog.installed != nil }
        let disk = try #require(cluster.nodes[away]?.disk)
        try #require(disk.catalog.installed != nil && disk.installations == 0)
        cluster.crash(away)
        cluster.nodes[away]?.disk.holdsInstallations = false
        cluster.restart(away)
        #expect(cluster.nodes[away]?.disk.installations == 1)
        #expect(cluster.nodes[away]?.disk.snapshot == disk.catalog.installed)
        expectAgreement(cluster)
    }

    @Test func aLeaderDoesNotWaitForASlowInstallation() throws {
        let (cluster, leader, away) = try lagging()
        cluster.restart(away)
        cluster.run {
            if case .replace? = cluster.nodes[away]?.disk.catalogJobs.first {
                cluster.nodes[away]?.disk.isHeld = true
                return true
            }
            return false
        }
        createStores(200..<260, cluster, through: leader)
        cluster.run(milliseconds: 5_000)
        #expect(cluster.leader == leader)
        cluster.nodes[away]?.disk.isHeld = false
        expectAgreement(cluster)
    }

    @Test func aPINThatWasCorrectedWhileTheNodeWasAwayIsTriedByItToo() throws {
        let cluster = TestCluster(acceptsPIN: false, adjust: Self.compact)
        cluster.run(milliseconds: 10_000)
        let leader = try #require(cluster.leader)
        let away = try #require(everyNode.first { $0 != leader })
        // Every node has been told by the operator's first attempt and has seen its own PIN rejected.
        let rejected = TestCluster.endpointNames.filter { cluster.nodes[away]?.pins[$0] == .rejected }
        for id in everyNode { cluster.cut.formUnion([[id, away], [away, id]]) }
        for name in TestCluster.endpointNames {
            cluster.tokens[name]?.acceptsPIN = true
            #expect(cluster.reply(cluster.ask(.retryLogin(name), of: leader), of: leader) == .done)
        }
        createStores(100..<150, cluster, through: leader)
        cluster.cut = []
        expectAgreement(cluster)
        #expect(cluster.nodes[away]?.disk.installations == 1)
        let loggedIn = cluster.run(until: {
            rejected.allSatisfy { cluster.nodes[away]?.node.isReady($0) == true }
        })
        #expect(loggedIn)
    }

    @Test func chunksFromAnybodyButTheLeaderAreIgnored() throws {
        let cluster = TestCluster.ready(adjust: Self.compact)
        let leader = try #require(cluster.leader)
        let others = everyNode.filter { $0 != leader }
        let node = try #require(cluster.nodes[others[0]]?.node)
        let metadata = SnapshotMetadata(
            lastIndex: LogIndex(900), lastTerm: node.raft.term, configuration: node.raft.configuration)
        let bytes = try PeerMessage.snapshotChunk(
            SnapshotChunk(
                term: node.raft.term, transfer: 1, metadata: metadata, number: 0, isLast: true, rows: [])
        ).encoded()
        let chunk = try #require(try PeerMessage.decode(kind: bytes.kind, payload: bytes.payload))
        cluster.post(.received(chunk, from: others[1]), to: others[0])
        cluster.run(milliseconds: 200)
        #expect(cluster.nodes[others[0]]?.disk.installations == 0)
        expectAgreement(cluster)
    }

    @Test func aSnapshotBeyondTheLimitIsRefused() throws {
        let (cluster, leader, away) = try lagging()
        cluster.adjust = {
            Self.compact(&$0)
            $0.snapshotLimit = 1_000
        }
        cluster.restart(away)
        cluster.run(milliseconds: 2_000)
        #expect(cluster.nodes[away]?.disk.installations == 0)
        let refused = cluster.nodes[leader]?.notices.filter { $0.text.contains("refused a snapshot") } ?? []
        #expect(!refused.isEmpty)
    }
}
