import ClusterModel
import TokenHostLink

// A fixed number of threads, each with a session of its own, take requests from one bounded queue. A thread
// that doesn't come back from the module can't be stopped; it stays counted, another takes its place, and
// when too many are lost nobody is replaced any more: the supervisor will replace the whole process.

/// The session threads of a token host. The methods may be called from any thread.
final class SessionPool: Sendable {
    /// What a thread is doing.
    private struct Worker {
        var job: EndpointJob?
        var since: HostInstant
        var isStuck = false
    }

    private struct State {
        var queue: [EndpointJob] = []
        var workers: [Int: Worker] = [:]
        var nextWorker = 0
        var mustStop = false
    }

    /// Whether a thread goes on.
    private enum Assignment {
        case job(EndpointJob)
        case leave
    }

    private let shared = Monitor<State>(State())
    private let threads: Int
    private let queueBound: Int
    private let timing: HostTiming
    private let custodian: Custodian
    private let inbox: HostInbox
    private let log: HostLog

    init(
        threads: Int, queueBound: Int, timing: HostTiming, custodian: Custodian, inbox: HostInbox,
        log: HostLog
    ) {
        self.threads = threads
        self.queueBound = queueBound
        self.timing = timing
        self.custodian = custodian
        self.inbox = inbox
        self.log = log
    }

    /// Starts the threads. Once.
    func start() throws(SystemCallError) {
        for _ in 0..<threads { try startWorker() }
    }

    /// Queues a request; false when the queue is full or the pool is stopping.
    func submit(_ job: EndpointJob) -> Bool {
        shared.change { state in
            guard state.queue.count < queueBound, !state.mustStop else { return false }
            state.queue.append(job)
            return true
        }
    }

    /// Finds threads that are past their deadline and puts others in their place, as long as no more than
    /// twice the configured number exist.
    func replaceStuck(now: HostInstant) {
        let missing = shared.change { state in
            for (number, worker) in state.workers {
                guard let job = worker.job, !worker.isStuck else { continue }
                let limit = job.deadline.adding(milliseconds: timing.stuckMilliseconds)
                if now > limit { state.workers[number]?.isStuck = true }
            }
            let able = state.workers.values.count { !$0.isStuck }
            return state.mustStop ? 0 : min(threads - able, 2 * threads - state.workers.count)
        }
        for _ in 0..<max(0, missing) {
            log.line("a thread is stuck in the module; another takes its place")
            do {
                try startWorker()
            } catch {
                log.line("no thread could be started: \(error)")
            }
        }
    }

    /// How busy the pool is, and the age in milliseconds of the request that has run longest.
    func vitals(now: HostInstant) -> (busy: Int, stuck: Int, queued: Int, longestMilliseconds: Int64) {
        shared.look { state in
            let busy = state.workers.values.filter { $0.job != nil }
            return (
                busy.count, busy.count { $0.isStuck }, state.queue.count,
                busy.map { now.milliseconds(since: $0.since) }.max() ?? 0
            )
        }
    }

    /// Refuses new requests, drops the waiting ones and lets the threads end. Returns what was dropped.
    func stop() -> [EndpointJob] {
        shared.change { state in
            state.mustStop = true
            defer { state.queue = [] }
            return state.queue
        }
    }

    /// Waits until all threads have closed their sessions and ended; false when `end` comes first.
    func waitUntilStopped(_ end: HostInstant) -> Bool {
        shared.wait(until: end) { $0.workers.isEmpty ? true : nil } ?? false
    }

    // MARK: - The threads

    private func startWorker() throws(SystemCallError) {
        let number = shared.change { state in
            defer { state.nextWorker += 1 }
            state.workers[state.nextWorker] = Worker(since: .now)
            return state.nextWorker
        }
        do throws(SystemCallError) {
            try OwnedThread.start { [self] in
                work(number)
                shared.change { $0.workers[number] = nil }
            }
        } catch {
            shared.change { $0.workers[number] = nil }
            throw error
        }
    }

    private func work(_ number: Int) {
        let worker = SessionWorker(custodian: custodian)
        while true {
            let assignment: Assignment? = shared.wait { state in
                if state.mustStop { return .leave }
                // A thread that was given up and came back is one too many.
                let able = state.workers.values.count { !$0.isStuck }
                if state.workers[number]?.isStuck == true {
                    if able >= threads { return .leave }
                    state.workers[number]?.isStuck = false
                }
                guard !state.queue.isEmpty else { return nil }
                let job = state.queue.removeFirst()
                state.workers[number]?.job = job
                state.workers[number]?.since = .now
                return .job(job)
            }
            guard case .job(let job)? = assignment else { return worker.closeSession() }
            let result = worker.run(job)
            shared.change { $0.workers[number]?.job = nil }
            inbox.post(.finished(number: job.number, result: result))
        }
    }
}

/// One thread's session, and what to do when it has gone stale.
private final class SessionWorker {
    /// How often a request is tried: on the session at hand, on a new one, after a restored login.
    private static let attempts = 3

    private let custodian: Custodian
    private var performer: (any EndpointPerformer)?

    init(custodian: Custodian) { self.custodian = custodian }

    /// Closes the session.
    func closeSession() { performer = nil }

    /// Carries a request out; again when the session or the login turns out to be gone.
    func run(_ job: EndpointJob) -> Result<EndpointReply, EndpointFailure> {
        var failure = EndpointFailure.waitedTooLong
        for _ in 0..<Self.attempts where HostInstant.now < job.deadline {
            let login = custodian.login()
            do throws(EndpointFailure) {
                try custodian.checkToken()
                if !login.stands { try custodian.restoreLogin(newerThan: login.number, until: job.deadline) }
            } catch {
                return .failure(error)
            }
            do throws(EndpointFailure) {
                return .success(try attempt(job.request))
            } catch {
                failure = error
            }
            guard prepareForAnotherAttempt(job, after: failure, login: login.number) else { break }
        }
        return .failure(failure)
    }

    /// False when the failure is final. What is wrong with a key or a request says nothing against the
    /// session, so the session stays.
    private func prepareForAnotherAttempt(
        _ job: EndpointJob, after failure: EndpointFailure, login: Int
    ) -> Bool {
        if FailureMeaning.isDeviceTrouble(failure) {
            performer = nil
            custodian.lookSoon()
            // It may have been carried out all the same; only what changes nothing is repeated.
            return !job.request.mayHaveEffect
        }
        guard FailureMeaning.isStaleSession(failure) else { return false }
        performer = nil
        do throws(EndpointFailure) {
            try custodian.restoreLogin(newerThan: login, until: job.deadline)
            return true
        } catch {
            return false
        }
    }

    private func attempt(_ request: EndpointRequest) throws(EndpointFailure) -> EndpointReply {
        let session = try session()
        try checkLogin(session)
        do throws(EndpointFailure) {
            let reply = try session.perform(request)
            // Without a login keys are hidden, not refused: what wasn't found may be there.
            if reply.mayOmit { try checkLogin(session) }
            return reply
        } catch {
            if error.kind == .keyNotFound { try checkLogin(session) }
            throw error
        }
    }

    private func checkLogin(_ session: any EndpointPerformer) throws(EndpointFailure) {
        guard try session.isLoggedIn() else {
            throw EndpointFailure(.notLoggedIn, detail: "the session has lost its login")
        }
    }

    private func session() throws(EndpointFailure) -> any EndpointPerformer {
        if let performer { return performer }
        let opened = try custodian.makePerformer()
        performer = opened
        return opened
    }
}

extension EndpointReply {
    /// True for answers that would be smaller if the token hid something.
    fileprivate var mayOmit: Bool {
        switch self {
        case .objects, .destroyed: true
        default: false
        }
    }
}
