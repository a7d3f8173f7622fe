import ClusterModel
import Gossip

// A network in one value: virtual time, one event after the other, every delay and loss drawn from one seed.
// What happens is a function of the seed and of what the test does, so a failure can be replayed.

/// Several gossip machines and the links between them.
struct GossipNetwork {
    /// How the links behave.
    struct Weather {
        var lossPercent = 0
        var delay = 200...2_000  // microseconds
        /// How late a tick comes, as on a busy machine.
        var tickLateness = 0...500  // microseconds
    }

    /// A change in a member's state that some node noticed.
    struct Notice: Hashable {
        var at: Instant
        var observer: NodeID
        var change: MemberChange
    }

    private enum Action {
        case wake(NodeID, generation: Int)
        case deliver(GossipMessage, from: NodeID, to: NodeID)
    }

    private struct Scheduled {
        var at: Instant
        var order: Int
        var action: Action
        func isBefore(_ other: Scheduled) -> Bool { (at, order) < (other.at, other.order) }
    }

    private(set) var now = Instant.origin
    private(set) var machines: [GossipMachine]
    private(set) var notices: [Notice] = []
    private(set) var messageCount = 0
    /// How often beliefs or observations changed anywhere.
    private(set) var changeCount = 0
    /// A running hash of everything sent and noticed.
    private(set) var trace: UInt64 = 0xCBF2_9CE4_8422_2325
    var weather: Weather
    /// Nodes that neither run nor receive.
    var down: Set<NodeID> = []
    /// Nodes that are stopped: what they should have done and received waits.
    private(set) var paused: Set<NodeID> = []
    /// True when a message from the first to the second gets through.
    var isConnected: (NodeID, NodeID) -> Bool = { _, _ in true }
    /// Sees every message that is sent.
    var onSend: (GossipMessage) -> Void = { _ in }

    private var generator: SeededGenerator
    private var heap: [Scheduled] = []
    private var order = 0
    private var generations: [Int]
    private var held: [(action: Action, node: NodeID)] = []
    private let settings: GossipSettings

    init(
        count: Int, settings: GossipSettings = GossipSettings(), weather: Weather = Weather(), seed: UInt64
    ) {
        self.settings = settings
        self.weather = weather
        generator = SeededGenerator(seed: seed)
        let nodes = (1...UInt64(count)).map { NodeID($0) }
        machines = []
        generations = Array(repeating: 0, count: count)
        for node in nodes {
            machines.append(
                GossipMachine(
                    id: node, members: nodes, incarnation: Incarnation(1), settings: settings,
                    seed: generator.next()))
        }
        for node in nodes { scheduleWake(node) }
    }

    var nodes: [NodeID] { machines.map(\.id) }

    subscript(node: UInt64) -> GossipMachine { machines[Int(node) - 1] }

    /// What `observer` believes of `node`.
    func state(of node: UInt64, seenBy observer: UInt64) -> MemberState? {
        self[observer].members.first { $0.node == NodeID(node) }?.state
    }

    /// True when every running node believes every running node alive.
    var isHarmonious: Bool {
        machines.filter { !down.contains($0.id) }.allSatisfy { machine in
            machine.members.allSatisfy { down.contains($0.node) || $0.state == .alive }
        }
    }

    /// Lets `span` pass.
    mutating func run(_ span: Duration) {
        run(until: now + span) { _ in false }
    }

    /// Lets time pass until `isDone` holds; nil when it does not within `limit`, else how long it took.
    mutating func run(upTo limit: Duration, until isDone: (GossipNetwork) -> Bool) -> Duration? {
        let start = now
        return run(until: now + limit, isDone: isDone) ? now - start : nil
    }

    /// Gives an event to one machine now.
    mutating func step(_ event: GossipMachine.Event, on node: UInt64) {
        apply(event, to: NodeID(node))
    }

    /// Starts a stopped node anew, with nothing remembered but its configuration.
    mutating func restart(_ node: UInt64, incarnation: Incarnation) {
        down.remove(NodeID(node))
        machines[Int(node) - 1] = GossipMachine(
            id: NodeID(node), members: nodes, incarnation: incarnation, settings: settings,
            seed: generator.next())
        scheduleWake(NodeID(node))
    }

    /// Freezes a node as SIGSTOP does.
    mutating func pause(_ node: UInt64) { paused.insert(NodeID(node)) }

    /// Lets a frozen node run on; its late tick comes first, the messages that waited follow.
    mutating func resume(_ node: UInt64) {
        guard paused.contains(NodeID(node)) else { return }
        paused.remove(NodeID(node))
        let mine = held.filter { $0.node == NodeID(node) }
        held.removeAll { $0.node == NodeID(node) }
        apply(.tick, to: NodeID(node))
        for item in mine {
            if case .deliver(let message, from: let sender, to: _) = item.action {
                apply(.received(message, from: sender), to: NodeID(node))
            }
        }
    }

    @discardableResult
    private mutating func run(until end: Instant, isDone: (GossipNetwork) -> Bool) -> Bool {
        if isDone(self) { return true }
        var seen = changeCount
        while let next = heap.first, next.at <= end {
            removeFirst()
            now = next.at
            perform(next.action)
            guard changeCount != seen else { continue }
            seen = changeCount
            if isDone(self) { return true }
        }
        now = end
        return false
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .wake(let node, let generation):
            guard generations[Int(node.rawValue) - 1] == generation else { return }
            guard !down.contains(node), !paused.contains(node) else { return }
            apply(.tick, to: node)
        case .deliver(let message, from: let sender, to: let receiver):
            guard !down.contains(receiver), isConnected(sender, receiver) else { return }
            guard !paused.contains(receiver) else { return held.append((action, receiver)) }
            apply(.received(message, from: sender), to: receiver)
        }
    }

    private mutating func apply(_ event: GossipMachine.Event, to node: NodeID) {
        var effects = GossipMachine.Effects()
        machines[Int(node.rawValue) - 1].step(event, at: now, into: &effects)
        if effects.observationsChanged || !effects.memberChanges.isEmpty { changeCount += 1 }
        for change in effects.memberChanges {
            notices.append(Notice(at: now, observer: node, change: change))
            mix(change.current.node.rawValue, change.current.incarnation.rawValue)
            mix(node.rawValue, UInt64(change.current.state.rawValue.utf8.count))
        }
        for envelope in effects.send {
            messageCount += 1
            onSend(envelope.message)
            mix(envelope.to.rawValue, UInt64(bitPattern: now.nanoseconds))
            mix(UInt64(envelope.message.payload.updates.count), node.rawValue)
            guard Int.random(in: 0..<100, using: &generator) >= weather.lossPercent else { continue }
            let delay = Int.random(in: weather.delay, using: &generator)
            schedule(
                .deliver(envelope.message, from: node, to: envelope.to), at: now + .microseconds(delay))
        }
        scheduleWake(node)
    }

    private mutating func scheduleWake(_ node: NodeID) {
        let index = Int(node.rawValue) - 1
        guard let deadline = machines[index].nextDeadline else { return }
        generations[index] += 1
        let lateness = Int.random(in: weather.tickLateness, using: &generator)
        schedule(
            .wake(node, generation: generations[index]), at: max(now, deadline) + .microseconds(lateness))
    }

    private mutating func mix(_ first: UInt64, _ second: UInt64) {
        for value in [first, second] {
            trace = (trace ^ value) &* 0x0000_0100_0000_01B3
            trace ^= trace >> 29
        }
    }

    // MARK: A binary heap

    private mutating func schedule(_ action: Action, at time: Instant) {
        order += 1
        heap.append(Scheduled(at: time, order: order, action: action))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].isBefore(heap[least]) { least = child }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
