import ClusterModel
import NodeCore
import Raft

// Virtual time is a heap of what is still to happen: the simulator jumps from one happening to the next and
// never waits. Happenings at the same microsecond keep the order in which they were planned, so that a run
// follows from its seed alone.

/// Microseconds of virtual time since the run began.
typealias VirtualTime = Int64

/// Something that will happen. What is frequent has a case; the rest is an action.
enum Happening {
    case tick(node: Int, life: Int)
    case event(NodeEvent, node: Int, life: Int)
    case message(PeerMessage, from: Int, to: Int, generation: Int)
    case logWritten(node: Int, life: Int)
    case rowsWritten(node: Int, life: Int)
    case action(String, (Simulation) -> Void)

    /// The node whose process has to run for it, if any.
    var node: Int? {
        switch self {
        case .tick(let node, _), .event(_, let node, _), .logWritten(let node, _), .rowsWritten(let node, _):
            node
        case .message(_, _, let to, _): to
        case .action: nil
        }
    }
}

/// A binary heap, earliest first. Happenings stay where they were put, so that only small items are moved.
struct EventHeap {
    private struct Item {
        var time: VirtualTime
        var order: UInt64
        var slot: Int

        func isBefore(_ other: Item) -> Bool {
            time != other.time ? time < other.time : order < other.order
        }
    }

    private var items: [Item] = []
    private var slots: [Happening?] = []
    private var freeSlots: [Int] = []
    private var planned: UInt64 = 0

    mutating func push(_ happening: Happening, at time: VirtualTime) {
        planned += 1
        let slot = freeSlots.popLast() ?? slots.count
        if slot == slots.count { slots.append(happening) } else { slots[slot] = happening }
        let item = Item(time: time, order: planned, slot: slot)
        items.append(item)
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard item.isBefore(items[parent]) else { break }
            items[child] = items[parent]
            child = parent
        }
        items[child] = item
    }

    var nextTime: VirtualTime? { items.first?.time }

    mutating func pop() -> (time: VirtualTime, happening: Happening)? {
        guard let first = items.first, let last = items.popLast() else { return nil }
        if !items.isEmpty { sink(last) }
        let happening = slots[first.slot].take()
        freeSlots.append(first.slot)
        return happening.map { (first.time, $0) }
    }

    /// Puts an item where the first one was, and further down until the order is right.
    private mutating func sink(_ item: Item) {
        var parent = 0
        while true {
            var least = 2 * parent + 1
            guard least < items.count else { break }
            if least + 1 < items.count, items[least + 1].isBefore(items[least]) { least += 1 }
            guard items[least].isBefore(item) else { break }
            items[parent] = items[least]
            parent = least
        }
        items[parent] = item
    }
}

/// The one source of chance in a run.
struct Dice {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func next() -> UInt64 { generator.next() }

    /// A number from 0 up to but excluding `count`, which must be positive.
    mutating func below(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }

    mutating func between(_ low: Int64, _ high: Int64) -> Int64 {
        guard high > low else { return low }
        return low + Int64(generator.next() % UInt64(high - low + 1))
    }

    mutating func chance(_ probability: Double) -> Bool {
        guard probability > 0 else { return false }
        return Double(generator.next() >> 11) * 0x1p-53 < probability
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
