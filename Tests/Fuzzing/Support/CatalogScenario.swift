import ClusterModel
import KeyCatalog

// One key store with a usable, a failed and a pending key: the values that seeds are made of.

enum CatalogScenario {
    static let endpoints = ["hsm-a", "hsm-b", "hsm-c"].map { EndpointName($0) }
    static let identifiers = (1...4).map { Identifier128(high: 0x4000, low: $0) }
    static let proof = KeyProof(keyCheckValue: "A1B2C3", probe: "00112233445566778899aabbccddeeff")
    static let transportKey = TransportPublicKey(modulus: [0xC1, 0, 1], publicExponent: [1, 0, 1])

    static func identity(_ operation: Int, term: UInt64 = 1, attempt: UInt16 = 1) -> KeyIdentity {
        KeyIdentity(operation: identifiers[operation], term: Term(term), attempt: attempt)
    }

    static func intent(_ operation: Int) -> KeyIntent {
        KeyIntent(
            operation: identifiers[operation], requestID: identifiers[operation], keyStore: nil,
            algorithm: .aes256, usage: .derive, comment: "key \(operation)", createdAt: 1_700_000_000,
            highestLabelSeen: 0, ambiguousLabel: nil)
    }

    /// Every command at least once.
    static let commands: [CatalogCommand] = preparation + generation + tidying

    private static let preparation: [CatalogCommand] =
        endpoints.map { .registerEndpoint($0) } + [
            .enrolEndpoint(
                endpoints[0], serialNumber: "1", tokenLabel: "hsm-a", transportKey: transportKey),
            .claimLogin(endpoints[0], node: NodeID(1)),
            .reportLogin(endpoints[0], node: NodeID(1), outcome: .accepted),
            .reportLogin(endpoints[2], node: NodeID(2), outcome: .rejected),
            .clearRejection(endpoints[2]),
            .setService(endpoints[0], isInService: true, reason: nil),
            .setService(endpoints[1], isInService: true, reason: nil),
            .setService(endpoints[2], isInService: false, reason: "unreachable"),
            .createKeyStore(
                name: "HSM", minimumReplicas: 2, repairSources: 1, createdAt: 1_700_000_000,
                requestID: identifiers[3]),
        ]

    private static let generation: [CatalogCommand] = [
        .beginKey(intent(0)),
        .beginAttempt(identifiers[0], endpoint: endpoints[0]),
        .recordGenerated(
            identifiers[0], identity: identity(0), endpoint: endpoints[0], proof: proof, at: 1),
        .recordReplica(
            identifiers[0], identity: identity(0), endpoint: endpoints[1], proof: proof,
            isExtractable: false, at: 2),
        .activateKey(identifiers[0], identity: identity(0), keyCheckValue: proof.keyCheckValue),
        .dropReplica(identifiers[0], endpoint: endpoints[1], problem: "missing"),
    ]

    private static let tidying: [CatalogCommand] = [
        .beginKey(intent(1)),
        .beginAttempt(identifiers[1], endpoint: endpoints[1]),
        .recordGenerated(
            identifiers[1], identity: identity(1), endpoint: endpoints[1], proof: proof, at: 3),
        .discardGenerated(identifiers[1], identity: identity(1)),
        .failKey(identifiers[1], reason: "no endpoint"),
        .reportOrphan(endpoint: endpoints[1], identity: identity(1), label: "CMS MK 4100"),
        .destroyOrphan(endpoint: endpoints[1], identity: identity(1)),
        .orphanDestroyed(endpoint: endpoints[1], identity: identity(1)),
        .beginKey(intent(2)),
        .registerNode(record(4)), .registerNode(record(5)), .forgetNode(NodeID(5)),
    ]

    static func record(_ node: UInt64) -> NodeRecord {
        NodeRecord(
            id: NodeID(node), peerAddress: "10.0.0.\(node):7101", apiAddress: "https://10.0.0.\(node):7201")
    }

    static let membership = Membership(
        voters: [NodeID(1), NodeID(2), NodeID(3)], learners: [NodeID(4)], index: LogIndex(1))

    /// The catalog after all commands.
    static var catalog: Catalog {
        var catalog = Catalog()
        var changes: [RowChange] = []
        for (position, command) in commands.enumerated() {
            let outcome = catalog.apply(
                command, term: Term(1), index: LogIndex(UInt64(position + 1)), changes: &changes)
            if case .refused(let refusal) = outcome { hold(false, "the scenario is refused: \(refusal)") }
        }
        catalog.apply(membership, changes: &changes)
        return catalog
    }
}
