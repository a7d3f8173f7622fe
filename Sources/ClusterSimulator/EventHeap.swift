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

/// A binary heap, earliest first.
struct EventHeap {
    private struct Item {
        var time: VirtualTime
        var order: UInt64
        var happening: Happening

        func isBefore(_ other: Item) -> Bool {
            time != other.time ? time < other.time : order < other.order
        }
    }

    private var items: [Item] = []
    private var planned: UInt64 = 0

    mutating func push(_ happening: Happening, at time: VirtualTime) {
        planned += 1
        items.append(Item(time: time, order: planned, happening: happening))
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard items[child].isBefore(items[parent]) else { break }
            items.swapAt(child, parent)
            child = parent
        }
    }

    var nextTime: VirtualTime? { items.first?.time }

    mutating func pop() -> (time: VirtualTime, happening: Happening)? {
        guard !items.isEmpty else { return nil }
        items.swapAt(0, items.count - 1)
        let first = items.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count {
                if items[child].isBefore(items[least]) { least = child }
            }
            guard least != parent else { break }
            items.swapAt(parent, least)
            parent = least
        }
        return (first.time, first.happening)
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
