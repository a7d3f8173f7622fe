import ClusterModel
import Testing
import WireFormat

@testable import KeyCatalog

// Endpoints that an operator drains, removes and enables again.

@Suite struct WithdrawalTests {
    private let a = EndpointName("hsm-a"), b = EndpointName("hsm-b"), c = EndpointName("hsm-c")

    /// A usable key with replicas on hsm-a (a source) and on `others`, of which the named ones are sources.
    private func ledger(copies others: [EndpointName], sources: [EndpointName]) throws -> Ledger {
        var ledger = prepared()
        let identity = try generate(1, in: &ledger)
        for name in others {
            ledger.apply(
                .recordReplica(
                    identifier(1), identity: identity, endpoint: name, proof: proof,
                    isExtractable: sources.contains(name), at: 1))
        }
        ledger.apply(.activateKey(identifier(1), identity: identity, keyCheckValue: proof.keyCheckValue))
        #expect(ledger.catalog.keysInOrder.first?.state == .usable)
        return ledger
    }

    @Test func aDrainedEndpointKeepsItsReplicasAndStaysOutWhateverTheViewSays() throws {
        var ledger = try ledger(copies: [b, c], sources: [b])
        let epoch = ledger.catalog.counters.viewEpoch
        for _ in 0..<2 { #expect(ledger.apply(.drainEndpoint(a)) == .done) }
        #expect(ledger.catalog.endpointsInService == [b, c])
        #expect(ledger.catalog.counters.viewEpoch == epoch + 1)
        #expect(ledger.catalog.keysInOrder.first?.verifiedEndpoints == [a, b, c])
        #expect(
            ledger.apply(.setService(a, isInService: true, reason: nil)) == .refused(.endpointWithdrawn(a)))
        ledger.apply(intent(2))
        #expect(
            ledger.apply(.beginAttempt(identifier(2), endpoint: a)) == .refused(.endpointWithdrawn(a)))
        for _ in 0..<2 { #expect(ledger.apply(.enableEndpoint(a)) == .done) }
        #expect(ledger.apply(.setService(a, isInService: true, reason: nil)) == .done)
        #expect(ledger.catalog.endpointsInService == [a, b, c])
    }

    @Test func removingIsRefusedBelowTheMinimumAndSaysWhichKeys() throws {
        var ledger = try ledger(copies: [b], sources: [b])
        let before = ledger.catalog
        #expect(
            ledger.apply(.removeEndpoint(a, isForced: false))
                == .refused(.keysNeedEndpoint(a, labels: ["CMS MK 4099"], count: 1)))
        #expect(ledger.catalog == before)
        #expect(ledger.apply(.removeEndpoint(c, isForced: false)) == .done)
        #expect(ledger.apply(.removeEndpoint(a, isForced: true)) == .done)
        #expect(ledger.catalog.keysInOrder.first?.verifiedEndpoints == [b])
    }

    @Test func removingTheLastSourceIsRefusedThoughEnoughReplicasWouldStand() throws {
        var ledger = try ledger(copies: [b, c], sources: [])
        guard case .refused(.keysNeedEndpoint) = ledger.apply(.removeEndpoint(a, isForced: false)) else {
            Issue.record("the last wrappable replica was given up")
            return
        }
        #expect(ledger.apply(.removeEndpoint(b, isForced: false)) == .done)
    }

    @Test func aRemovedEndpointIsForgottenButForItsName() throws {
        var ledger = try ledger(copies: [b, c], sources: [b, c])
        let key = TransportPublicKey(modulus: [1], publicExponent: [3])
        let enrol = CatalogCommand.enrolEndpoint(a, serialNumber: "1", tokenLabel: "a", transportKey: key)
        #expect(ledger.apply(enrol) == .done)
        for _ in 0..<2 { #expect(ledger.apply(.removeEndpoint(a, isForced: false)) == .done) }
        #expect(ledger.catalog.presentEndpoints == [b, c])
        #expect(ledger.catalog.keysInOrder.first?.replicas[a] == nil)
        for command in [enrol, .drainEndpoint(a), .claimLogin(a, node: NodeID(1)), .clearRejection(a)] {
            #expect(ledger.apply(command) == .refused(.endpointUnknown(a)))
        }
        // A configuration file that still names it does not bring it back; an operator does, as a new one.
        #expect(ledger.apply(.registerEndpoint(a)) == .done)
        #expect(ledger.catalog.presentEndpoints == [b, c])
        #expect(ledger.apply(.enableEndpoint(a)) == .done)
        #expect(ledger.catalog.presentEndpoints == [a, b, c])
        #expect(ledger.catalog.endpoints[a]?.serialNumber == nil)
        #expect(try Catalog(rows: ledger.rows.values) == ledger.catalog)
    }

    @Test func theRefusalNamesABoundedNumberOfKeys() throws {
        var ledger = prepared()
        for number in 1...20 as ClosedRange<UInt64> {
            let identity = try generate(number, in: &ledger)
            ledger.apply(
                .recordReplica(
                    identifier(number), identity: identity, endpoint: b, proof: proof, isExtractable: true,
                    at: 1))
            ledger.apply(
                .activateKey(identifier(number), identity: identity, keyCheckValue: proof.keyCheckValue))
        }
        guard
            case .refused(.keysNeedEndpoint(_, let labels, let count)) =
                ledger.apply(.removeEndpoint(a, isForced: false))
        else {
            Issue.record("not refused")
            return
        }
        #expect(labels.count == CatalogLimits.labelsNamed && count == 20)
    }

    @Test func rowsOfBeforeAreReadAsNotWithdrawn() throws {
        struct Older: Codable {
            var name: EndpointName
            var isInService: Bool
            var wasInService: Bool
            var wasAcceptedBefore: Bool
        }
        let older = Older(name: a, isInService: true, wasInService: true, wasAcceptedBefore: false)
        let row = Catalog().row(Catalog.Table.endpoints, "hsm-a", older)
        let catalog = try Catalog(rows: [row])
        #expect(catalog.endpoints[a]?.isInService == true && catalog.endpoints[a]?.withdrawal == nil)
        let membership = try CBORDecoder.decode(
            Membership.self, from: CBOREncoder.encode(OlderMembership(voters: [NodeID(1)], learners: [])))
        #expect(membership.former == nil)
    }

    private struct OlderMembership: Codable {
        var voters: [NodeID]
        var learners: [NodeID]
        var index = LogIndex(1)
    }
}
