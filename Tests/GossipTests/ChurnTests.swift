import ClusterModel
import Gossip
import Testing

// Safety first, then liveness (as TigerBeetle's VOPR does it): crashes, restarts, freezes, one-way breaks and
// loss come as a seed draws them; then everything heals, and all must agree before long. Only a seed is
// needed to see it again.

@Suite struct ChurnTests {
    @Test(arguments: (1...12).map { UInt64($0) })
    func whateverHappenedTheHealedClusterAgrees(seed: UInt64) {
        var dice = SeededGenerator(seed: seed)
        let count = [2, 3, 3, 5, 7].randomElement(using: &dice) ?? 3
        var weather = GossipNetwork.Weather()
        weather.lossPercent = [0, 5, 30].randomElement(using: &dice) ?? 0
        weather.delay = 100...([1_000, 40_000, 200_000].randomElement(using: &dice) ?? 1_000)
        var network = GossipNetwork(count: count, weather: weather, seed: seed)
        var incarnation: UInt64 = 10
        var broken: Set<[NodeID]> = []
        for _ in 0..<40 {
            network.run(.milliseconds(Int.random(in: 10...3_000, using: &dice)))
            let node = UInt64.random(in: 1...UInt64(count), using: &dice)
            let other = UInt64.random(in: 1...UInt64(count), using: &dice)
            switch Int.random(in: 0..<8, using: &dice) {
            case 0: network.down.insert(NodeID(node))
            case 1:
                guard !network.paused.contains(NodeID(node)) else { continue }
                incarnation += 10
                network.restart(node, incarnation: Incarnation(incarnation))
            case 2: network.pause(node)
            case 3: network.resume(node)
            case 4, 5: broken.insert([NodeID(node), NodeID(other)])
            case 6: broken.removeAll()
            default:
                guard !network.down.contains(NodeID(node)), !network.paused.contains(NodeID(node)) else {
                    continue
                }
                let health = EndpointHealth.allCases.randomElement(using: &dice) ?? .ready
                let readings = ObservationTests.readings(Int.random(in: 0...30, using: &dice), health: health)
                network.step(.observed(readings), on: node)
            }
            let blocked = broken
            network.isConnected = { !blocked.contains([$0, $1]) }
        }
        network.isConnected = { _, _ in true }
        network.weather = GossipNetwork.Weather()
        for node in 1...UInt64(count) {
            network.resume(node)
            guard network.down.contains(NodeID(node)) else { continue }
            incarnation += 10
            network.restart(node, incarnation: Incarnation(incarnation))
        }
        let harmony = network.run(upTo: .seconds(30)) { $0.isHarmonious }
        #expect(harmony != nil, "seed \(seed), \(count) nodes")
        for node in 1...UInt64(count) {
            network.step(.observed(ObservationTests.readings(24, health: .ready)), on: node)
        }
        let agreement = network.run(upTo: .seconds(10)) { network in
            network.machines.allSatisfy { machine in
                let ready = machine.observations.filter { $0.health == .ready }
                return ready.count >= 24 * count
            }
        }
        #expect(agreement != nil, "seed \(seed), \(count) nodes")
        // What earlier lives saw of endpoints that nobody observes any more is gone in the end.
        let cleaned = network.run(upTo: .seconds(140)) { ObservationTests.agree($0, count: 24 * count) }
        #expect(cleaned != nil, "seed \(seed), \(count) nodes")
    }
}
