import ClusterModel
import NodeCore

// Links between nodes. In half of the runs a link behaves as TCP does (in order, nothing lost unless the link
// breaks, and then all that is under way); in the other half messages are lost, doubled and reordered at
// will, and may come out of an earlier connection, which is more than the protocols have to bear. A cut can
// be in one direction, and between any two nodes.

/// The state of all links.
struct SimulatedNetwork {
    private let count: Int
    /// From row to column: nothing gets through.
    var cut: [Bool]
    /// Until when messages are held up.
    var cloggedUntil: [VirtualTime]
    var lastArrival: [VirtualTime]
    private var isUp: [Bool]
    private var generations: [Int]

    init(nodes count: Int) {
        self.count = count
        cut = Array(repeating: false, count: count * count)
        cloggedUntil = Array(repeating: 0, count: count * count)
        lastArrival = cloggedUntil
        isUp = cut
        generations = Array(repeating: 0, count: count * count)
    }

    func slot(_ from: Int, _ to: Int) -> Int { from * count + to }

    private func pair(_ one: Int, _ other: Int) -> Int { slot(min(one, other), max(one, other)) }

    func isConnected(_ one: Int, _ other: Int) -> Bool { isUp[pair(one, other)] }
    func generation(_ one: Int, _ other: Int) -> Int { generations[pair(one, other)] }
    func isCut(_ one: Int, _ other: Int) -> Bool { cut[slot(one, other)] || cut[slot(other, one)] }

    mutating func connect(_ one: Int, _ other: Int) {
        isUp[pair(one, other)] = true
        generations[pair(one, other)] += 1
    }

    mutating func disconnect(_ one: Int, _ other: Int) {
        isUp[pair(one, other)] = false
        generations[pair(one, other)] += 1
    }
}

extension Simulation {
    func send(_ envelope: PeerEnvelope, from: Int) {
        let to = Int(envelope.to.rawValue) - 1
        guard nodes.indices.contains(to), nodes[from].linkView[to] != nil else { return }
        let slot = network.slot(from, to)
        guard network.isConnected(from, to), !network.cut[slot] else { return }
        guard let message = crossWire(envelope.message) else { return }
        if isFaulty, dice.chance(swarm.loss) { return count("message lost") }
        deliver(message, from: from, to: to)
        if isFaulty, dice.chance(swarm.duplication) {
            count("message doubled")
            deliver(message, from: from, to: to)
        }
    }

    private func deliver(_ message: PeerMessage, from: Int, to: Int) {
        let slot = network.slot(from, to)
        var arrival =
            max(now, network.cloggedUntil[slot])
            + dice.between(swarm.delay.lowerBound, swarm.delay.upperBound)
        if swarm.isStream {
            arrival = max(arrival, network.lastArrival[slot])
            network.lastArrival[slot] = arrival
        }
        heap.push(
            .message(message, from: from, to: to, generation: network.generation(from, to)), at: arrival)
    }

    /// Messages travel as bytes; of the frequent and the large ones only a sample does, for the sake of speed.
    private func crossWire(_ message: PeerMessage) -> PeerMessage? {
        wireSample &+= 1
        switch message {
        case .raft, .gossip: guard wireSample.isMultiple(of: 64) else { return message }
        case .request, .answer: guard wireSample.isMultiple(of: 4) else { return message }
        case .snapshotChunk, .snapshotAnswer, .removed, .rejoin: break
        }
        do {
            let (kind, payload) = try message.encoded()
            let decoded = try PeerMessage.decode(kind: kind, payload: payload)
            guard decoded == message else {
                fail("a message changed when it was written and read: \(message)")
                return nil
            }
            return decoded
        } catch {
            fail("a message cannot be written and read: \(message): \(error)")
            return nil
        }
    }

    // MARK: Links

    func tryConnect(_ one: Int, _ other: Int) {
        plan(after: dice.between(10_000, 500_000), "connect") { simulation in
            guard simulation.nodes[one].node != nil, simulation.nodes[other].node != nil else { return }
            guard !simulation.network.isConnected(one, other), !simulation.network.isCut(one, other) else {
                return
            }
            guard !simulation.nodes[one].isPaused, !simulation.nodes[other].isPaused else { return }
            simulation.network.connect(one, other)
            simulation.noticeLink(one, other)
            simulation.noticeLink(other, one)
        }
    }

    func disconnect(_ one: Int, _ other: Int) {
        guard network.isConnected(one, other) else { return }
        network.disconnect(one, other)
        for (node, peer) in [(one, other), (other, one)] {
            plan(after: dice.between(100, 200_000), "link down") { $0.noticeLink(node, peer) }
        }
        tryConnect(one, other)
    }

    /// The node finds out how the link to the peer is now.
    func noticeLink(_ number: Int, _ peer: Int) {
        guard nodes[number].node != nil, !nodes[number].isPaused else { return }
        // A link that broke and came back is told as both, in order.
        let seen = nodes[number].linkView[peer]
        let generation = network.isConnected(number, peer) ? network.generation(number, peer) : nil
        guard seen != generation else { return }
        nodes[number].linkView[peer] = generation
        let id = nodes[peer].id
        note("node \(nodes[number].id): link to \(id) is \(generation == nil ? "down" : "up")")
        if seen != nil { step(number, .linkChanged(id, isUp: false)) }
        if generation != nil { step(number, .linkChanged(id, isUp: true)) }
    }

    func cut(_ pairs: [(Int, Int)], for length: VirtualTime) {
        for (from, to) in pairs {
            network.cut[network.slot(from, to)] = true
            plan(after: swarm.linkTimeout, "silent link") { simulation in
                if simulation.network.isCut(from, to) { simulation.disconnect(from, to) }
            }
        }
        plan(after: length, "mend") { $0.mend(pairs) }
    }

    func mend(_ pairs: [(Int, Int)]) {
        for (from, to) in pairs {
            network.cut[network.slot(from, to)] = false
            tryConnect(from, to)
        }
    }
}
