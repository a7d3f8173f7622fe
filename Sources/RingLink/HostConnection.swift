internal import CSharedMemory
internal import Glibc
internal import Synchronization

// One client as the host sees it. The client may write anything into the rings at any time, so the host keeps
// its own account of the lanes: a lane that is being served can't be claimed again, and a length is read once
// and checked.

/// A request that was taken from a client's rings.
struct ClaimedLane {
    let connection: HostConnection
    let lane: Int
}

/// A connection whose rings are set up. Claimed from and answered to by any worker.
final class HostConnection: Sendable {
    let number: UInt64
    let peer: RingPeer
    let rings: SharedMemory
    /// Where the client rings when no worker looks.
    let bell: Int32
    private let busy = Atomic<UInt64>(0)
    private let serving = Atomic<Int>(0)
    private let isFaulty = Atomic<Bool>(false)

    init(number: UInt64, peer: RingPeer, rings: SharedMemory, bell: Int32) {
        self.number = number
        self.peer = peer
        self.rings = rings
        self.bell = bell
    }

    deinit { close(bell) }

    /// The client has broken the rules or is gone: it isn't served any more.
    func condemn() { isFaulty.store(true, ordering: .relaxed) }
    var isCondemned: Bool { isFaulty.load(ordering: .relaxed) }

    /// True when there is something to claim.
    func hasWork(limit: Int) -> Bool {
        rings.load64(RingLayout.pending) != 0 && serving.load(ordering: .relaxed) < limit && !isCondemned
    }

    /// Takes one request, if there is one and the client has fewer than `limit` under way.
    func claim(limit: Int) -> Int? {
        while hasWork(limit: limit) {
            let pending = rings.load64(RingLayout.pending)
            guard pending != 0 else { return nil }
            let lane = pending.trailingZeroBitCount
            let bit: UInt64 = 1 << UInt64(lane)
            guard rings.clearBits(RingLayout.pending, bit) & bit != 0 else { continue }
            guard busy.bitwiseOr(bit, ordering: .acquiringAndReleasing).oldValue & bit == 0 else {
                // A lane twice: no client of ours does that.
                condemn()
                return nil
            }
            serving.add(1, ordering: .relaxed)
            return lane
        }
        return nil
    }

    /// Copies a claimed request into `scratch`, which holds the largest one. Nil when the length can't be
    /// true.
    func read(_ lane: Int, into scratch: UnsafeMutableRawBufferPointer) -> UnsafeMutableRawBufferPointer? {
        let length = Int(rings.load32(RingLayout.header(lane) + RingLayout.requestLength))
        guard length <= RingLayout.requestBytes(lane) else { return nil }
        let target = UnsafeMutableRawBufferPointer(rebasing: scratch[0..<length])
        rings.take(RingLayout.request(lane), into: target)
        return target
    }

    /// When the client stops waiting, in nanoseconds of `RingClock`. Whatever it says only concerns itself.
    func deadline(_ lane: Int) -> Int64 {
        Int64(bitPattern: rings.load64(RingLayout.header(lane) + RingLayout.deadline))
    }

    /// Answers a claimed request.
    func reply(_ lane: Int, status: UInt32, _ bytes: UnsafeRawBufferPointer) {
        let header = RingLayout.header(lane)
        var status = status
        var length = bytes.count
        if length > RingLayout.replyBytes(lane) {
            status = ReplyStatus.tooLarge
            length = 0
        }
        rings.put(UnsafeRawBufferPointer(rebasing: bytes[0..<length]), at: RingLayout.reply(lane))
        rings.store32(header + RingLayout.replyStatus, status)
        rings.store32(header + RingLayout.replyLength, UInt32(length))
        serving.subtract(1, ordering: .relaxed)
        busy.bitwiseAnd(~(1 << UInt64(lane)), ordering: .acquiringAndReleasing)
        let state = header + RingLayout.replyState
        if rings.exchange32(state, ReplyState.done) == ReplyState.sleeping {
            CSharedMemory_futex_wake(rings.word(state))
        }
    }
}

/// All connections, and what the workers share.
final class HostShared: Sendable {
    struct Table {
        var connections: [HostConnection] = []
        var nextNumber: UInt64 = 1
    }

    let page: HealthPage
    /// An epoll(7) set of all bells.
    let bells: Int32
    /// A bell of the host's own.
    let ownBell: Int32
    let table = Mutex(Table())
    /// Counts changes of the table.
    let generation = Atomic<Int>(0)
    /// Workers that sleep, or are about to.
    let parked = Atomic<Int>(0)
    let mustStop = Atomic<Bool>(false)

    init(page: HealthPage, bells: Int32, ownBell: Int32) {
        self.page = page
        self.bells = bells
        self.ownBell = ownBell
    }

    deinit {
        close(bells)
        close(ownBell)
    }

    /// Wakes one worker.
    func wakeOne() {
        var one: UInt64 = 1
        _ = write(ownBell, &one, 8)
    }

    func add(_ connection: HostConnection) {
        table.withLock { $0.connections.append(connection) }
        generation.add(1, ordering: .sequentiallyConsistent)
        _ = CSharedMemory_epoll_add(bells, connection.bell)
        // A request may have been there before the bell was in the set.
        wakeOne()
    }

    func remove(_ connection: HostConnection) {
        connection.condemn()
        _ = CSharedMemory_epoll_remove(bells, connection.bell)
        table.withLock { $0.connections.removeAll { $0 === connection } }
        generation.add(1, ordering: .sequentiallyConsistent)
    }
}
