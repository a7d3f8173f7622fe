import ClusterModel
import Dispatch
import Glibc

// Keeps one endpoint served. A vendor module may crash, hang, leak or lie, and the node may restart at any
// time, so the supervisor never assumes: it connects to the socket first and adopts the process that listens
// there if it is ours and configured alike; otherwise it starts one; and whatever stops answering is killed
// and replaced. A caller always gets an answer, by its own deadline at the latest.
//
//   idle ──start──▶ seeking ──connected──▶ greeting ──hello, same digest──▶ serving
//                     ▲  ▲                    │                               │
//                     │  └─────── ended ── ending ◀── lost, hung, wrong ──────┘        any ──stop──▶ stopped

/// The rhythm of a supervisor. The defaults are what production uses; tests may hurry.
public struct TokenHostTiming: Hashable, Sendable {
    /// Between two liveness pings.
    public var pingInterval = Duration.milliseconds(500)
    /// So many pings in a row without an answer mean that the process is frozen. Counted in the
    /// supervisor's own ticks, so that a pause of the node itself isn't blamed on the token host.
    public var missedPings = 4
    /// Between two looks at a process that is starting or ending.
    public var pollInterval = Duration.milliseconds(25)
    /// From its start until a process must listen; also how long a stranger may hold the lock.
    public var startLimit = Duration.seconds(10)
    /// From SIGTERM to SIGKILL.
    public var retireLimit = Duration.seconds(6)
    /// The wait before the second start in a row; doubled for each further one.
    public var backoffFloor = Duration.milliseconds(100)
    /// The longest wait between two starts.
    public var backoffCeiling = Duration.seconds(5)
    /// A token host that served for so long starts with a clean slate when it is lost.
    public var stableAfter = Duration.seconds(10)
    /// The defaults.
    public init() {}
}

/// Starts, finds, watches and replaces the token host of one endpoint on this node, and passes requests to it.
///
/// All methods may be called from any thread and return at once. All handlers run on the queue given at
/// initialization and must not block.
public final class TokenHostSupervisor: @unchecked Sendable {
    // Safe: every stored variable is touched only by code that runs on `queue`, which is serial, and by
    // deinit, when nobody else is left.

    let configuration: TokenHostConfiguration
    let configurationPath: String
    let executablePath: String
    let log: TokenHostLog
    let timing: TokenHostTiming
    let queue: DispatchQueue
    private let onState: @Sendable (TokenHostState) -> Void
    private let onVitals: (@Sendable (TokenHostVitals) -> Void)?
    private let stepTimer: any DispatchSourceTimer

    var phase = Phase.idle
    var calls: OutstandingCalls
    /// The process that this supervisor started, until it is reaped.
    var child: pid_t?
    var childStartedAt = SuspendingClock.now
    var strangerSeenAt: SuspendingClock.Instant?
    var startsInARow = 0
    var earliestStart = SuspendingClock.now
    private var digest: UInt64 = 0
    /// A process that outlived its node is replaced for being out of date at most once.
    private var mayRefresh = true
    private var published: TokenHostState?
    private var stopHandlers: [@Sendable () -> Void] = []

    enum Phase {
        case idle
        case seeking
        case greeting(Link)
        case serving(Link)
        case ending(Ending)
        case stopped
    }

    /// A connection to a token host.
    final class Link {
        let channel: TokenHostChannel
        let process: pid_t
        let wasAdopted: Bool
        let since = SuspendingClock.now
        var sequence: UInt64 = 0
        var unansweredTicks = 0
        init(channel: TokenHostChannel, process: pid_t, wasAdopted: Bool) {
            self.channel = channel
            self.process = process
            self.wasAdopted = wasAdopted
        }
    }

    /// A process that is on its way out.
    struct Ending {
        let process: pid_t
        let reason: String
        var killAt: SuspendingClock.Instant
        let isFinal: Bool
    }

    /// Prepares a supervisor; nothing happens before `start()`.
    /// - Parameters:
    ///   - configurationPath: where the configuration file is written for the token host.
    ///   - executablePath: the program `hsmtokend`.
    ///   - queue: a serial queue; it may be shared with other supervisors.
    ///   - onState: told of every change, beginning with `.starting`.
    ///   - onVitals: told how busy the token host is, with every answered ping.
    public init(
        configuration: TokenHostConfiguration, configurationPath: String, executablePath: String,
        log: TokenHostLog = .inherited, timing: TokenHostTiming = TokenHostTiming(), queue: DispatchQueue,
        onState: @escaping @Sendable (TokenHostState) -> Void,
        onVitals: (@Sendable (TokenHostVitals) -> Void)? = nil
    ) {
        self.configuration = configuration
        self.configurationPath = configurationPath
        self.executablePath = executablePath
        self.log = log
        self.timing = timing
        self.queue = queue
        self.onState = onState
        self.onVitals = onVitals
        calls = OutstandingCalls(endpoint: configuration.endpoint, queue: queue)
        stepTimer = DispatchSource.makeTimerSource(queue: queue)
        stepTimer.setEventHandler { [weak self] in self?.step() }
        stepTimer.activate()
    }

    deinit {
        stepTimer.cancel()
        calls.failAll(EndpointFailure(.tokenHostLost, detail: "the node stopped using this token host"))
    }

    /// Begins: writes the configuration, finds or starts the token host. A second call does nothing.
    public func start() {
        queue.async { self.begin() }
    }

    /// Passes `request` on. `completion` is called exactly once, on the queue: with the answer, with
    /// `.deadlineExceeded` after `deadline` (the request may still take effect), with `.tokenHostLost` when
    /// the process ends first or none is there, with `.busy` when too much is outstanding.
    public func call(
        _ request: EndpointRequest, deadline: Duration,
        completion: @escaping @Sendable (Result<EndpointReply, EndpointFailure>) -> Void
    ) {
        queue.async { self.send(request, deadline: deadline, completion: completion) }
    }

    /// Ends the supervision; outstanding calls fail. The token host goes on by itself, to be adopted later,
    /// unless `killHost`: then it is asked to end, and killed if it doesn't within `retireLimit`.
    /// `completion` runs on the queue when that is done.
    public func stop(killHost: Bool, completion: @escaping @Sendable () -> Void = {}) {
        queue.async { self.end(killHost: killHost, completion: completion) }
    }

    // MARK: - Phases

    private func begin() {
        guard case .idle = phase else { return }
        publish(.starting)
        do {
            digest = try configuration.digest()
            try configuration.write(toFile: configurationPath)
        } catch {
            publishLoss("\(error)")
        }
        phase = .seeking
        step()
    }

    private func step() {
        switch phase {
        case .idle, .stopped: break
        case .seeking: seek()
        case .greeting(let link), .serving(let link): tick(link)
        case .ending(let ending): watch(ending)
        }
    }

    func wake(after delay: Duration) {
        stepTimer.schedule(
            deadline: .now() + .nanoseconds(Int(delay.wholeNanoseconds)), leeway: .milliseconds(1))
    }

    /// Says hello on a fresh connection.
    func greet(_ descriptor: Int32) {
        guard let peer = UnixSocket.peer(of: descriptor), peer.process > 1 else {
            close(descriptor)
            return retrySeeking("the kernel doesn't tell who listens on \(configuration.socketPath)")
        }
        guard peer.user == geteuid() else {
            close(descriptor)
            return retrySeeking(
                "\(configuration.socketPath) belongs to user \(peer.user): end process \(peer.process)")
        }
        strangerSeenAt = nil
        let channel = TokenHostChannel(
            descriptor: descriptor, queue: queue, onMessage: { [weak self] in self?.receive($0) },
            onClose: { [weak self] in self?.channelClosed($0) })
        let link = Link(channel: channel, process: peer.process, wasAdopted: peer.process != child)
        phase = .greeting(link)
        channel.start()
        let hello = TokenHostHello(process: getpid(), configurationDigest: digest)
        transmit(.hello(hello), on: link)
        wake(after: timing.pingInterval)
    }

    private func tick(_ link: Link) {
        if link.unansweredTicks >= timing.missedPings {
            return lose(link, "it doesn't answer: frozen or hung", signal: SIGKILL)
        }
        link.unansweredTicks += 1
        // A process of ours that lost the race for the lock is not the one that serves.
        if let child, child != link.process { _ = hasEnded(child) }
        if case .serving = phase {
            if SuspendingClock.now - link.since >= timing.stableAfter { startsInARow = 0 }
            link.sequence += 1
            transmit(.ping(sequence: link.sequence), on: link)
        }
        wake(after: timing.pingInterval)
    }

    private func transmit(_ message: TokenHostMessage, on link: Link) {
        // A message that isn't accepted shows as a ping without an answer.
        guard let frame = TokenHostFrame.encode(message, bound: TokenHostLimits.requestBytes) else { return }
        _ = link.channel.send(frame)
    }

    // MARK: - What the token host says

    private func receive(_ message: TokenHostMessage) {
        switch (phase, message) {
        case (.greeting(let link), .hello(let hello)):
            guard hello.version == TokenHostHello.currentVersion, hello.configurationDigest == digest else {
                return lose(link, "it serves another configuration or version", signal: SIGTERM)
            }
            // After an upgrade the old program goes on until its node starts again.
            let program = SystemFile.fingerprint(executablePath)
            if link.wasAdopted, mayRefresh, let program, let old = hello.program, old != program {
                mayRefresh = false
                return lose(link, "it runs another version of the program", signal: SIGTERM)
            }
            link.unansweredTicks = 0
            phase = .serving(link)
        case (.serving(let link), .reply(let id, let outcome)):
            guard calls.finish(id, with: outcome.result) else {
                return lose(link, "it gave an answer of the wrong kind", signal: SIGKILL)
            }
        case (.serving(let link), .state(let state)): adoptState(state, link)
        case (.serving(let link), .pong(_, let vitals)):
            link.unansweredTicks = 0
            judge(vitals, link)
        case (.greeting(let link), _), (.serving(let link), _):
            lose(link, "it doesn't keep to the protocol", signal: SIGKILL)
        default: break
        }
    }

    private func adoptState(_ state: TokenHostState, _ link: Link) {
        // A process that outlived its node has the PIN variable of that node's time; a corrected value
        // reaches only a new process.
        if link.wasAdopted, mayRefresh, case .environment = configuration.pinSource,
            case .serving(_, pin: .rejected) = state
        {
            mayRefresh = false
            return lose(link, "its PIN variable may be out of date", signal: SIGTERM)
        }
        publish(state)
    }

    private func judge(_ vitals: TokenHostVitals, _ link: Link) {
        onVitals?(vitals)
        let openingLimit = max(TokenHostLimits.openingLimit, configuration.hangLimit).wholeMilliseconds
        if vitals.longestCallMilliseconds > configuration.hangLimitMilliseconds {
            let seconds = vitals.longestCallMilliseconds / 1_000
            lose(link, "a call into the module has hung for \(seconds) s", signal: SIGKILL)
        } else if vitals.openingMilliseconds > UInt64(openingLimit) {
            let seconds = vitals.openingMilliseconds / 1_000
            lose(link, "the module has been loading for \(seconds) s", signal: SIGKILL)
        } else if vitals.residentKibibytes / 1_024 > configuration.memoryLimitMebibytes {
            lose(link, "it holds \(vitals.residentKibibytes / 1_024) MiB of memory", signal: SIGTERM)
        }
    }

    private func channelClosed(_ reason: String) {
        switch phase {
        case .greeting(let link), .serving(let link): lose(link, reason, signal: nil)
        default: break
        }
    }

    // MARK: - Loss

    /// Gives a token host up. Without a signal it gets a moment to end by itself.
    private func lose(_ link: Link, _ reason: String, signal: Int32?) {
        link.channel.close()
        loseProcess(link.process, reason, signal: signal)
    }

    func loseProcess(_ process: pid_t, _ reason: String, signal: Int32?) {
        publishLoss(reason)
        terminate(process, reason, signal: signal, isFinal: false)
    }

    private func terminate(_ process: pid_t, _ reason: String, signal: Int32?, isFinal: Bool) {
        if let signal, !hasEnded(process).hasEnded { kill(process, signal) }
        let grace =
            switch signal {
            case SIGKILL: Duration.zero
            case nil: timing.pingInterval
            default: timing.retireLimit
            }
        let ending = Ending(
            process: process, reason: reason, killAt: SuspendingClock.now + grace, isFinal: isFinal)
        phase = .ending(ending)
        watch(ending)
    }

    private func watch(_ ending: Ending) {
        let (isGone, how) = hasEnded(ending.process)
        if isGone {
            if ending.isFinal { return finishStopping() }
            if let how { publishLoss("\(ending.reason); \(how)") }
            startsInARow += 1
            earliestStart = SuspendingClock.now + backoff
            phase = .seeking
            return seek()
        }
        if SuspendingClock.now >= ending.killAt { kill(ending.process, SIGKILL) }
        wake(after: timing.pollInterval)
    }

    /// Of a child the kernel tells. Of any other process the lock does, which the kernel drops when its
    /// holder ends, even if nobody reaps it.
    func hasEnded(_ process: pid_t) -> (hasEnded: Bool, ending: ProcessEnding?) {
        switch ProcessLauncher.reap(process) {
        case .running: return (false, nil)
        case .ended(let ending):
            if process == child { child = nil }
            return (true, ending)
        case .notAChild:
            if process == child { child = nil }
            return (ServingLock.holder(configuration.lockPath) != process, nil)
        }
    }

    private var backoff: Duration {
        let doublings = min(max(0, startsInARow - 1), 16)
        return min(timing.backoffFloor * (1 << doublings), timing.backoffCeiling)
    }

    // MARK: - Calls

    private func send(
        _ request: EndpointRequest, deadline: Duration,
        completion: @escaping @Sendable (Result<EndpointReply, EndpointFailure>) -> Void
    ) {
        guard case .serving(let link) = phase else {
            var detail = "the token host of \(configuration.endpoint) isn't running"
            if case .failed(let failure)? = published { detail = failure.detail }
            return completion(.failure(EndpointFailure(.tokenHostLost, detail: detail)))
        }
        calls.begin(request, deadline: deadline, completion: completion) { frame in
            link.channel.send(frame)
        }
    }

    // MARK: - Stopping

    private func end(killHost: Bool, completion: @escaping @Sendable () -> Void) {
        if case .stopped = phase { return completion() }
        if case .ending(let ending) = phase, ending.isFinal {
            return stopHandlers.append(completion)
        }
        stopHandlers.append(completion)
        calls.failAll(EndpointFailure(.tokenHostLost, detail: "the node is stopping"))
        var process = child ?? ServingLock.holder(configuration.lockPath)
        switch phase {
        case .greeting(let link), .serving(let link):
            link.channel.close()
            process = link.process
        case .ending(let ending): process = ending.process
        case .idle: process = nil
        case .seeking, .stopped: break
        }
        guard killHost, let process else { return finishStopping() }
        terminate(process, "the node is stopping", signal: SIGTERM, isFinal: true)
    }

    private func finishStopping() {
        phase = .stopped
        stepTimer.cancel()
        let handlers = stopHandlers
        stopHandlers = []
        for handler in handlers { handler() }
    }

    // MARK: - Telling

    func publish(_ state: TokenHostState) {
        guard state != published else { return }
        published = state
        onState(state)
    }

    func publishLoss(_ reason: String) {
        let failure = EndpointFailure(
            .tokenHostLost, detail: "the token host of \(configuration.endpoint) was lost: \(reason)")
        publish(.failed(failure))
        calls.failAll(failure)
    }
}
