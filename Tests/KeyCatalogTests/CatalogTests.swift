import ClusterModel
import KeyCatalog
import Testing

/// A catalog with its log position, so that tests read as a list of commands.
struct Ledger {
    var catalog = Catalog()
    var index = LogIndex.zero
    var term = Term(1)
    var rows: [String: RowChange] = [:]

    @discardableResult
    mutating func apply(_ command: CatalogCommand) -> CatalogOutcome {
        index = index.next
        var changes: [RowChange] = []
        let outcome = catalog.apply(command, term: term, index: index, changes: &changes)
        for change in changes { rows[change.table + "/" + change.key] = change }
        return outcome
    }
}

func identifier(_ number: UInt64) -> Identifier128 { Identifier128(high: 0, low: number) }

let proof = KeyProof(keyCheckValue: "A1B2C3", probe: "00")

func intent(
    _ number: UInt64, request: UInt64? = nil, algorithm: KeyAlgorithm = .aes256, seen: UInt64 = 0,
    ambiguous: String? = nil
) -> CatalogCommand {
    .beginKey(
        KeyIntent(
            operation: identifier(number), requestID: identifier(request ?? number + 1_000), keyStore: nil,
            algorithm: algorithm, usage: .derive, comment: "", createdAt: 0, highestLabelSeen: seen,
            ambiguousLabel: ambiguous))
}

func prepared() -> Ledger {
    var ledger = Ledger()
    for name in ["hsm-a", "hsm-b", "hsm-c"] {
        ledger.apply(.registerEndpoint(EndpointName(name)))
        ledger.apply(.setService(EndpointName(name), isInService: true, reason: nil))
    }
    ledger.apply(
        .createKeyStore(
            name: "store", minimumReplicas: 2, repairSources: 2, createdAt: 0, requestID: identifier(9_999)))
    return ledger
}

/// Brings key `number` to the point where it is generated on hsm-a, and returns its identity.
func generate(_ number: UInt64, in ledger: inout Ledger) throws -> KeyIdentity {
    ledger.apply(intent(number))
    let outcome = ledger.apply(.beginAttempt(identifier(number), endpoint: EndpointName("hsm-a")))
    guard case .attempt(let attempt, _) = outcome else {
        throw CatalogRefusal.operationUnknown(identifier(number))
    }
    ledger.apply(
        .recordGenerated(
            identifier(number), identity: attempt.identity, endpoint: EndpointName("hsm-a"), proof: proof,
            at: 1))
    return attempt.identity
}

@Suite struct CatalogTests {
    @Test func numbersStartAt4099AndAreNeverUsedTwice() throws {
        var ledger = prepared()
        ledger.apply(intent(1))
        ledger.apply(.failKey(identifier(1), reason: "no endpoint"))
        ledger.apply(intent(2))
        #expect(ledger.catalog.keysInOrder.map(\.label) == ["CMS MK 4099", "CMS MK 4100"])
    }

    @Test func numbersContinueAfterTheHighestSeenOnATokenAndNeverGoBack() {
        var ledger = prepared()
        ledger.apply(intent(1, seen: 4_120))
        ledger.apply(intent(2, seen: 0))
        #expect(ledger.catalog.keysInOrder.map(\.number) == [4_121, 4_122])
    }

    @Test func theSameRequestGivesTheSameKeyAndAnotherAlgorithmIsAConflict() {
        var ledger = prepared()
        ledger.apply(intent(1, request: 7))
        let again = ledger.apply(intent(2, request: 7))
        guard case .key(let key) = again else { Issue.record("\(again)"); return }
        #expect(key.operation == identifier(1))
        #expect(
            ledger.apply(intent(3, request: 7, algorithm: .aes128))
                == .refused(.requestConflict(identifier(7))))
        #expect(ledger.catalog.keys.count == 1)
    }

    @Test func anAmbiguousLabelBlocksAllocation() {
        var ledger = prepared()
        #expect(
            ledger.apply(intent(1, ambiguous: "CMS MK 0A on hsm-a"))
                == .refused(.labelAmbiguous("CMS MK 0A on hsm-a")))
        #expect(ledger.catalog.keys.isEmpty)
    }

    @Test func activationIsRefusedUntilTheMinimumOfVerifiedReplicasStands() throws {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        let activate = CatalogCommand.activateKey(identifier(1), identity: identity, keyCheckValue: "A1B2C3")
        #expect(ledger.apply(activate) == .refused(.notEnoughReplicas(verified: 1, needed: 2)))
        ledger.apply(
            .recordReplica(
                identifier(1), identity: identity, endpoint: EndpointName("hsm-b"), proof: proof,
                isExtractable: true, at: 2))
        guard case .key(let key) = ledger.apply(activate) else { Issue.record("not activated"); return }
        #expect(key.state == .usable)
        #expect(ledger.catalog.activeKeyStore?.activeKey == identifier(1))
    }

    @Test func aReplicaWithAnotherProofIsRefused() throws {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        let other = KeyProof(keyCheckValue: "A1B2C3", probe: "01")
        let outcome = ledger.apply(
            .recordReplica(
                identifier(1), identity: identity, endpoint: EndpointName("hsm-b"), proof: other,
                isExtractable: false, at: 2))
        #expect(outcome == .refused(.proofDiffers(EndpointName("hsm-b"))))
    }

    @Test func theFirstGeneratedAttemptWinsAndTheOtherIsAnOrphan() throws {
        var ledger = prepared()
        ledger.apply(intent(1))
        ledger.apply(.beginAttempt(identifier(1), endpoint: EndpointName("hsm-a")))
        ledger.term = Term(2)
        ledger.apply(.beginAttempt(identifier(1), endpoint: EndpointName("hsm-b")))
        let attempts = try #require(ledger.catalog.keys[identifier(1)]).attempts
        ledger.apply(
            .recordGenerated(
                identifier(1), identity: attempts[1].identity, endpoint: EndpointName("hsm-b"), proof: proof,
                at: 0))
        let late = ledger.apply(
            .recordGenerated(
                identifier(1), identity: attempts[0].identity, endpoint: EndpointName("hsm-a"), proof: proof,
                at: 0))
        #expect(late == .refused(.anotherAttemptWon(attempts[1].identity)))
        #expect(ledger.catalog.isOrphan(attempts[0].identity))
        #expect(!ledger.catalog.isOrphan(attempts[1].identity))
        #expect(attempts.map(\.identity.term) == [Term(1), Term(2)])
    }

    @Test func aDiscardedAttemptCanNeverWinAgain() throws {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        ledger.apply(.discardGenerated(identifier(1), identity: identity))
        #expect(ledger.catalog.isOrphan(identity))
        let again = ledger.apply(
            .recordGenerated(
                identifier(1), identity: identity, endpoint: EndpointName("hsm-a"), proof: proof, at: 0))
        #expect(again == .refused(.operationUnknown(identifier(1))))
        let next = ledger.apply(.beginAttempt(identifier(1), endpoint: EndpointName("hsm-b")))
        guard case .attempt(let attempt, let key) = next else { Issue.record("\(next)"); return }
        #expect(attempt.identity.attempt == 2 && key.number == 4_099 && key.replicas.isEmpty)
    }

    @Test func anObjectOfAUsableKeyIsNeverDestroyed() throws {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        let endpoint = EndpointName("hsm-a")
        #expect(
            ledger.apply(.reportOrphan(endpoint: endpoint, identity: identity, label: "x"))
                == .refused(.notAnOrphan(identity)))
        #expect(
            ledger.apply(.destroyOrphan(endpoint: endpoint, identity: identity))
                == .refused(.notAnOrphan(identity)))
        ledger.apply(.failKey(identifier(1), reason: "given up"))
        #expect(
            ledger.apply(.destroyOrphan(endpoint: endpoint, identity: identity))
                == .refused(.notAnOrphan(identity)))
        #expect(ledger.apply(.reportOrphan(endpoint: endpoint, identity: identity, label: "x")) == .done)
        #expect(ledger.apply(.destroyOrphan(endpoint: endpoint, identity: identity)) == .done)
    }

    @Test func theStarOnlyMovesForward() throws {
        var ledger = prepared()
        let first = try generate(1, in: &ledger)
        let second = try generate(2, in: &ledger)
        for (number, identity) in [(UInt64(2), second), (1, first)] {
            ledger.apply(
                .recordReplica(
                    identifier(number), identity: identity, endpoint: EndpointName("hsm-b"), proof: proof,
                    isExtractable: false, at: 2))
            ledger.apply(.activateKey(identifier(number), identity: identity, keyCheckValue: "A1B2C3"))
        }
        #expect(ledger.catalog.activeKeyStore?.activeKey == identifier(2))
        #expect(ledger.catalog.keysInOrder.allSatisfy { $0.state == .usable })
    }

    @Test func oneNodeAtATimeMayTryAnUntriedPINAndARejectionStopsAll() {
        var ledger = prepared()
        let name = EndpointName("hsm-a")
        #expect(ledger.apply(.claimLogin(name, node: NodeID(1))) == .done)
        #expect(ledger.apply(.claimLogin(name, node: NodeID(2))) == .refused(.loginClaimed(by: NodeID(1))))
        ledger.apply(.reportLogin(name, node: NodeID(1), outcome: .rejected))
        #expect(ledger.apply(.claimLogin(name, node: NodeID(2))) == .refused(.pinRejected(by: NodeID(1))))
        ledger.apply(.clearRejection(name))
        #expect(ledger.apply(.claimLogin(name, node: NodeID(2))) == .done)
    }

    @Test func theRowsAloneRebuildTheCatalog() throws {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        ledger.apply(.beginAttempt(identifier(1), endpoint: EndpointName("hsm-a")))
        ledger.apply(
            .recordReplica(
                identifier(1), identity: identity, endpoint: EndpointName("hsm-c"), proof: proof,
                isExtractable: false, at: 2))
        let rebuilt = try Catalog(rows: ledger.rows.values.shuffled())
        #expect(rebuilt == ledger.catalog)
        #expect(rebuilt.allRows == ledger.catalog.allRows)
        #expect(throws: CatalogRowError.self) {
            try Catalog(rows: [RowChange(table: "keys", key: "x", value: [1])])
        }
    }

    @Test func aRefusedCommandChangesNothing() {
        var ledger = prepared()
        let before = ledger.catalog
        ledger.apply(.beginAttempt(identifier(5), endpoint: EndpointName("hsm-a")))
        ledger.apply(.setService(EndpointName("nowhere"), isInService: true, reason: nil))
        ledger.apply(
            .createKeyStore(
                name: "store", minimumReplicas: 1, repairSources: 1, createdAt: 0, requestID: identifier(1)))
        ledger.apply(
            .createKeyStore(
                name: "a\nb", minimumReplicas: 1, repairSources: 1, createdAt: 0, requestID: identifier(1)))
        #expect(ledger.catalog == before)
    }
}

@Suite struct KeyLabelTests {
    @Test(arguments: [
        ("CMS MK 4099", KeyLabel.Reading.generated(4_099)), ("CMS MK 00", .copied(0)),
        ("CMS MK 01", .copied(1)),
        ("CMS MK 409A", .ambiguous), ("CMS MK 0A", .ambiguous), ("CMS MK 1003", .ambiguous),
        ("CMS MK", .other), ("CMS MK x", .other), ("CMS MK 5", .other), ("Other 4099", .other),
        ("\"CMS MK 4100\"@?!17", .generated(4_100)), ("CMS MK 4101@?!3", .generated(4_101)), ("", .other),
        ("CMS MK 99999999999999999999", .other),
    ])
    func labelsAreReadAsTheirNumberOrRefused(raw: String, reading: KeyLabel.Reading) {
        #expect(KeyLabel.read(raw) == reading)
    }
}
