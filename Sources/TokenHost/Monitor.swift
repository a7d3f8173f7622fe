import CProcess
import Glibc
import RingLink
import TokenHostLink

// The oldest tool for threads that must sleep until something is true: a monitor (Hoare, 1974), here a mutex
// and a condition of pthreads. The token host uses threads of its own and nothing of Dispatch or Swift
// concurrency, because a thread inside a vendor's module may never come back, and a shared pool would
// starve by it.

/// State that several threads share. `State` need not be Sendable: only one thread at a time sees it.
final class Monitor<State>: @unchecked Sendable {
    // Safe: `state` is read and written only while `mutex` is held.

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: sending State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` alone, then wakes the threads that wait for a change.
    func change<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(condition)
            pthread_mutex_unlock(mutex)
        }
        return body(&state)
    }

    /// Runs `body` alone, without waking anyone.
    func look<Result>(_ body: (State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(state)
    }

    /// Runs `body` alone, again after every change, until it returns something; nil when `end` comes first.
    func wait<Result>(until end: HostInstant? = nil, _ body: (inout State) -> Result?) -> Result? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            guard let end else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            var limit = end.timespec
            if pthread_cond_timedwait(condition, mutex, &limit) == ETIMEDOUT { return body(&state) }
        }
    }
}

/// A point on this machine's monotonic clock (CLOCK_MONOTONIC), for deadlines inside one process.
struct HostInstant: Comparable, Sendable {
    private let nanoseconds: Int64

    static var now: HostInstant {
        var time = Glibc.timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return HostInstant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    var timespec: Glibc.timespec {
        Glibc.timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    }

    /// So many milliseconds later.
    func adding(milliseconds: Int64) -> HostInstant {
        HostInstant(nanoseconds: nanoseconds + milliseconds * 1_000_000)
    }

    /// Milliseconds since `earlier`, never negative.
    func milliseconds(since earlier: HostInstant) -> Int64 {
        max(0, (nanoseconds - earlier.nanoseconds) / 1_000_000)
    }

    static func < (left: HostInstant, right: HostInstant) -> Bool { left.nanoseconds < right.nanoseconds }
}

/// Threads that belong to the token host alone.
enum OwnedThread {
    /// Starts a thread that runs `body` and ends; nobody joins it.
    static func start(_ body: @escaping @Sendable () -> Void) throws(SystemCallError) {
        let result = DetachedThread.start(body)
        guard result == 0 else { throw SystemCallError("pthread_create", code: result) }
    }
}
