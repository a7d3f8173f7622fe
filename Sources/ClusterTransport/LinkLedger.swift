// The one place that several threads touch: what waits for each peer, and the counters. `send` may be
// called from any thread and must not block, so it only appends to a bounded queue under a short lock;
// the transport's own queue takes the frames out again. When a queue is full the newest frame is refused:
// Raft and gossip repeat themselves, and the frames already queued were sent first.

import ClusterModel
import Synchronization

/// Outgoing queues and counters, safe to use from any thread.
final class LinkLedger: Sendable {
    enum Admission: Hashable {
        /// Queued; when `needsFlush`, nobody has been asked yet to send it.
        case queued(needsFlush: Bool)
        case noLink
        case queueFull
    }

    private struct Outbox {
        var frames: [Frame] = []
        var head = 0
        var queuedBytes = 0
        var isFlushScheduled = false
        var version: UInt16?

        var waiting: Int { frames.count - head }

        mutating func clear() {
            frames = []
            head = 0
            queuedBytes = 0
            isFlushScheduled = false
        }
    }

    private struct State {
        var outboxes: [NodeID: Outbox] = [:]
        var counters = TransportStatistics()
    }

    private let state = Mutex(State())
    private let maxQueuedBytes: Int

    init(maxQueuedBytes: Int) { self.maxQueuedBytes = maxQueuedBytes }

    func setPeers(_ nodes: [NodeID]) {
        state.withLock { state in
            let kept = Set(nodes)
            state.outboxes = state.outboxes.filter { kept.contains($0.key) }
            for node in nodes where state.outboxes[node] == nil { state.outboxes[node] = Outbox() }
        }
    }

    func enqueue(_ frame: Frame, to node: NodeID) -> Admission {
        state.withLock { state in
            guard var outbox = state.outboxes[node], outbox.version != nil else {
                state.counters.refusedWithoutLink += 1
                return .noLink
            }
            guard outbox.queuedBytes + frame.encodedBytes <= maxQueuedBytes else {
                state.counters.refusedQueueFull += 1
                return .queueFull
            }
            // Taken out of the dictionary while it changes, so that its array isn't copied.
            state.outboxes[node] = nil
            outbox.frames.append(frame)
            outbox.queuedBytes += frame.encodedBytes
            let needsFlush = !outbox.isFlushScheduled
            outbox.isFlushScheduled = true
            state.outboxes[node] = outbox
            return .queued(needsFlush: needsFlush)
        }
    }

    /// The asked-for flush begins: a frame queued from now on asks anew.
    func flushBegins(for node: NodeID) {
        state.withLock { $0.outboxes[node]?.isFlushScheduled = false }
    }

    /// Takes frames out in order and encodes them: at least one if any waits, and no further one once
    /// `limit` bytes are reached.
    func takeEncoded(for node: NodeID, limit: Int) -> [UInt8] {
        let frames: [Frame] = state.withLock { state in
            guard var outbox = state.outboxes[node], outbox.waiting > 0 else { return [] }
            state.outboxes[node] = nil
            var bytes = 0
            var end = outbox.head
            while end < outbox.frames.count, bytes < limit {
                bytes += outbox.frames[end].encodedBytes
                end += 1
            }
            let taken = Array(outbox.frames[outbox.head..<end])
            // Emptied places keep no payload alive while they wait for the array to be trimmed.
            for index in outbox.head..<end { outbox.frames[index].payload = [] }
            outbox.head = end
            if outbox.waiting == 0 {
                outbox.frames.removeAll(keepingCapacity: outbox.frames.capacity <= LinkLedger.keptFrames)
                outbox.head = 0
            } else if outbox.head > outbox.frames.count / 2 {
                outbox.frames.removeSubrange(0..<outbox.head)
                outbox.head = 0
            }
            outbox.queuedBytes -= bytes
            state.outboxes[node] = outbox
            state.counters.framesSent += UInt64(taken.count)
            state.counters.bytesSent += UInt64(bytes)
            return taken
        }
        var encoded: [UInt8] = []
        for frame in frames { frame.encode(into: &encoded) }
        return encoded
    }

    func linkIsUp(_ node: NodeID, version: UInt16) {
        state.withLock { state in
            state.outboxes[node]?.clear()
            state.outboxes[node]?.version = version
        }
    }

    func linkIsDown(_ node: NodeID) {
        state.withLock { state in
            guard let outbox = state.outboxes[node] else { return }
            state.counters.framesLostWithLink += UInt64(outbox.waiting)
            state.outboxes[node] = Outbox()
        }
    }

    func protocolVersion(with node: NodeID) -> UInt16? {
        state.withLock { $0.outboxes[node]?.version }
    }

    func count(_ change: (inout TransportStatistics) -> Void) {
        state.withLock { change(&$0.counters) }
    }

    var statistics: TransportStatistics {
        state.withLock { state in
            var result = state.counters
            result.links = state.outboxes.keys.sorted().compactMap { node in
                state.outboxes[node].map { outbox in
                    LinkStatistics(
                        node: node, isUp: outbox.version != nil, protocolVersion: outbox.version,
                        queuedBytes: outbox.queuedBytes)
                }
            }
            return result
        }
    }

    /// An empty queue keeps room for so many frames at most.
    private static let keptFrames = 1024
}
