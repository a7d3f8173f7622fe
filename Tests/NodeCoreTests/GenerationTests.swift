import ClusterModel
import KeyCatalog
import NodeCore
import Testing

private func key(_ reply: ClientReply?) throws -> MasterKey {
    guard case .key(let key) = reply else { throw UnexpectedReply(reply: reply) }
    return key
}

private struct UnexpectedReply: Error { var reply: ClientReply? }

@Suite struct GenerationTests {
    let a = EndpointName("hsm-a"), b = EndpointName("hsm-b"), c = EndpointName("hsm-c")

    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func anyNodeGeneratesAKeyThatStandsOnAllEndpoints(node: UInt64) throws {
        let cluster = TestCluster.ready(seed: node)
        let made = try key(cluster.generate(1, of: NodeID(node)))
        #expect(made.label == "CMS MK 4099" && made.state == .usable)
        #expect(made.verifiedEndpoints == [a, b, c])
        #expect(made.replicas.values.filter(\.isExtractable).count == 2)
        let secrets = Set(cluster.tokens.values.flatMap { $0.objects.values.map(\.secret) })
        #expect(secrets.count == 1)
        cluster.run(milliseconds: 500)
        #expect(cluster.catalogsAgree)
    }

    @Test func aSingleNodeIsAClusterToo() throws {
        let cluster = TestCluster.ready(nodes: 1)
        #expect(try key(cluster.generate(1, of: NodeID(1))).label == "CMS MK 4099")
        #expect(try key(cluster.generate(2, of: NodeID(1))).label == "CMS MK 4100")
    }

    @Test func theSameRequestReturnsTheSameKeyThroughAnyNode() throws {
        let cluster = TestCluster.ready()
        let first = try key(cluster.generate(1, of: NodeID(1)))
        let again = try key(cluster.generate(1, of: NodeID(2)))
        #expect(first.operation == again.operation && again.label == "CMS MK 4099")
        let conflict = cluster.generate(1, algorithm: .aes128, of: NodeID(3))
        #expect(conflict == .refused(.catalog(.requestConflict(.init(high: 5, low: 1)))))
        #expect(try key(cluster.generate(2, of: NodeID(3))).label == "CMS MK 4100")
    }

    @Test(arguments: Array(stride(from: 0, to: 48, by: 4)))
    func aLeaderThatDiesAtAnyMomentLosesNoRequestAndNoNumber(moment: Int) throws {
        let cluster = TestCluster.ready(seed: UInt64(moment) + 100)
        let leader = try #require(cluster.leader)
        let other = leader == NodeID(1) ? NodeID(2) : NodeID(1)
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let number = cluster.ask(.generateKey(generate), of: other)
        cluster.run(milliseconds: Int64(moment))
        cluster.crash(leader)
        let made = try key(cluster.reply(number, of: other))
        #expect(made.label == "CMS MK 4099" && made.verifiedEndpoints.count >= 2)
        #expect(try key(cluster.generate(2, of: other)).label == "CMS MK 4100")
        cluster.restart(leader)
        cluster.run(milliseconds: 15_000)
        #expect(cluster.catalogsAgree)
        // Whatever the dead leader left behind has been found and removed: one object a key and endpoint.
        for token in cluster.tokens.values { #expect(token.objects.count == 2) }
    }

    @Test func anEndpointThatHangsWhileGeneratingIsLeftOutAndItsLateObjectIsDestroyed() throws {
        let cluster = TestCluster.ready()
        for name in [a, b, c] {
            cluster.tokens[name]?.hanging = ["generate"]
        }
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let number = cluster.ask(.generateKey(generate), of: NodeID(1))
        cluster.run(milliseconds: 3_000)
        for name in [a, b, c] { cluster.tokens[name]?.hanging = [] }
        // The answer was lost but the key was made: the next look adopts it instead of making a second one.
        let made = try key(cluster.reply(number, of: NodeID(1)))
        #expect(made.attempts.count == 1)
        #expect(made.verifiedEndpoints == [a, b, c])
    }

    @Test func anAttemptWithoutEffectIsMadeAnewElsewhere() throws {
        let cluster = TestCluster.ready()
        for name in [a, b, c] {
            cluster.tokens[name]?.hanging = ["generate"]
            cluster.tokens[name]?.effectHappens = false
        }
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let number = cluster.ask(.generateKey(generate), of: NodeID(1))
        cluster.run(milliseconds: 3_000)
        for name in [a, b, c] { cluster.tokens[name]?.hanging = [] }
        let made = try key(cluster.reply(number, of: NodeID(1)))
        #expect(made.attempts.count == 2)
        #expect(Set(made.attempts.map(\.endpoint)).count == 2)
        #expect(made.label == "CMS MK 4099")
    }

    @Test(arguments: Array(stride(from: 0, to: 20, by: 3)))
    func anOriginThatGoesAwayBeforeItIsCopiedIsReplaced(moment: Int) throws {
        let cluster = TestCluster.ready(seed: UInt64(moment) + 200)
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let number = cluster.ask(.generateKey(generate), of: NodeID(1))
        let leader = try #require(cluster.leader)
        cluster.run { cluster.nodes[leader]?.node.catalog.pendingKeys.first?.attempts.isEmpty == false }
        let origin = try #require(
            cluster.nodes[leader]?.node.catalog.pendingKeys.first?.attempts.first?.endpoint)
        cluster.run(milliseconds: Int64(moment) * 2)
        cluster.take(origin, away: true)
        let made = try key(cluster.reply(number, of: NodeID(1)))
        #expect(made.label == "CMS MK 4099" && made.verifiedEndpoints.count >= 2)
        cluster.take(origin, away: false)
        cluster.run(milliseconds: 25_000)
        for (name, token) in cluster.tokens { #expect(token.objects.count == 1, "\(name)") }
        let key = try #require(cluster.nodes[leader]?.node.catalog.keysInOrder.first)
        #expect(key.verifiedEndpoints == [a, b, c])
    }

    @Test func belowTheMinimumNothingBecomesUsableAndTheNumberIsUsedUp() throws {
        let cluster = TestCluster.ready()
        for name in [a, b, c] { cluster.tokens[name]?.hanging = ["import"] }
        let reply = cluster.generate(1, of: NodeID(1))
        guard case .refused(.generationFailed(let label, let reason)) = reply else {
            Issue.record("\(String(describing: reply))")
            return
        }
        #expect(label == "CMS MK 4099" && reason.contains("1 of 2"))
        for name in [a, b, c] { cluster.tokens[name]?.hanging = [] }
        #expect(try key(cluster.generate(2, of: NodeID(1))).label == "CMS MK 4100")
        cluster.run(milliseconds: 15_000)
        for token in cluster.tokens.values { #expect(token.objects.count == 1) }
    }

    @Test func anEndpointThatIsAwayIsRepairedWhenItReturns() throws {
        let cluster = TestCluster.ready()
        cluster.take(c, away: true)
        let made = try key(cluster.generate(1, of: NodeID(2)))
        #expect(made.verifiedEndpoints == [a, b])
        cluster.run(milliseconds: 5_000)
        let leader = try #require(cluster.leader)
        #expect(cluster.nodes[leader]?.node.catalog.endpointsInService == [a, b])
        cluster.take(c, away: false)
        let isRepaired = cluster.run(until: {
            cluster.nodes[leader]?.node.catalog.keysInOrder.first?.verifiedEndpoints == [a, b, c]
        })
        #expect(isRepaired)
    }

    @Test func aReplicaThatVanishesIsNoticedAndRepaired() throws {
        let cluster = TestCluster.ready()
        _ = try key(cluster.generate(1, of: NodeID(1)))
        cluster.tokens[b]?.objects = [:]
        #expect(cluster.run(until: { cluster.tokens[self.b]?.objects.count == 1 }))
        cluster.run(milliseconds: 1_000)
        #expect(cluster.nodes[NodeID(1)]?.node.catalog.keysInOrder.first?.verifiedEndpoints == [a, b, c])
    }

    @Test func numbersContinueAfterKeysThatAlreadyStandOnAToken() throws {
        let cluster = TestCluster.ready()
        cluster.tokens[b]?.foreignLabels = ["CMS MK 4105", "CMS MK 00", "something else"]
        #expect(try key(cluster.generate(1, of: NodeID(1))).label == "CMS MK 4106")
    }

    @Test func aHexadecimalLabelBlocksAllocation() throws {
        let cluster = TestCluster.ready()
        cluster.tokens[b]?.foreignLabels = ["CMS MK 409A"]
        #expect(
            cluster.generate(1, of: NodeID(1)) == .refused(.catalog(.labelAmbiguous("CMS MK 409A on hsm-b"))))
    }

    @Test func withoutAQuorumAGenerateIsRefusedAtOnceAndStatusStillAnswers() throws {
        let cluster = TestCluster.ready()
        _ = try key(cluster.generate(1, of: NodeID(1)))
        cluster.crash(NodeID(2))
        cluster.crash(NodeID(3))
        cluster.run(milliseconds: 2_000)
        let before = cluster.now
        let reply = cluster.generate(2, of: NodeID(1))
        #expect(reply == .refused(.noQuorum(reachable: 1, voters: 3)))
        #expect(cluster.now - before < 100)
        #expect(cluster.nodes[NodeID(1)]?.node.catalog.keysInOrder.count == 1)
    }

    @Test func everythingIsStillThereAfterAllNodesRestart() throws {
        let cluster = TestCluster.ready()
        let made = try key(cluster.generate(1, of: NodeID(1)))
        for id in 1...3 { cluster.crash(NodeID(UInt64(id))) }
        cluster.run(milliseconds: 100)
        for id in 1...3 { cluster.restart(NodeID(UInt64(id))) }
        let again = try key(cluster.generate(1, of: NodeID(3)))
        #expect(again.operation == made.operation)
        #expect(try key(cluster.generate(2, of: NodeID(3))).label == "CMS MK 4100")
    }

    @Test func aDeposedLeadersLateCallMakesAnOrphanThatIsReportedAndDestroyed() throws {
        let cluster = TestCluster.ready()
        let leader = try #require(cluster.leader)
        let others = [1, 2, 3].map { NodeID($0) }.filter { $0 != leader }
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: 1), keyStore: nil, algorithm: .aes256, comment: "")
        let number = cluster.ask(.generateKey(generate), of: others[0])
        cluster.run { cluster.nodes[others[0]]?.node.catalog.pendingKeys.first?.attempts.isEmpty == false }
        let attempt = try #require(cluster.nodes[others[0]]?.node.catalog.pendingKeys.first?.attempts.first)
        // The call of the first attempt takes effect only long after the leader is gone and a key was activated.
        cluster.tokens[attempt.endpoint]?.objects[attempt.identity.bytes] = nil
        cluster.crash(leader)
        cluster.tokens[attempt.endpoint]?.objects[attempt.identity.bytes] = nil
        let made = try key(cluster.reply(number, of: others[0]))
        if made.generated?.identity != attempt.identity {
            let late = KeySpecification(
                identity: attempt.identity.bytes, label: made.label, algorithm: .aes256, usage: .derive,
                isExtractable: true)
            cluster.tokens[attempt.endpoint]?.objects[attempt.identity.bytes] = .init(
                specification: late, secret: 9)
            #expect(cluster.run(until: { cluster.tokens[attempt.endpoint]?.objects.count == 1 }))
            let rowKey = Orphan.rowKey(attempt.endpoint, attempt.identity)
            cluster.run(milliseconds: 1_000)
            #expect(cluster.nodes[others[0]]?.node.catalog.orphans[rowKey]?.state == .destroyed)
        }
    }
}

@Suite struct LoginTests {
    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func aWrongPINIsTriedOnceByTheWholeClusterAndNeverAgain(seed: UInt64) {
        let cluster = TestCluster(seed: seed, acceptsPIN: false)
        cluster.run(milliseconds: 30_000)
        for (name, token) in cluster.tokens { #expect(token.loginAttempts == 1, "\(name)") }
        for id in 1...3 { cluster.crash(NodeID(UInt64(id))) }
        for id in 1...3 { cluster.restart(NodeID(UInt64(id))) }
        cluster.run(milliseconds: 30_000)
        for (name, token) in cluster.tokens { #expect(token.loginAttempts == 1, "\(name)") }
        #expect(cluster.leader.flatMap { cluster.nodes[$0]?.node.catalog.endpointsInService } == [])
    }

    @Test func afterAnOperatorCorrectedThePINEveryNodeLogsIn() {
        let cluster = TestCluster(acceptsPIN: false)
        cluster.run(milliseconds: 10_000)
        for name in TestCluster.endpointNames {
            cluster.tokens[name]?.acceptsPIN = true
            #expect(cluster.reply(cluster.ask(.retryLogin(name), of: NodeID(2)), of: NodeID(2)) == .done)
        }
        let allIn = cluster.run(until: {
            cluster.nodes.values.allSatisfy { model in
                TestCluster.endpointNames.allSatisfy { model.node.isReady($0) }
            }
        })
        #expect(allIn)
        cluster.run(milliseconds: 2_000)
        #expect(cluster.leader.flatMap { cluster.nodes[$0]?.node.catalog.endpointsInService.count } == 3)
    }
}
