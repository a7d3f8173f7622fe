import ClusterModel
import Glibc
import TokenHostLink

// The heart of hsmtokend: one thread that owns the socket and a poll(2) loop. It never calls the module, so
// it answers pings and deadlines whatever the module does; all else is done by the custodian and the session
// threads, which leave their results in the inbox.

/// Serves one endpoint on one Unix socket. Confined to the thread that calls `run()`, except where noted.
public final class TokenHostServer {
    /// Exit statuses of hsmtokend beyond 0 and 1 (sysexits.h).
    public enum ExitStatus {
        /// The socket or the lock can't be had.
        public static let cannotServe: Int32 = 75
        /// A fresh process is wanted because the module can't recover in this one.
        public static let restartWanted: Int32 = 76
    }

    private static let backlog: Int32 = 16
    private static let busyTickMilliseconds: Int32 = 100
    private static let idleTickMilliseconds: Int32 = 1_000

    private struct Pending {
        let connection: UInt64
        let id: UInt64
        let deadline: HostInstant
    }

    private let configuration: TokenHostConfiguration
    private let hello: TokenHostHello
    private let timing: HostTiming
    private let log: HostLog
    private let inbox: HostInbox
    private let custodian: Custodian
    private let pool: SessionPool
    private let dataPath: DataPath
    private var listener: Int32 = -1
    private var connections: [UInt64: HostConnection] = [:]
    private var pending: [UInt64: Pending] = [:]
    private var nextNumber: UInt64 = 1
    private var state = TokenHostState.starting
    private var drainUntil: HostInstant?
    private var acceptAgainAt = HostInstant.now
    private var status: Int32 = 0

    /// Prepares a server; `backend` is the module to serve.
    /// - Throws: when the configuration can't be digested or no pipe can be made.
    public convenience init(configuration: TokenHostConfiguration, backend: any EndpointBackend) throws {
        try self.init(configuration: configuration, backend: backend, timing: HostTiming())
    }

    init(
        configuration: TokenHostConfiguration, backend: any EndpointBackend, timing: HostTiming
    ) throws {
        self.configuration = configuration
        self.timing = timing
        hello = TokenHostHello(
            process: getpid(), configurationDigest: try configuration.digest(),
            program: SystemFile.fingerprint("/proc/self/exe"))
        log = HostLog(endpoint: configuration.endpoint.rawValue)
        inbox = try HostInbox()
        custodian = Custodian(backend: backend, timing: timing, log: log, inbox: inbox)
        pool = SessionPool(
            threads: configuration.sessionThreads, queueBound: configuration.queueBound, timing: timing,
            custodian: custodian, inbox: inbox, log: log)
        dataPath = DataPath(configuration: configuration, custodian: custodian, log: log)
    }

    /// What asks this server to stop; may be called from any thread, also before `run()`.
    public var stopper: @Sendable () -> Void {
        let inbox = inbox
        return { inbox.post(.stop) }
    }

    /// Serves until asked to stop; returns the exit status of the process. The caller should end the process
    /// with `_exit`: a vendor module may still hold threads.
    public func run() -> Int32 {
        let lock: Int32
        do throws(SystemCallError) {
            lock = try openSocket()
            let keeper = CredentialKeeper(
                source: configuration.pinSource, recordPath: configuration.credentialRecordPath, log: log)
            try custodian.start(keeper: keeper)
            try pool.start()
            dataPath.start()
        } catch {
            log.line("cannot serve \(configuration.socketPath): \(error)")
            return ExitStatus.cannotServe
        }
        while !isDrained { turn() }
        finish()
        close(lock)
        return status
    }

    private func openSocket() throws(SystemCallError) -> Int32 {
        let path = configuration.socketPath
        let directory = SystemFile.directory(of: path)
        if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw SystemCallError("mkdir") }
        let lock = try ServingLock.take(configuration.lockPath)
        // We hold the lock, so whatever lies there is a leftover.
        try SystemFile.remove(path, durably: false)
        listener = try UnixSocket.listen(path, backlog: Self.backlog)
        return lock
    }

    // MARK: - The loop

    private func turn() {
        let ordered = connections.values.sorted { $0.number < $1.number }
        var polls = [
            pollfd(fd: inbox.readEnd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: mayAccept ? listener : -1, events: Int16(POLLIN), revents: 0),
        ]
        polls += ordered.map { pollfd(fd: $0.descriptor, events: $0.interest, revents: 0) }
        let isBusy = !pending.isEmpty || drainUntil != nil
        _ = poll(&polls, nfds_t(polls.count), isBusy ? Self.busyTickMilliseconds : Self.idleTickMilliseconds)

        for event in inbox.drain() { handle(event) }
        if polls[1].revents != 0 { acceptAll() }
        for (connection, poll) in zip(ordered, polls.dropFirst(2)) where poll.revents != 0 {
            if poll.revents & Int16(POLLOUT) != 0 { connection.flush() }
            for message in connection.readAvailable() where connection.fault == nil {
                receive(message, connection)
            }
        }
        let now = HostInstant.now
        expire(now)
        pool.replaceStuck(now: now)
        dropFaulty()
    }

    private var mayAccept: Bool {
        connections.count < TokenHostLimits.links && drainUntil == nil && acceptAgainAt <= HostInstant.now
    }

    private func acceptAll() {
        while mayAccept {
            do throws(SystemCallError) {
                guard let descriptor = try UnixSocket.accept(listener) else { return }
                let connection = HostConnection(number: takeNumber(), descriptor: descriptor)
                guard let peer = UnixSocket.peer(of: descriptor), peer.user == geteuid() || peer.user == 0
                else {
                    log.line("a process of another user was turned away")
                    continue
                }
                connections[connection.number] = connection
                _ = connection.send(.hello(hello))
            } catch {
                // Out of descriptors, say: the listener stays readable, so looking away saves the processor.
                acceptAgainAt = HostInstant.now.adding(milliseconds: Int64(Self.idleTickMilliseconds))
                return log.line("cannot accept: \(error)")
            }
        }
    }

    private func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    private func dropFaulty() {
        for (number, connection) in connections {
            guard let fault = connection.fault else { continue }
            if fault != HostConnection.farewell { log.line("link \(number): \(fault)") }
            connections[number] = nil
            // Their work goes on; only nobody is told.
            for (job, entry) in pending where entry.connection == number { pending[job] = nil }
        }
    }

    // MARK: - Messages

    private func receive(_ message: TokenHostMessage, _ connection: HostConnection) {
        switch message {
        case .hello(let hello) where !connection.isGreeted:
            guard hello.version == TokenHostHello.currentVersion else {
                return connection.give(up: "version \(hello.version) isn't spoken here")
            }
            connection.isGreeted = true
            _ = connection.send(.state(state))
        case .ping(let sequence) where connection.isGreeted:
            _ = connection.send(.pong(sequence: sequence, vitals: vitals()))
        case .request(let id, let request, let deadline) where connection.isGreeted:
            accept(request, id: id, deadlineMilliseconds: deadline, connection)
        default:
            connection.give(up: "a message that isn't expected here")
        }
    }

    private func accept(
        _ request: EndpointRequest, id: UInt64, deadlineMilliseconds: UInt64, _ connection: HostConnection
    ) {
        guard drainUntil == nil else {
            return answer(connection, id, .failure(Self.stopping))
        }
        let longest = TokenHostLimits.longestDeadline.wholeMilliseconds
        let limit = min(Int64(clamping: deadlineMilliseconds), longest)
        let job = EndpointJob(
            number: takeNumber(), request: request, deadline: HostInstant.now.adding(milliseconds: limit))
        let isAccepted =
            switch request {
            case .inspect, .logIn, .forgetRejectedPIN: custodian.submit(job)
            default: pool.submit(job)
            }
        guard isAccepted else {
            let detail = "all sessions of \(configuration.endpoint) are busy and the queue is full; try again"
            return answer(connection, id, .failure(EndpointFailure(.busy, detail: detail)))
        }
        pending[job.number] = Pending(connection: connection.number, id: id, deadline: job.deadline)
    }

    private func answer(
        _ connection: HostConnection, _ id: UInt64, _ result: Result<EndpointReply, EndpointFailure>
    ) {
        if connection.send(.reply(id: id, outcome: EndpointOutcome(result))) { return }
        let detail = "the answer is larger than \(TokenHostLimits.replyBytes) bytes: ask for less"
        let failure = EndpointFailure(.invalidRequest, detail: detail)
        _ = connection.send(.reply(id: id, outcome: .failure(failure)))
    }

    private func vitals() -> TokenHostVitals {
        let now = HostInstant.now
        let sessions = pool.vitals(now: now)
        let custody = custodian.busyMilliseconds(now: now)
        let data = dataPath.vitals()
        let longest = max(sessions.longestMilliseconds, custody.working, data.longestMilliseconds)
        return TokenHostVitals(
            busyThreads: sessions.busy + data.busy, stuckThreads: sessions.stuck,
            queuedRequests: sessions.queued,
            longestCallMilliseconds: UInt64(longest), openingMilliseconds: UInt64(custody.opening),
            residentKibibytes: ProcessMemory.residentKibibytes())
    }

    // MARK: - Events

    private func handle(_ event: HostEvent) {
        switch event {
        case .finished(let number, let result):
            guard let entry = pending.removeValue(forKey: number),
                let connection = connections[entry.connection]
            else { return }
            answer(connection, entry.id, result)
        case .state(let news):
            state = news
            dataPath.announce(news)
            for connection in connections.values where connection.isGreeted {
                _ = connection.send(.state(news))
            }
        case .restartWanted(let reason):
            log.line("ends to be started afresh: \(reason)")
            beginDraining(status: ExitStatus.restartWanted)
        case .stop:
            beginDraining(status: 0)
        }
    }

    private func expire(_ now: HostInstant) {
        for (number, entry) in pending where entry.deadline <= now {
            pending[number] = nil
            guard let connection = connections[entry.connection] else { continue }
            let detail = "\(configuration.endpoint) gave no answer within the deadline"
            answer(connection, entry.id, .failure(EndpointFailure(.deadlineExceeded, detail: detail)))
        }
    }

    // MARK: - The end

    private static let stopping = EndpointFailure(.tokenHostLost, detail: "the token host is stopping")

    private func beginDraining(status: Int32) {
        guard drainUntil == nil else { return }
        self.status = status
        dataPath.stop()
        drainUntil = HostInstant.now.adding(milliseconds: timing.drainMilliseconds)
        for job in pool.stop() { handle(.finished(number: job.number, result: .failure(Self.stopping))) }
    }

    private var isDrained: Bool {
        guard let drainUntil else { return false }
        return pending.isEmpty || HostInstant.now >= drainUntil
    }

    private func finish() {
        custodian.stop()
        let end = HostInstant.now.adding(milliseconds: timing.finalizeMilliseconds)
        if !dataPath.waitUntilStopped(end) || !pool.waitUntilStopped(end) || !custodian.waitUntilStopped(end)
        {
            log.line("the module doesn't come to an end; it is left as it is")
        }
        close(listener)
        try? SystemFile.remove(configuration.socketPath, durably: false)
        connections = [:]
    }
}
