import ClusterModel
import KeyCatalog
import NodeCore
import Testing

// Bugs that the cluster simulator found, each as the shortest scenario that shows it.

@Suite struct FoundBySimulation {
    let a = EndpointName("hsm-a"), b = EndpointName("hsm-b"), c = EndpointName("hsm-c")

    /// While the second attempt stood, the first one's object was an orphan whose destruction could be under
    /// way; once the second was discarded, the first could be used again.
    @Test func whatWasOnceAnOrphanIsNeverUsed() throws {
        var catalog = Catalog()
        var index = LogIndex.zero
        func apply(_ command: CatalogCommand) -> CatalogOutcome {
            index = index.next
            var changes: [RowChange] = []
            return catalog.apply(command, term: Term(1), index: index, changes: &changes)
        }
        let operation = OperationID(high: 0, low: 1)
        let proof = KeyProof(keyCheckValue: "A1B2C3", probe: "00")
        for name in [a, b] { _ = apply(.registerEndpoint(name)) }
        _ = apply(
            .createKeyStore(
                name: "store", minimumReplicas: 1, repairSources: 1, createdAt: 0,
                requestID: .init(high: 1, low: 1)))
        _ = apply(
            .beginKey(
                KeyIntent(
                    operation: operation, requestID: .init(high: 1, low: 2), keyStore: nil,
                    algorithm: .aes256, usage: .derive, comment: "", createdAt: 0, highestLabelSeen: 0,
                    ambiguousLabel: nil)))
        for name in [a, b] { _ = apply(.beginAttempt(operation, endpoint: name)) }
        let attempts = try #require(catalog.keys[operation]).attempts.map(\.identity)
        _ = apply(.recordGenerated(operation, identity: attempts[1], endpoint: b, proof: proof, at: 0))
        #expect(catalog.isOrphan(attempts[0]))
        _ = apply(.reportOrphan(endpoint: a, identity: attempts[0], label: "CMS MK 4099"))
        _ = apply(.discardGenerated(operation, identity: attempts[1]))
        #expect(catalog.isOrphan(attempts[0]) && catalog.isOrphan(attempts[1]))
        let late = apply(
            .recordGenerated(operation, identity: attempts[0], endpoint: a, proof: proof, at: 0))
        #expect(late == .refused(.operationUnknown(operation)))
        #expect(apply(.destroyOrphan(endpoint: a, identity: attempts[0])) == .done)
    }

    /// An import that took effect late took CKA_EXTRACTABLE from a replica that the catalog went on to call a
    /// source; every further copy failed on it for ever.
    @Test func aSourceThatWasRestrictedBehindTheCatalogsBackIsLeftForAnother() throws {
        let cluster = TestCluster.ready()
        cluster.take(c, away: true)
        guard case .key(let made) = cluster.generate(1, of: NodeID(1)) else {
            Issue.record("no key was made")
            return
        }
        let identity = try #require(made.generated).identity.bytes
        cluster.tokens[a]?.objects[identity]?.specification.isExtractable = false
        cluster.take(c, away: false)
        let leader = try #require(cluster.leader)
        func key() -> MasterKey? { cluster.nodes[leader]?.node.catalog.keysInOrder.first }
        #expect(cluster.run(until: { key()?.verifiedEndpoints == [a, b, c] }))
        #expect(cluster.run(until: { key()?.replicas[a]?.isExtractable == false }))
        #expect(key()?.replicas[a]?.isVerified == true)
    }

    /// Tokens that showed objects late made the reconciler drop every replica that could be copied from; the
    /// key was never repaired, although all its objects were there.
    @Test func replicasThatComeBackIntoSightAreAdoptedWhenNoSourceIsLeft() throws {
        let cluster = TestCluster.ready()
        guard case .key(let made) = cluster.generate(1, of: NodeID(1)) else {
            Issue.record("no key was made")
            return
        }
        let identity = try #require(made.generated).identity.bytes
        let names = [a, b, c]
        let hidden = names.map { cluster.tokens[$0]?.objects[identity] }
        for name in names { cluster.tokens[name]?.objects[identity] = nil }
        let leader = try #require(cluster.leader)
        func key() -> MasterKey? { cluster.nodes[leader]?.node.catalog.keysInOrder.first }
        #expect(cluster.run(until: { key()?.verifiedEndpoints == [] }))
        for (name, object) in zip(names, hidden) { cluster.tokens[name]?.objects[identity] = object }
        #expect(cluster.run(until: { key()?.verifiedEndpoints == names }))
        #expect(key()?.state == .usable && key()?.generated == made.generated)
    }

    /// Nodes number requests from 1 in every life, and took a leader's late answer to the one of an earlier
    /// life for the answer to the one of this life.
    @Test func anAnswerToAnEarlierLifeIsNotTakenForThisOne() throws {
        let cluster = TestCluster.ready()
        let follower = try #require([1, 2].map { NodeID($0) }.first { $0 != cluster.leader })
        func ask(_ number: UInt64) {
            let generate = ClientRequest.GenerateKey(
                requestID: .init(high: 5, low: number), keyStore: nil, algorithm: .aes256, comment: "")
            cluster.post(
                .request(
                    .generateKey(generate), id: ClientRequestID(9_000),
                    freshIdentifier: .init(high: 78, low: number)), to: follower)
        }
        for name in [a, b, c] { cluster.tokens[name]?.hanging = ["generate"] }
        ask(1)
        cluster.run(milliseconds: 200)
        cluster.crash(follower)
        cluster.run(milliseconds: 50)
        cluster.restart(follower)
        cluster.run(milliseconds: 500)
        ask(2)
        cluster.run(milliseconds: 200)
        for name in [a, b, c] { cluster.tokens[name]?.hanging = [] }
        guard case .key(let made) = cluster.reply(9_000, of: follower) else {
            Issue.record("no key was made")
            return
        }
        #expect(made.requestID == .init(high: 5, low: 2))
    }
}
