import ClusterModel
import Gossip
import Testing

// The machine among others, over a network that loses, delays and splits.

@Suite struct NetworkTests {
    static let seeds: [UInt64] = [1, 2, 3]

    @Test(arguments: [2, 3, 7, 50], seeds)
    func everybodySeesEverybodyAliveSoonAfterTheStart(count: Int, seed: UInt64) {
        // Nobody is called alive before it was heard from.
        var network = GossipNetwork(count: count, seed: seed)
        #expect(network.state(of: 2, seenBy: 1) != .alive)
        let took = network.run(upTo: .seconds(10)) { $0.isHarmonious }
        #expect(took.map { $0 < .seconds(4) } == true)
        if count <= 7 { #expect(took.map { $0 < .milliseconds(600) } == true) }
    }

    @Test(arguments: [2, 3, 7, 50], seeds)
    func nobodyIsSuspectedWithoutLoss(count: Int, seed: UInt64) {
        var network = GossipNetwork(count: count, seed: seed)
        network.run(.seconds(5))
        let before = network.notices.count
        network.run(.seconds(count > 10 ? 10 : 120))
        #expect(network.notices.count == before)
    }

    @Test(arguments: [2, 3, 7, 50], seeds)
    func aCrashedMemberIsDeadToAll(count: Int, seed: UInt64) {
        var network = GossipNetwork(count: count, seed: seed)
        network.run(.seconds(5))
        network.down = [NodeID(2)]
        let took = network.run(upTo: .seconds(30)) { network in
            network.nodes.allSatisfy {
                $0 == NodeID(2) || network.state(of: 2, seenBy: $0.rawValue) == .dead
            }
        }
        #expect(took.map { $0 < .seconds(15) } == true)
        #expect(
            network.notices.allSatisfy {
                $0.change.current.node == NodeID(2) || $0.at < .origin + .seconds(5)
            })
    }

    @Test(arguments: seeds)
    func aMemberThatOneNodeCannotReachIsNotSuspected(seed: UInt64) {
        // 1 and 2 do not hear each other; 3 pings for both.
        var network = GossipNetwork(count: 3, seed: seed)
        network.run(.seconds(5))
        let before = network.notices.count
        network.isConnected = { first, second in
            Set([first, second]) != Set([NodeID(1), NodeID(2)])
        }
        network.run(.seconds(60))
        #expect(network.notices.count == before)
        #expect(network.isHarmonious)
    }

    @Test(arguments: seeds)
    func aSuspectedMemberThatLivesRefutes(seed: UInt64) {
        // It is cut off until it is suspected, then comes back before it is dead.
        var network = GossipNetwork(count: 5, seed: seed)
        network.run(.seconds(5))
        network.isConnected = { first, second in first != NodeID(4) && second != NodeID(4) }
        let suspected = network.run(upTo: .seconds(10)) { $0.state(of: 4, seenBy: 1) == .suspect }
        #expect(suspected != nil)
        network.isConnected = { _, _ in true }
        let refuted = network.run(upTo: .seconds(10)) { $0.isHarmonious }
        #expect(refuted != nil)
        #expect(network[4].incarnation > Incarnation(1))
        #expect(
            !network.notices.contains {
                $0.change.current.state == .dead && $0.change.current.node == NodeID(4)
                    && $0.observer != NodeID(4)
            })
    }

    @Test(arguments: [(3, 1), (3, 2), (7, 3), (7, 1), (30, 10)], seeds)
    func theHalvesOfAHealedPartitionFindEachOther(shape: (count: Int, cut: Int), seed: UInt64) {
        var network = GossipNetwork(count: shape.count, seed: seed)
        network.run(.seconds(5))
        let isLeft = { (node: NodeID) in node.rawValue <= UInt64(shape.cut) }
        network.isConnected = { isLeft($0) == isLeft($1) }
        network.run(.seconds(40))
        for observer in network.nodes {
            for node in network.nodes {
                let state = network.state(of: node.rawValue, seenBy: observer.rawValue)
                #expect(state == (isLeft(node) == isLeft(observer) ? .alive : .dead))
            }
        }
        let healedAt = network.now
        network.isConnected = { _, _ in true }
        let took = network.run(upTo: .seconds(60)) { $0.isHarmonious }
        #expect(took != nil)
        // The dead are raised, but the living of one's own half are not buried on the way.
        #expect(
            !network.notices.contains {
                $0.at > healedAt && $0.change.current.state == .dead
                    && isLeft($0.observer) == isLeft($0.change.current.node)
            })
        print("partition \(shape.cut) of \(shape.count), seed \(seed): whole again after \(took ?? .zero)")
    }

    @Test(arguments: seeds)
    func aRestartedMemberSupersedesItsEarlierLife(seed: UInt64) {
        // Once after everybody took it for dead, once before anybody noticed.
        for wait in [Duration.seconds(20), .milliseconds(50)] {
            var network = GossipNetwork(count: 3, seed: seed)
            network.run(.seconds(5))
            network.down = [NodeID(3)]
            network.run(wait)
            network.restart(3, incarnation: Incarnation(7))
            let took = network.run(upTo: .seconds(10)) { network in
                network.isHarmonious
                    && network.machines.allSatisfy { machine in
                        machine.members.contains {
                            $0.node == NodeID(3) && $0.incarnation >= Incarnation(7)
                        }
                    }
            }
            #expect(took.map { $0 < .seconds(2) } == true)
        }
    }

    @Test(arguments: seeds)
    func aMemberThatRestartsWithTooLowAnIncarnationIsCorrected(seed: UInt64) {
        // Its incarnation file is lost: the others know a higher one, and it takes the next.
        var network = GossipNetwork(count: 3, seed: seed)
        network.run(.seconds(2))
        network.down = [NodeID(3)]
        network.run(.seconds(1))
        network.restart(3, incarnation: Incarnation(50))
        network.run(.seconds(2))
        network.down = [NodeID(3)]
        network.run(.seconds(20))
        #expect(network.state(of: 3, seenBy: 1) == .dead)
        network.restart(3, incarnation: Incarnation(2))
        #expect(network.run(upTo: .seconds(10)) { $0.isHarmonious } != nil)
        #expect(network[3].incarnation > Incarnation(50))
    }

    @Test(arguments: seeds)
    func aMemberThatSaysGoodbyeIsNotSuspected(seed: UInt64) {
        var network = GossipNetwork(count: 4, seed: seed)
        network.run(.seconds(5))
        network.step(.leave, on: 4)
        network.down = [NodeID(4)]
        network.run(.seconds(30))
        for observer in 1...3 as ClosedRange<UInt64> {
            #expect(network.state(of: 4, seenBy: observer) == .left)
        }
        #expect(
            !network.notices.contains {
                $0.at > .origin + .seconds(5) && $0.change.current.state != .left
            })
        network.restart(4, incarnation: Incarnation(9))
        #expect(network.run(upTo: .seconds(5)) { $0.isHarmonious } != nil)
    }

    @Test(arguments: seeds)
    func aProcessThatSleptBlamesNobody(seed: UInt64) {
        // Stopped for a minute: the others bury it; awake again, it must not bury them first.
        var network = GossipNetwork(count: 3, seed: seed)
        network.run(.seconds(5))
        network.pause(1)
        network.run(.seconds(60))
        #expect(network.state(of: 1, seenBy: 2) == .dead)
        let wokeAt = network.now
        network.resume(1)
        #expect(network[1].localHealthScore > 0)
        #expect(network.run(upTo: .seconds(10)) { $0.isHarmonious } != nil)
        #expect(
            !network.notices.contains {
                $0.at >= wokeAt && $0.observer == NodeID(1) && $0.change.current.state != .alive
            })
    }

    @Test func theSameSeedGivesTheSameTrace() {
        func trace(_ seed: UInt64) -> UInt64 {
            var weather = GossipNetwork.Weather()
            weather.lossPercent = 20
            var network = GossipNetwork(count: 9, weather: weather, seed: seed)
            network.run(.seconds(5))
            network.step(
                .observed((0..<10).map { EndpointReading(endpoint: .init("hsm-\($0)"), health: .ready) }),
                on: 2)
            network.down = [NodeID(9)]
            network.run(.seconds(30))
            return network.trace
        }
        #expect(trace(11) == trace(11))
        #expect(trace(11) != trace(12))
    }
}
