internal import CSharedMemory
internal import Glibc
internal import Synchronization

// The application's side. It is a guest in a foreign process: no thread, no Dispatch, no Foundation, plain
// blocking calls with a deadline. A call takes a free lane, writes its request, and looks at the reply's word
// for as long as that is likely to be worth it (and no longer than other threads can spare the processor),
// then sleeps on it (futex(2)).

/// A connection to one host, for any number of threads. It ends when the last reference goes away.
public final class RingClient: Sendable {
    private let rings: SharedMemory
    private let page: HealthPage
    private let socket: Int32
    private let bell: Int32
    private let guardPage: ForkGuard
    private let free = Atomic<UInt64>(.max)
    private let abandoned = Atomic<UInt64>(0)
    private let isGone = Atomic<Bool>(false)
    private let typical = Atomic<Int64>(0)

    /// Connects.
    /// - Parameters:
    ///   - path: The host's socket.
    ///   - deadline: When to give up, in nanoseconds of `RingClock`.
    public init(path: String, deadline: Int64) throws(RingError) {
        let end = min(deadline, RingClock.now() &+ RingLimits.setupNanoseconds)
        guard let guardPage = ForkGuard() else { throw .unreachable }
        let setup = try ClientSetup.connect(path, until: end)
        rings = setup.rings
        page = setup.health
        socket = setup.socket
        bell = setup.bell
        self.guardPage = guardPage
    }

    deinit {
        close(socket)
        close(bell)
    }

    /// What the host says of itself.
    public var health: RingHealth { page.health }

    /// True when the host has gone, or this process is a child of the one that connected: connect anew.
    public var isLost: Bool { isGone.load(ordering: .relaxed) || !guardPage.isParent }

    /// Looks whether the host is still there: one system call.
    public func check() {
        if SetupSocket.isOver(socket) { isGone.store(true, ordering: .relaxed) }
    }

    /// Sends a request and waits for its reply.
    public func call(_ request: [UInt8], deadline: Int64) throws(RingError) -> [UInt8] {
        let call = try begin(request, deadline: deadline)
        guard RingCall.wait(for: call, until: deadline) else {
            call.abandon()
            throw .deadlineExceeded
        }
        return try call.take()
    }

    /// Sends a request.
    /// - Parameters:
    ///   - replyBytes: The most bytes of the reply that is expected.
    ///   - deadline: When nobody waits any more, in nanoseconds of `RingClock`: the host doesn't begin later.
    public func begin(
        _ request: [UInt8], replyBytes: Int = RingLimits.smallReplyBytes, deadline: Int64
    ) throws(RingError) -> RingCall {
        guard guardPage.isParent else { throw .forked }
        guard !isGone.load(ordering: .relaxed) else { throw .lost }
        guard request.count <= RingLimits.messageBytes, replyBytes <= RingLimits.messageBytes else {
            throw .tooLarge
        }
        let isSmall =
            request.count <= RingLimits.smallRequestBytes && replyBytes <= RingLimits.smallReplyBytes
        let lane = try takeLane(isSmall: isSmall, deadline: deadline)
        let header = RingLayout.header(lane)
        request.withUnsafeBytes { rings.put($0, at: RingLayout.request(lane)) }
        rings.store32(header + RingLayout.requestLength, UInt32(request.count))
        rings.store64(header + RingLayout.deadline, UInt64(bitPattern: deadline))
        rings.store32(header + RingLayout.replyState, ReplyState.awaited)
        _ = rings.setBits(RingLayout.pending, 1 << UInt64(lane))
        if !page.isWatched { ring() }
        return RingCall(client: self, lane: lane)
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    // MARK: - Lanes

    private func takeLane(isSmall: Bool, deadline: Int64) throws(RingError) -> Int {
        while true {
            if abandoned.load(ordering: .relaxed) != 0 { reclaim() }
            var present = free.load(ordering: .relaxed)
            while true {
                let small = present & ~RingLayout.largeMask
                let candidates = isSmall ? (small != 0 ? small : present) : present & RingLayout.largeMask
                guard candidates != 0 else { break }
                let lane = candidates.trailingZeroBitCount
                let (done, seen) = free.weakCompareExchange(
                    expected: present, desired: present & ~(1 << UInt64(lane)), ordering: .acquiring)
                if done { return lane }
                present = seen
            }
            guard RingClock.now() < deadline else { throw .busy }
            usleep(50)
            if isGone.load(ordering: .relaxed) { throw .lost }
        }
    }

    /// Takes lanes back whose replies have come after all.
    private func reclaim() {
        var lanes = abandoned.load(ordering: .relaxed)
        while lanes != 0 {
            let lane = lanes.trailingZeroBitCount
            let bit: UInt64 = 1 << UInt64(lane)
            lanes &= ~bit
            guard isDone(lane) else { continue }
            // Only one thread takes it.
            if abandoned.bitwiseAnd(~bit, ordering: .acquiring).oldValue & bit != 0 { giveBack(lane) }
        }
    }

    private func giveBack(_ lane: Int) { free.bitwiseOr(1 << UInt64(lane), ordering: .releasing) }

    fileprivate func isDone(_ lane: Int) -> Bool {
        let state = rings.load32(RingLayout.header(lane) + RingLayout.replyState)
        return state != ReplyState.awaited && state != ReplyState.sleeping
    }

    fileprivate func abandon(_ lane: Int) {
        guard guardPage.isParent else { return }
        abandoned.bitwiseOr(1 << UInt64(lane), ordering: .releasing)
    }

    fileprivate func take(_ lane: Int) throws(RingError) -> [UInt8] {
        guard guardPage.isParent else { throw .forked }
        guard isDone(lane) else { throw .lost }
        defer { giveBack(lane) }
        let header = RingLayout.header(lane)
        switch rings.load32(header + RingLayout.replyStatus) {
        case ReplyStatus.served: break
        case ReplyStatus.expired: throw .expired
        default: throw .tooLarge
        }
        let length = Int(rings.load32(header + RingLayout.replyLength))
        guard length <= RingLayout.replyBytes(lane) else { throw .tooLarge }
        return [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            rings.take(
                RingLayout.reply(lane),
                into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: length))
            count = length
        }
    }

    // MARK: - Waiting

    /// How long a sleeping thread goes without a look whether the host still lives.
    private static let sliceNanoseconds: Int64 = 10_000_000
    /// Replies that take longer are not looked for in a loop from the start.
    private static let worthNanoseconds: Int64 = 400_000
    /// Replies that take longer are not looked for in a loop at all: a wake-up is cheap beside them.
    private static let napNanoseconds: Int64 = 2_000_000
    /// How late the kernel may end a nap (its timer slack).
    private static let slackNanoseconds: Int64 = 60_000
    /// How long a thread looks for a reply before it sleeps.
    private static let spinNanoseconds: Int64 = 250_000
    /// Threads of this process that are looking for replies in a loop.
    private static let spinners = Atomic<Int>(0)
    private static let mostSpinners = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) - 1)

    /// Waits for one lane; false when neither a reply nor the host's end came in time.
    fileprivate func wait(_ lane: Int, until end: Int64) -> Bool {
        guard guardPage.isParent else { return true }
        let begin = RingClock.now()
        defer { learn(RingClock.now() - begin) }
        let word = rings.word(RingLayout.header(lane) + RingLayout.replyState)
        let expected = typical.load(ordering: .relaxed)
        if expected >= Self.worthNanoseconds, expected < Self.napNanoseconds {
            // The reply is some way off: a nap for most of it, and awake at the end.
            nap(lane, word, min(expected - expected / 8 - Self.slackNanoseconds, end - begin))
        }
        if expected < Self.napNanoseconds, spin(lane, from: RingClock.now(), until: end) { return true }
        while !isDone(lane) {
            let left = end - RingClock.now()
            guard left > 0 else { return false }
            if CSharedMemory_swap32(word, ReplyState.awaited, ReplyState.sleeping) != 0
                || CSharedMemory_load32(word) == ReplyState.sleeping
            {
                CSharedMemory_futex_wait(word, ReplyState.sleeping, min(left, Self.sliceNanoseconds))
            }
            if isDone(lane) { return true }
            check()
            if isGone.load(ordering: .relaxed) { return true }
        }
        return true
    }

    private func nap(_ lane: Int, _ word: UnsafeMutableRawPointer, _ nanoseconds: Int64) {
        guard nanoseconds > 0, CSharedMemory_swap32(word, ReplyState.awaited, ReplyState.sleeping) != 0 else {
            return
        }
        CSharedMemory_futex_wait(word, ReplyState.sleeping, nanoseconds)
        // Awake: the host need not wake us. Where the reply came meanwhile, nothing changes.
        _ = CSharedMemory_swap32(word, ReplyState.sleeping, ReplyState.awaited)
    }

    private func spin(_ lane: Int, from begin: Int64, until end: Int64) -> Bool {
        let others = Self.spinners.add(1, ordering: .relaxed).oldValue
        defer { Self.spinners.subtract(1, ordering: .relaxed) }
        guard others < Self.mostSpinners else { return isDone(lane) }
        let limit = min(end, begin + Self.spinNanoseconds)
        while true {
            for _ in 0..<64 {
                if isDone(lane) { return true }
                CSharedMemory_pause()
            }
            guard RingClock.now() < limit else { return false }
            // Where threads outnumber processors, the one that does the work may be waiting for ours.
            sched_yield()
        }
    }

    private func learn(_ nanoseconds: Int64) {
        let old = typical.load(ordering: .relaxed)
        typical.store(old + (nanoseconds - old) / 8, ordering: .relaxed)
    }

    /// True when a reply is there or will never come.
    fileprivate func isOver(_ lane: Int) -> Bool {
        !guardPage.isParent || isDone(lane) || isGone.load(ordering: .relaxed)
    }
}

/// A request on its way. Used by one thread at a time.
public final class RingCall: Sendable {
    private let client: RingClient
    private let lane: Int
    private let isOpen = Atomic<Bool>(true)

    init(client: RingClient, lane: Int) {
        self.client = client
        self.lane = lane
    }

    deinit { abandon() }

    /// Waits until the reply is there or the host is gone; false when `end` comes first (nanoseconds of
    /// `RingClock`).
    public static func wait(for call: RingCall, until end: Int64) -> Bool {
        call.client.wait(call.lane, until: end)
    }

    /// Waits until one of the replies is there or its host is gone.
    /// - Returns: Its position; nil when `end` comes first.
    public static func wait(forAnyOf calls: [RingCall], until end: Int64) -> Int? {
        if calls.count == 1 { return wait(for: calls[0], until: end) ? 0 : nil }
        var looks = 0
        while true {
            if let position = calls.firstIndex(where: { $0.client.isOver($0.lane) }) { return position }
            guard RingClock.now() < end else { return nil }
            // Two at once are rare (a host was slow), so a coarse sleep does.
            usleep(100)
            looks += 1
            if looks % 64 == 0 { for call in calls { call.client.check() } }
        }
    }

    /// The reply, once a wait has said that the call is over.
    /// - Throws: `RingError`; `.lost` when there is no reply.
    public func take() throws(RingError) -> [UInt8] {
        guard isOpen.exchange(false, ordering: .relaxed) else { throw .lost }
        do throws(RingError) {
            return try client.take(lane)
        } catch {
            if error == .lost { client.abandon(lane) }
            throw error
        }
    }

    /// The reply is no longer wanted.
    public func abandon() {
        if isOpen.exchange(false, ordering: .relaxed) { client.abandon(lane) }
    }
}

/// Tells a process from its children: a page that the kernel empties in a child (madvise(2),
/// MADV_WIPEONFORK).
// Sendable: the page is written once, in `init`.
private final class ForkGuard: @unchecked Sendable {
    private static let bytes = 4_096
    private let page: UnsafeMutableRawPointer

    init?() {
        guard
            let mapped = mmap(
                nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            mapped != MAP_FAILED
        else { return nil }
        page = mapped
        guard CSharedMemory_wipe_on_fork(page, Self.bytes) == 0 else {
            munmap(page, Self.bytes)
            return nil
        }
        CSharedMemory_store32(page, 1)
    }

    deinit { munmap(page, Self.bytes) }

    var isParent: Bool { CSharedMemory_load32(page) == 1 }
}
