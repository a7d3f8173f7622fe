internal import CSharedMemory
internal import Glibc
internal import Synchronization

// The threads that serve. Whoever finds a request carries it out itself: to hand it to another thread would
// cost more than most operations. At most one idle thread looks at the rings in a loop, for a short while
// after the last request; the health page says so, and when nobody looks, clients ring a bell on which the
// idle threads sleep:
//
//   parked ──bell──▶ looking ──request──▶ serving ──done──▶ looking (or parked, when another one looks)
//     ▲                 └──nothing for a while──▶ parked
//
// A thread says that it stops looking and then looks once more; a client writes its request and then reads
// whether anyone looks. So a request can't fall in between (Dekker's pattern; all these accesses are
// sequentially consistent).

/// What carries requests out. Made on the worker's thread and used there only.
public protocol RingWorker: AnyObject {
    /// Carries one request out.
    /// - Parameters:
    ///   - request: Private memory; wiped afterwards.
    ///   - reply: Empty; receives the reply. Wiped afterwards.
    func serve(
        _ request: UnsafeRawBufferPointer, from client: UInt64, deadline: Int64, into reply: inout [UInt8])
    /// The thread is about to sleep, or to end.
    func rest()
}

/// What a host serves.
public protocol RingService: Sendable {
    /// Whether this process may connect. Called on the host's setup thread.
    func mayConnect(_ peer: RingPeer) -> Bool
    /// A client is there. Called before its first request is served.
    func connected(_ client: UInt64, _ peer: RingPeer)
    /// A client is gone; requests of it may still be under way. Called on the setup thread, and must not
    /// block.
    func disconnected(_ client: UInt64)
    /// A worker for the calling thread.
    func makeWorker() -> any RingWorker
}

/// What a worker is doing, for whoever watches it.
final class WorkerRecord: Sendable {
    /// When the present request was begun, in nanoseconds of `RingClock`; 0 for none.
    let since = Atomic<Int64>(0)
}

/// One thread's loop.
struct HostWorker {
    /// How long an idle thread looks at the rings before it sleeps.
    private static let watchNanoseconds: Int64 = 100_000
    private let shared: HostShared
    private let worker: any RingWorker
    private let record: WorkerRecord
    /// The most requests of one client at once while there are others.
    private let share: Int
    private let all: Int
    private let scratch = UnsafeMutableRawBufferPointer.allocate(
        byteCount: RingLimits.messageBytes, alignment: 16)
    private var connections: [HostConnection] = []
    private var generation = -1
    private var next = 0
    private var isWatching = false

    init(_ shared: HostShared, _ worker: any RingWorker, _ record: WorkerRecord, workers: Int) {
        self.shared = shared
        self.worker = worker
        self.record = record
        share = max(1, workers - 1)
        all = RingLimits.lanes
    }

    /// Serves until the host stops.
    mutating func run() {
        defer {
            worker.rest()
            scratch.deallocate()
            // Pass the news on: a bell wakes one thread.
            shared.wakeOne()
        }
        while !shared.mustStop.load(ordering: .relaxed) {
            if let claimed = claim() {
                stopWatching()
                if hasWork, shared.parked.load(ordering: .sequentiallyConsistent) > 0 { shared.wakeOne() }
                serve(claimed)
            } else if !startWatching() || !watch() {
                park()
            }
        }
        stopWatching()
    }

    // MARK: - Looking

    private var limit: Int { connections.count > 1 ? share : all }

    private mutating func refresh() {
        let present = shared.generation.load(ordering: .sequentiallyConsistent)
        guard present != generation else { return }
        connections = shared.table.withLock { $0.connections }
        generation = present
    }

    /// One client after the other has its turn, so that none can crowd the others out.
    private mutating func claim() -> ClaimedLane? {
        refresh()
        for step in 0..<connections.count {
            let index = (next + step) % connections.count
            if let lane = connections[index].claim(limit: limit) {
                next = index + 1
                return ClaimedLane(connection: connections[index], lane: lane)
            }
        }
        return nil
    }

    private var hasWork: Bool { connections.contains { $0.hasWork(limit: limit) } }

    private mutating func startWatching() -> Bool {
        if !isWatching { isWatching = shared.page.memory.swap32(HealthLayout.watching, 0, 1) }
        return isWatching
    }

    private mutating func stopWatching() {
        guard isWatching else { return }
        isWatching = false
        shared.page.memory.store32(HealthLayout.watching, 0)
    }

    /// Looks for a request for a while; true when there is one.
    private mutating func watch() -> Bool {
        let end = RingClock.now() + Self.watchNanoseconds
        while true {
            for _ in 0..<64 {
                if hasWork { return true }
                CSharedMemory_pause()
            }
            refresh()
            guard RingClock.now() < end, !shared.mustStop.load(ordering: .relaxed) else { break }
            sched_yield()
        }
        stopWatching()
        return false
    }

    /// Sleeps until a bell rings, unless a request has come meanwhile.
    private mutating func park() {
        shared.parked.add(1, ordering: .sequentiallyConsistent)
        defer { shared.parked.subtract(1, ordering: .sequentiallyConsistent) }
        refresh()
        guard !hasWork else { return }
        worker.rest()
        // A parked thread must not keep the memory of clients that are gone.
        connections = []
        generation = -1
        _ = CSharedMemory_epoll_wait(shared.bells, -1)
    }

    // MARK: - Serving

    private mutating func serve(_ claimed: ClaimedLane) {
        let connection = claimed.connection
        let deadline = connection.deadline(claimed.lane)
        guard let request = connection.read(claimed.lane, into: scratch) else { return connection.condemn() }
        defer { if let start = request.baseAddress { explicit_bzero(start, request.count) } }
        let begin = RingClock.now()
        guard begin < deadline else {
            let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
            return connection.reply(claimed.lane, status: ReplyStatus.expired, nothing)
        }
        record.since.store(begin, ordering: .relaxed)
        count(1)
        var reply: [UInt8] = []
        worker.serve(
            UnsafeRawBufferPointer(request), from: connection.number, deadline: deadline, into: &reply)
        let end = RingClock.now()
        record.since.store(0, ordering: .relaxed)
        count(-1)
        learn(end - begin)
        reply.withUnsafeMutableBytes { bytes in
            connection.reply(claimed.lane, status: ReplyStatus.served, UnsafeRawBufferPointer(bytes))
            if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
        }
    }

    private func count(_ change: Int) {
        let memory = shared.page.memory
        while true {
            let old = memory.load32(HealthLayout.outstanding)
            let new = UInt32(clamping: Int(old) + change)
            if memory.swap32(HealthLayout.outstanding, old, new) { return }
        }
    }

    /// A lost update of two threads at once only makes the average a little older.
    private func learn(_ nanoseconds: Int64) {
        let memory = shared.page.memory
        let old = Int64(bitPattern: memory.load64(HealthLayout.service))
        let new = old == 0 ? nanoseconds : old + (nanoseconds - old) / 8
        memory.store64(HealthLayout.service, UInt64(bitPattern: new))
    }
}
