import ClusterModel
import Gossip
import Testing

// Observations of endpoints: stamps decide, everybody gets everything, and nothing outlives its time.

@Suite struct ObservationTests {
    static func readings(
        _ count: Int, health: EndpointHealth = .ready, latency: UInt32 = 100
    ) -> [EndpointReading] {
        (0..<count).map {
            EndpointReading(
                endpoint: EndpointName("hsm-\($0)"), health: health, latencyMicroseconds: latency)
        }
    }

    /// True when every node holds the same observations, `count` of them.
    static func agree(_ network: GossipNetwork, count: Int) -> Bool {
        let first = network.machines.first { !network.down.contains($0.id) }?.observations ?? []
        return first.count == count
            && network.machines.allSatisfy { network.down.contains($0.id) || $0.observations == first }
    }

    @Test(arguments: [3, 5, 7], [1, 2, 3] as [UInt64])
    func aFullViewStandsWithinTwoPeriods(count: Int, seed: UInt64) {
        // Every node sees 24 endpoints for the first time; later one of them fails everywhere.
        var network = GossipNetwork(count: count, seed: seed)
        network.run(.seconds(3))
        for node in 1...UInt64(count) { network.step(.observed(Self.readings(24)), on: node) }
        let first = network.run(upTo: .seconds(10)) { Self.agree($0, count: 24 * count) }
        #expect(first.map { $0 <= .seconds(1) } == true)
        network.run(.seconds(3))
        var changed = Self.readings(24)
        changed[7].health = .unreachable
        changed[7].lastError = "C_Sign: CKR_DEVICE_ERROR"
        network.step(.observed(changed), on: 2)
        let second = network.run(upTo: .seconds(10)) { network in
            network.machines.allSatisfy { machine in
                machine.observations.contains { $0.node == NodeID(2) && $0.health == .unreachable }
            }
        }
        #expect(second.map { $0 <= .milliseconds(500) } == true)
        print(
            "\(count) nodes, 24 endpoints: full view in \(first ?? .zero), one change in \(second ?? .zero)")
    }

    @Test(arguments: [3, 7], [1, 2, 3] as [UInt64])
    func aNewcomerGetsTheFullView(count: Int, seed: UInt64) {
        var network = GossipNetwork(count: count, seed: seed)
        network.run(.seconds(3))
        for node in 1...UInt64(count) { network.step(.observed(Self.readings(24)), on: node) }
        network.run(.seconds(5))
        network.down = [NodeID(2)]
        network.run(.seconds(1))
        network.restart(2, incarnation: Incarnation(30))
        network.step(.observed(Self.readings(24)), on: 2)
        let took = network.run(upTo: .seconds(10)) { Self.agree($0, count: 24 * count) }
        #expect(took.map { $0 <= .seconds(1) } == true)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func lossIsMadeGood(seed: UInt64) {
        // Changing numbers, then silence, a third of all messages lost: in the end all agree.
        var weather = GossipNetwork.Weather()
        weather.lossPercent = 33
        var network = GossipNetwork(count: 5, weather: weather, seed: seed)
        network.run(.seconds(2))
        for round in 0..<6 {
            for node in 1...5 as ClosedRange<UInt64> {
                network.step(.observed(Self.readings(24, latency: UInt32(round) * 10)), on: node)
            }
            network.run(.milliseconds(300))
        }
        let took = network.run(upTo: .seconds(30)) { Self.agree($0, count: 120) }
        #expect(took != nil)
        print("5 nodes, 33% loss, seed \(seed): agreed after \(took ?? .zero)")
    }

    @Test func aBrokenPathIsBypassed() {
        // 1 and 2 do not hear each other; what 2 sees reaches 1 through 3.
        var network = GossipNetwork(count: 3, seed: 8)
        network.run(.seconds(3))
        network.isConnected = { first, second in
            Set([first, second]) != Set([NodeID(1), NodeID(2)])
        }
        network.step(.observed(Self.readings(24, health: .busy)), on: 2)
        let took = network.run(upTo: .seconds(10)) { $0[1].observations.count == 24 }
        #expect(took.map { $0 < .seconds(3) } == true)
    }

    @Test func theNewestStampWinsHoweverItTravelled() {
        var lone = Lone()
        func tell(_ incarnation: UInt64, _ sequence: UInt64, _ health: EndpointHealth, from sender: UInt64) {
            lone.hear(
                .init(
                    incarnation: Incarnation(5),
                    observations: [
                        observation(
                            node: 2, sequence: sequence, incarnation: incarnation, health: health)
                    ]), from: sender)
        }
        tell(5, 7, .ready, from: 3)
        tell(5, 6, .starting, from: 2)
        #expect(lone.machine.observations.map(\.health) == [.ready])
        lone.effects = .init()
        tell(5, 7, .busy, from: 2)
        #expect(!lone.effects.observationsChanged)
        tell(6, 1, .busy, from: 4)
        #expect(lone.effects.observationsChanged)
        #expect(lone.machine.observations.map(\.health) == [.busy])
        tell(5, 900, .ready, from: 2)
        #expect(lone.machine.observations.map(\.health) == [.busy])
    }

    @Test func numbersArePublishedOncePerPeriodAndHealthAtOnce() {
        var lone = Lone()
        lone.step(.observed(Self.readings(1, latency: 1)))
        #expect(lone.machine.observations.map(\.latencyMicroseconds) == [1])
        lone.now = lone.now + .milliseconds(10)
        lone.step(.observed(Self.readings(1, latency: 2)))
        #expect(lone.machine.observations.map(\.latencyMicroseconds) == [1])
        lone.step(.observed(Self.readings(1, health: .busy, latency: 3)))
        #expect(lone.machine.observations.map(\.latencyMicroseconds) == [3])
        lone.step(.observed(Self.readings(1, health: .busy, latency: 4)))
        lone.run(.milliseconds(1_100))
        #expect(lone.machine.observations.map(\.latencyMicroseconds) == [4])
    }

    @Test func anUnchangedObservationIsRenewedSoThatItStaysKnown() {
        var network = GossipNetwork(count: 3, seed: 2)
        network.run(.seconds(2))
        network.step(.observed(Self.readings(2)), on: 3)
        network.run(.seconds(200))
        #expect(Self.agree(network, count: 2))
        #expect(network[1].observations.allSatisfy { $0.sequence > 10 })
    }

    @Test func anEndpointThatIsNoLongerObservedIsForgottenAndStaysForgotten() {
        var network = GossipNetwork(count: 3, seed: 2)
        network.run(.seconds(2))
        network.step(.observed(Self.readings(2)), on: 3)
        network.run(.seconds(5))
        network.step(.observed(Self.readings(1)), on: 3)
        #expect(network[3].observations.count == 1)
        network.run(.seconds(75))
        #expect(Self.agree(network, count: 1))
        // Not even a newcomer, who never knew that it is old news, brings it back.
        network.restart(2, incarnation: Incarnation(9))
        network.run(.seconds(30))
        #expect(Self.agree(network, count: 1))
    }

    @Test func whatADeadMemberSawExpires() {
        var network = GossipNetwork(count: 3, seed: 2)
        network.run(.seconds(2))
        network.step(.observed(Self.readings(4)), on: 3)
        network.run(.seconds(5))
        network.down = [NodeID(3)]
        network.run(.seconds(20))
        #expect(network[1].observations.count == 4)
        network.run(.seconds(60))
        #expect(network[1].observations.isEmpty)
    }

    @Test func observationsOfAnEarlierLifeAreOutlived() {
        // Its incarnation file is lost; the others still hold stamps of incarnation 50.
        var network = GossipNetwork(count: 3, seed: 6)
        network.run(.seconds(2))
        network.restart(3, incarnation: Incarnation(50))
        network.step(.observed(Self.readings(3, health: .unreachable)), on: 3)
        network.run(.seconds(2))
        network.restart(3, incarnation: Incarnation(1))
        network.step(.observed(Self.readings(3, health: .ready)), on: 3)
        let took = network.run(upTo: .seconds(10)) { network in
            Self.agree(network, count: 3)
                && network[1].observations.allSatisfy { $0.health == .ready }
        }
        #expect(took != nil)
    }

    @Test func twoMembersFallSilentWhenNothingHappens() {
        // The only one to tell is the one who saw it: no rounds of empty news.
        var network = GossipNetwork(count: 2, seed: 3)
        network.run(.seconds(2))
        for node in [1, 2] as [UInt64] { network.step(.observed(Self.readings(24)), on: node) }
        network.run(.seconds(8))
        let before = network.messageCount
        network.run(.seconds(1))
        #expect(network.messageCount - before <= 12)
    }
}
