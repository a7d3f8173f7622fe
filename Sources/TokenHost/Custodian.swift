import ClusterModel
import PKCS11
import TokenHostLink

// One thread looks after the module: loads it, finds the token, watches it, logs in and restores a lost
// login. What concerns the token as a whole happens here, one thing after the other, so two logins can't
// race and a PIN can't be tried twice at once. Session threads ask it for sessions and for a restored login.
//
//   opening ──found──▶ serving ──gone──▶ missing ──found again──▶ serving
//      │  ▲                                 └── gone too long ──▶ a fresh process is asked for
//      └──┘ retried with growing pauses

/// Looks after one module and token. The methods may be called from any thread.
final class Custodian: Sendable {
    /// The most requests that wait for the custodian.
    private static let queueBound = 64

    private struct State {
        var jobs: [EndpointJob] = []
        var tokenState = TokenHostState.starting
        var isTokenThere = false
        var isLoggedIn = false
        /// Counts logins, so that a thread can tell whether one happened since it looked.
        var loginNumber = 0
        /// Counts wishes and answers for a restored login.
        var restoresWanted = 0
        var restoresAnswered = 0
        var restoreFailure: EndpointFailure?
        var busySince: HostInstant?
        /// `busySince` is about loading the module and finding the token.
        var isOpening = false
        var mustLook = false
        var mustStop = false
        var isStopped = false
    }

    private let shared = Monitor<State>(State())
    private let backend: any EndpointBackend
    private let timing: HostTiming
    private let log: HostLog
    private let inbox: HostInbox

    init(backend: any EndpointBackend, timing: HostTiming, log: HostLog, inbox: HostInbox) {
        self.backend = backend
        self.timing = timing
        self.log = log
        self.inbox = inbox
    }

    /// Starts the thread. Once.
    func start(keeper: CredentialKeeper) throws(SystemCallError) {
        try OwnedThread.start { [self] in
            var watch = TokenWatch(keeper: keeper)
            run(&watch)
        }
    }

    // MARK: - For other threads

    /// Queues a request of the kind that concerns the token as a whole; false when too many wait.
    func submit(_ job: EndpointJob) -> Bool {
        shared.change { state in
            guard state.jobs.count < Self.queueBound, !state.mustStop else { return false }
            state.jobs.append(job)
            return true
        }
    }

    /// Asks the thread to close everything and end.
    func stop() { shared.change { $0.mustStop = true } }

    /// Waits until it has; false when `end` comes first.
    func waitUntilStopped(_ end: HostInstant) -> Bool {
        shared.wait(until: end) { $0.isStopped ? true : nil } ?? false
    }

    /// Asks for a look at the token now, because a call to it failed.
    func lookSoon() { shared.change { $0.mustLook = true } }

    /// How long the thread has been at its present work: a login and the like, or opening the token.
    func busyMilliseconds(now: HostInstant) -> (working: Int64, opening: Int64) {
        shared.look { state in
            guard let since = state.busySince else { return (0, 0) }
            let age = now.milliseconds(since: since)
            return state.isOpening ? (0, age) : (age, 0)
        }
    }

    /// - Throws: why there is no token, when there is none.
    func checkToken() throws(EndpointFailure) {
        if let absence = shared.look({ $0.isTokenThere ? nil : Self.absence($0.tokenState) }) {
            throw absence
        }
    }

    /// A session for the calling thread.
    /// - Throws: why there is none.
    func makePerformer() throws(EndpointFailure) -> any EndpointPerformer {
        try checkToken()
        return try backend.makePerformer()
    }

    /// The token for applications' sessions.
    /// - Throws: why there is none.
    func dataToken() throws(EndpointFailure) -> Token {
        try checkToken()
        guard let token = backend.dataToken() else { throw Self.absence(.starting) }
        return token
    }

    /// Whether a login stands, and the number of the last one.
    func login() -> (number: Int, stands: Bool) { shared.look { ($0.loginNumber, $0.isLoggedIn) } }

    /// Blocks until a login newer than `number` stands, at most until `end`.
    /// - Throws: why the login wasn't restored.
    func restoreLogin(newerThan number: Int, until end: HostInstant) throws(EndpointFailure) {
        enum Wish {
            case granted
            case ticket(Int)
        }
        let wish: Wish = shared.change { state in
            if state.isLoggedIn && state.loginNumber > number { return .granted }
            state.restoresWanted += 1
            return .ticket(state.restoresWanted)
        }
        guard case .ticket(let ticket) = wish else { return }
        let answer: Result<Void, EndpointFailure>? = shared.wait(until: end) { state in
            if state.isLoggedIn && state.loginNumber > number { return .success(()) }
            guard state.restoresAnswered >= ticket else { return nil }
            return state.restoreFailure.map { .failure($0) } ?? .success(())
        }
        guard let answer else {
            throw EndpointFailure(.deadlineExceeded, detail: "the lost login wasn't restored in time")
        }
        try answer.get()
    }

    private static func absence(_ state: TokenHostState) -> EndpointFailure {
        if case .failed(let failure) = state { return failure }
        return EndpointFailure(.tokenNotFound, detail: "the token is being looked for")
    }

    // MARK: - The thread

    /// What the thread alone knows.
    private struct TokenWatch {
        var keeper: CredentialKeeper
        var nextLook = HostInstant.now
        var failuresInARow = 0
        var goneSince: HostInstant?
        var hasServed = false
        var description: TokenDescription?
        /// A login once succeeded, so a lost one is restored.
        var wantsLogin = false
        /// Why a fresh process shall take over once the present duty is answered.
        var restartReason: String?
    }

    private enum Duty {
        case stop
        case job(EndpointJob)
        case restore(tickets: Int)
        case look
    }

    private func run(_ watch: inout TokenWatch) {
        while true {
            let duty: Duty? = shared.wait(until: watch.nextLook) { state in
                if state.mustStop { return .stop }
                let duty: Duty
                if state.restoresWanted > state.restoresAnswered {
                    duty = .restore(tickets: state.restoresWanted)
                } else if !state.jobs.isEmpty {
                    duty = .job(state.jobs.removeFirst())
                } else if state.mustLook || watch.nextLook <= HostInstant.now {
                    state.mustLook = false
                    duty = .look
                } else {
                    return nil
                }
                state.busySince = HostInstant.now
                return duty
            }
            switch duty {
            case .stop: return close()
            case .job(let job): carryOut(job, &watch)
            case .restore(let tickets): restore(tickets, &watch)
            case .look: look(&watch)
            case nil: break
            }
            shared.change { $0.busySince = nil }
            if let reason = watch.restartReason {
                watch.restartReason = nil
                inbox.post(.restartWanted(reason: reason))
            }
        }
    }

    private func close() {
        shared.change {
            $0.isTokenThere = false
            $0.busySince = HostInstant.now
        }
        backend.close()
        shared.change {
            $0.busySince = nil
            $0.isStopped = true
        }
    }

    private func carryOut(_ job: EndpointJob, _ watch: inout TokenWatch) {
        guard HostInstant.now < job.deadline else {
            return inbox.post(.finished(number: job.number, result: .failure(.waitedTooLong)))
        }
        var result: Result<EndpointReply, EndpointFailure>
        do throws(EndpointFailure) {
            switch job.request {
            case .inspect:
                result = .success(.token(try inspect(&watch)))
            case .logIn:
                try logIn(&watch)
                result = .success(.done)
            case .forgetRejectedPIN:
                try watch.keeper.forget()
                log.line("an operator allowed the PIN to be tried again")
                result = .success(.done)
            default:
                result = .failure(EndpointFailure(.invalidRequest, detail: "not a request to the token"))
            }
        } catch {
            result = .failure(error)
        }
        publish(&watch)
        inbox.post(.finished(number: job.number, result: result))
    }

    private func inspect(_ watch: inout TokenWatch) throws(EndpointFailure) -> TokenDescription {
        if watch.description == nil { look(&watch) }
        guard watch.description != nil else { throw currentAbsence() }
        do throws(EndpointFailure) {
            let description = try found(try backend.inspect(), &watch)
            if watch.wantsLogin && !description.isLoggedIn { watch.nextLook = .now }
            return description
        } catch {
            failed(error, &watch)
            throw error
        }
    }

    // MARK: - Login

    private func logIn(_ watch: inout TokenWatch) throws(EndpointFailure) {
        if watch.description == nil { look(&watch) }
        guard watch.description != nil else { throw currentAbsence() }
        // Asking again while logged in sends no PIN.
        if shared.look({ $0.isLoggedIn }), let present = try? backend.inspect(), present.isLoggedIn { return }
        try sendPIN(onlyAccepted: false, &watch)
        watch.wantsLogin = true
        log.line("logged in")
    }

    private func sendPIN(onlyAccepted: Bool, _ watch: inout TokenWatch) throws(EndpointFailure) {
        let backend = backend
        do throws(EndpointFailure) {
            try watch.keeper.logIn(onlyAccepted: onlyAccepted) { pin throws(EndpointFailure) in
                try backend.logIn(pin)
            }
        } catch {
            // Somebody else's login is as good, but says nothing about this PIN: the record stays as it was.
            if !FailureMeaning.isAlreadyLoggedIn(error) {
                shared.change { $0.isLoggedIn = false }
                if error.kind == .credentialRejected { log.line(error.detail) }
                // Some modules keep what they once misread until they are unloaded: SoftHSM does when another
                // process rewrites the token's file under its eyes. Nobody is logged in, so nothing is lost.
                if FailureMeaning.needsFreshModule(error) {
                    watch.restartReason = "the login failed: \(error.detail)"
                }
                throw error
            }
        }
        shared.change {
            $0.isLoggedIn = true
            $0.loginNumber += 1
        }
    }

    /// Answers session threads that found their login gone.
    private func restore(_ tickets: Int, _ watch: inout TokenWatch) {
        var failure: EndpointFailure?
        do throws(EndpointFailure) {
            try restoreIfLost(&watch)
        } catch {
            failure = error
        }
        publish(&watch)
        shared.change {
            $0.restoresAnswered = tickets
            $0.restoreFailure = failure
        }
    }

    private func restoreIfLost(_ watch: inout TokenWatch) throws(EndpointFailure) {
        guard watch.wantsLogin else {
            throw EndpointFailure(.notLoggedIn, detail: "nobody has logged in to the token: log in first")
        }
        guard watch.keeper.state() != .rejected else {
            throw EndpointFailure(
                .credentialRejected, detail: "the login was lost, and the token has rejected the PIN since")
        }
        let present = try refreshed(&watch)
        if present.isLoggedIn {
            return shared.change {
                $0.isLoggedIn = true
                $0.loginNumber += 1
            }
        }
        try sendPIN(onlyAccepted: true, &watch)
        log.line("the login was lost and has been restored")
    }

    private func refreshed(_ watch: inout TokenWatch) throws(EndpointFailure) -> TokenDescription {
        do throws(EndpointFailure) {
            return try found(try present(watch), &watch)
        } catch {
            failed(error, &watch)
            throw error
        }
    }

    /// What the token says of itself. The session that keeps the login alive may be the very thing that
    /// broke; then all is opened anew.
    private func present(_ watch: TokenWatch) throws(EndpointFailure) -> TokenDescription {
        guard watch.description != nil else { return try open() }
        do throws(EndpointFailure) {
            return try backend.inspect()
        } catch {
            guard FailureMeaning.isStaleSession(error) else { throw error }
            return try open()
        }
    }

    private func open() throws(EndpointFailure) -> TokenDescription {
        shared.change {
            $0.isOpening = true
            $0.busySince = HostInstant.now
        }
        defer {
            shared.change {
                $0.isOpening = false
                $0.busySince = HostInstant.now
            }
        }
        return try backend.open()
    }

    // MARK: - Watching

    private func look(_ watch: inout TokenWatch) {
        do throws(EndpointFailure) {
            _ = try found(try present(watch), &watch)
        } catch {
            return failed(error, &watch)
        }
        if watch.wantsLogin, watch.description?.isLoggedIn == false, watch.keeper.state() == .accepted {
            // A failure shows in the state; the next look tries again unless the PIN was rejected.
            try? restoreIfLost(&watch)
        }
        publish(&watch)
    }

    private func found(
        _ description: TokenDescription, _ watch: inout TokenWatch
    ) throws(EndpointFailure) -> TokenDescription {
        if watch.failuresInARow > 0 || !watch.hasServed {
            log.line("serving token '\(description.label)', serial number \(description.serialNumber)")
        }
        watch.description = description
        watch.failuresInARow = 0
        watch.goneSince = nil
        watch.hasServed = true
        watch.nextLook = HostInstant.now.adding(milliseconds: timing.probeMilliseconds)
        shared.change {
            $0.isTokenThere = true
            $0.isLoggedIn = description.isLoggedIn
        }
        return description
    }

    private func failed(_ failure: EndpointFailure, _ watch: inout TokenWatch) {
        let now = HostInstant.now
        if watch.failuresInARow == 0 { log.line("no service: \(failure.detail)") }
        watch.failuresInARow += 1
        watch.description = nil
        let doublings = min(watch.failuresInARow - 1, 16)
        let pause = min(timing.retryFloorMilliseconds << doublings, timing.retryCeilingMilliseconds)
        watch.nextLook = now.adding(milliseconds: pause)
        let since = watch.goneSince ?? now
        watch.goneSince = since
        shared.change {
            $0.isTokenThere = false
            $0.isLoggedIn = false
        }
        publish(.failed(failure))
        if !watch.hasServed {
            // No session thread holds anything of the module: it can be unloaded and loaded anew.
            backend.close()
        } else if now.milliseconds(since: since) >= timing.goneMilliseconds {
            inbox.post(.restartWanted(reason: "the token has been gone too long: \(failure.detail)"))
        }
    }

    // MARK: - Telling

    private func publish(_ watch: inout TokenWatch) {
        guard var description = watch.description else { return }
        description.isLoggedIn = shared.look { $0.isLoggedIn }
        publish(.serving(description, pin: watch.keeper.state()))
    }

    private func publish(_ state: TokenHostState) {
        let isNews = shared.change { shared in
            guard shared.tokenState != state else { return false }
            shared.tokenState = state
            return true
        }
        if isNews { inbox.post(.state(state)) }
    }

    private func currentAbsence() -> EndpointFailure { shared.look { Self.absence($0.tokenState) } }
}

extension EndpointFailure {
    /// For a request whose deadline passed before anything was done.
    static let waitedTooLong = EndpointFailure(
        .deadlineExceeded, detail: "the request waited for a session until its deadline; nothing was done")
}
