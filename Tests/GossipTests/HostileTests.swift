import ClusterModel
import Gossip
import Testing

// Members are authenticated, but they may be broken, or of another version: whatever they send, this node
// stays bounded, listens only to members, and can always defend itself.

@Suite struct HostileTests {
    @Test func messagesOfUnknownNodesChangeNothing() {
        var lone = Lone()
        let before = lone.machine
        let payload = GossipPayload(
            incarnation: Incarnation(9), wantsObservations: true,
            updates: [MemberUpdate(node: NodeID(2), state: .left, incarnation: Incarnation(99))],
            observations: [observation(node: 99, sequence: 1)])
        for sender in [NodeID(99), NodeID(0), NodeID(1)] {
            lone.step(.received(.ping(sequence: 1, payload: payload), from: sender))
            lone.step(.received(.pingRequest(sequence: 1, target: NodeID(2), payload: payload), from: sender))
        }
        #expect(lone.effects == .init())
        #expect(lone.machine == before)
    }

    @Test func statementsAboutUnknownNodesAreIgnored() {
        var lone = Lone()
        lone.hear(.alive, of: 99, 1)
        lone.hear(
            .init(incarnation: Incarnation(5), observations: [observation(node: 99, sequence: 1)]), from: 4)
        #expect(lone.machine.members.count == 4)
        #expect(lone.machine.observations.isEmpty)
    }

    @Test func anImpossibleIncarnationIsIgnoredAndTheHighestCanBeRefuted() {
        var lone = Lone()
        lone.hear(.dead, of: 1, .max)
        lone.hear(.alive, of: 1, .max)
        lone.hear(.dead, of: 1, Incarnation.greatest.rawValue)
        lone.hear(.suspect, of: 2, 0)
        #expect(lone.machine.incarnation == Incarnation(5))
        #expect(lone.belief(of: 2)?.state == .alive)
        lone.hear(.dead, of: 1, Incarnation.greatest.rawValue - 1)
        #expect(lone.machine.incarnation == .greatest)
        lone.hear(.dead, of: 1, Incarnation.greatest.rawValue - 1)
        #expect(lone.machine.incarnation == .greatest)
    }

    @Test func anAcknowledgementFromSomebodyElseDoesNotCount() {
        // Node 4 answers every ping to node 2, in its own name, without having been asked to ping.
        var settings = GossipSettings()
        settings.indirectProbes = 0
        var lone = Lone(settings: settings)
        for _ in 0..<200 where lone.belief(of: 2)?.state == .alive {
            lone.run(.milliseconds(50))
            for envelope in lone.effects.send {
                guard case .ping(let sequence, _) = envelope.message else { continue }
                let answer = GossipMessage.acknowledgement(
                    sequence: sequence, payload: .init(incarnation: Incarnation(5)))
                lone.step(.received(answer, from: envelope.to == NodeID(2) ? NodeID(4) : envelope.to))
            }
            lone.effects = .init()
        }
        #expect(lone.belief(of: 2)?.state == .suspect)
        #expect(lone.belief(of: 3)?.state == .alive)
    }

    @Test func aFloodLeavesTheMachineBounded() {
        var lone = Lone()
        var generator = SeededGenerator(seed: 4)
        var mostPerStep = 0
        for round in 0..<500 {
            lone.now = lone.now + .milliseconds(1)
            let updates = (0..<40).map { _ in
                MemberUpdate(
                    node: NodeID(UInt64.random(in: 0...6, using: &generator)),
                    state: MemberState.allCases.randomElement(using: &generator) ?? .dead,
                    incarnation: Incarnation(UInt64.random(in: 0...2_000, using: &generator)),
                    accusers: (0..<50).map { NodeID($0) })
            }
            let observations = (0..<100).map { index in
                observation(
                    node: UInt64.random(in: 0...6, using: &generator), sequence: UInt64(round),
                    endpoint: "e\(Int.random(in: 0...5_000, using: &generator))-\(index)",
                    error: String(repeating: "é", count: 500))
            }
            let payload = GossipPayload(
                incarnation: Incarnation(UInt64(round)), wantsObservations: true, updates: updates,
                observations: observations,
                digests: (0..<100).map { ObservationDigest(node: NodeID($0 % 9), value: $0) })
            let sender = NodeID(UInt64.random(in: 2...4, using: &generator))
            let sequence = UInt64.random(in: 0...50, using: &generator)
            let target = NodeID(UInt64.random(in: 0...6, using: &generator))
            lone.effects = .init()
            switch round % 5 {
            case 0: lone.step(.received(.ping(sequence: sequence, payload: payload), from: sender))
            case 1: lone.step(.received(.acknowledgement(sequence: sequence, payload: payload), from: sender))
            case 2:
                lone.step(
                    .received(
                        .pingRequest(sequence: sequence, target: target, payload: payload), from: sender))
            case 3:
                lone.step(
                    .received(.negativeAcknowledgement(sequence: sequence, payload: payload), from: sender))
            default: lone.step(.tick)
            }
            mostPerStep = max(mostPerStep, lone.effects.send.count)
            for envelope in lone.effects.send {
                let payload = envelope.message.payload
                #expect(payload.updates.count <= GossipLimits.updates)
                #expect(payload.observations.count <= GossipLimits.observations)
                #expect(payload.digests.count <= GossipLimits.digests)
                #expect(payload.updates.allSatisfy { $0.accusers.count <= GossipLimits.accusers })
            }
        }
        #expect(mostPerStep <= 12)
        #expect(lone.machine.members.count == 4)
        #expect(lone.machine.observations.count <= 3 * GossipLimits.endpointsPerNode)
        #expect(
            lone.machine.observations.allSatisfy {
                ($0.lastError ?? "").utf8.count <= GossipLimits.errorBytes
            })
    }

    @Test func endpointNamesWithoutOrWithTooMuchTextAreIgnored() {
        var lone = Lone()
        let long = String(repeating: "x", count: GossipLimits.endpointNameBytes + 1)
        for name in ["", long] {
            lone.hear(
                .init(
                    incarnation: Incarnation(5),
                    observations: [observation(node: 2, sequence: 1, endpoint: name)]), from: 2)
            lone.step(.observed([EndpointReading(endpoint: EndpointName(name), health: .ready)]))
        }
        #expect(lone.machine.observations.isEmpty)
    }
}

func observation(
    node: UInt64, sequence: UInt64, incarnation: UInt64 = 5, endpoint: String = "hsm-a",
    health: EndpointHealth = .ready, error: String? = nil
) -> EndpointObservation {
    var observation = EndpointObservation(
        EndpointReading(endpoint: EndpointName(endpoint), health: health), node: NodeID(node),
        incarnation: Incarnation(incarnation), sequence: sequence)
    observation.lastError = error  // past the initializer, which would cut it
    return observation
}
