internal import CSharedMemory
internal import Glibc
internal import Synchronization

// The host's side: one thread sets connections up and notices their end, and never waits for a client or for
// the service; the workers serve (see HostWorker).

/// What a host is told.
public struct RingServerSettings: Hashable, Sendable {
    /// The socket: an absolute path of at most 107 bytes. What lies there is removed.
    public var path: String
    /// The socket's mode.
    public var mode: UInt32
    /// How many threads serve.
    public var workers: Int
    /// Another one at every start.
    public var incarnation: UInt64
    /// A request that has run so long counts as stuck, in nanoseconds: when all threads are, others are
    /// started.
    public var stuckNanoseconds: Int64 = 2_000_000_000

    /// Puts settings together.
    public init(path: String, mode: UInt32 = 0o660, workers: Int, incarnation: UInt64) {
        self.path = path
        self.mode = mode
        self.workers = workers
        self.incarnation = incarnation
    }
}

/// A host can't serve; the text says why.
public struct RingServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence for people.
    public var description: String
}

/// Serves clients on one Unix socket. The methods may be called from any thread.
public final class RingServer: Sendable {
    private static let backlog: Int32 = 64
    private static let tickMilliseconds: Int32 = 500
    private static let drainNanoseconds: Int64 = 3_000_000_000
    private static let acceptPauseMicroseconds: UInt32 = 50_000

    private let settings: RingServerSettings
    private let service: any RingService
    private let shared: HostShared
    private let pageDescriptor: Int32
    private let listener: Int32
    /// Wakes the setup thread.
    private let wake: Int32
    private let records = Mutex<[WorkerRecord]>([])
    private let threads = Atomic<Int>(0)

    /// Makes the socket; nobody is served before `start()`.
    public init(settings: RingServerSettings, service: any RingService) throws(RingServerError) {
        self.settings = settings
        self.service = service
        guard (1...RingLimits.workers).contains(settings.workers) else {
            throw RingServerError(description: "threads must be 1 to \(RingLimits.workers)")
        }
        guard let (page, descriptor) = HealthPage.make(incarnation: settings.incarnation) else {
            throw Self.failure("no memory for the health page")
        }
        pageDescriptor = descriptor
        let bells = CSharedMemory_epoll_make()
        let ownBell = CSharedMemory_eventfd()
        wake = CSharedMemory_eventfd()
        shared = HostShared(page: page, bells: bells, ownBell: ownBell)
        guard bells >= 0, ownBell >= 0, wake >= 0, CSharedMemory_epoll_add(bells, ownBell) == 0 else {
            close(descriptor)
            throw Self.failure("no descriptors")
        }
        do throws(RingServerError) {
            listener = try Self.listen(settings)
        } catch {
            close(descriptor)
            close(wake)
            throw error
        }
    }

    deinit {
        close(listener)
        close(wake)
        close(pageDescriptor)
    }

    /// Starts the threads. Once.
    public func start() throws(RingServerError) {
        for _ in 0..<settings.workers { try startWorker() }
        try startThread { [self] in
            var desk = SetupDesk()
            while !shared.mustStop.load(ordering: .relaxed) { turn(&desk) }
            // A client whose socket closes gives its calls up: they are finished first.
            let end = RingClock.now() + Self.drainNanoseconds
            while vitals().busy > 0, RingClock.now() < end { usleep(1_000) }
            for guest in desk.guests { dismiss(guest, &desk) }
        }
    }

    /// Asks the threads to end, and removes the socket. Requests under way are finished.
    public func stop() {
        shared.page.memory.store32(HealthLayout.state, RingHealth.State.stopping.rawValue)
        guard !shared.mustStop.exchange(true, ordering: .sequentiallyConsistent) else { return }
        unlink(settings.path)
        shared.wakeOne()
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    /// Waits until all threads have ended; false when `end` comes first (nanoseconds of `RingClock`).
    public func waitUntilStopped(until end: Int64) -> Bool {
        while threads.load(ordering: .sequentiallyConsistent) > 0 {
            guard RingClock.now() < end else { return false }
            usleep(1_000)
        }
        return true
    }

    /// What the threads are doing: how many are at work, and for how long the oldest request has run.
    public func vitals() -> (busy: Int, longestNanoseconds: Int64) {
        let now = RingClock.now()
        let running = records.withLock { $0.map { $0.since.load(ordering: .relaxed) } }.filter { $0 != 0 }
        return (running.count, running.map { max(0, now - $0) }.max() ?? 0)
    }

    /// Tells the clients how the host is.
    public func announce(_ state: RingHealth.State) {
        guard !shared.mustStop.load(ordering: .relaxed) else { return }
        shared.page.memory.store32(HealthLayout.state, state.rawValue)
    }

    /// Tells the clients of a failure in the module (a CKR_ value).
    public func announce(error: UInt64) { shared.page.memory.store64(HealthLayout.lastError, error) }

    /// How many clients there are.
    public var connectionCount: Int { shared.table.withLock { $0.connections.count } }

    // MARK: - Threads

    private func startWorker() throws(RingServerError) {
        let record = WorkerRecord()
        records.withLock { $0.append(record) }
        try startThread { [self] in
            var worker = HostWorker(shared, service.makeWorker(), record, workers: settings.workers)
            worker.run()
            records.withLock { $0.removeAll { $0 === record } }
        }
    }

    private func startThread(_ body: @escaping @Sendable () -> Void) throws(RingServerError) {
        threads.add(1, ordering: .sequentiallyConsistent)
        let result = DetachedThread.start { [self] in
            body()
            threads.subtract(1, ordering: .sequentiallyConsistent)
        }
        guard result == 0 else {
            threads.subtract(1, ordering: .sequentiallyConsistent)
            throw RingServerError(
                description: "no thread can be started: \(String(cString: strerror(result)))")
        }
    }

    /// When every thread is stuck in the module, others take their places, up to twice the number.
    private func relieveStuck() {
        let now = RingClock.now()
        let (all, stuck) = records.withLock { records in
            let stuck = records.count { record in
                let since = record.since.load(ordering: .relaxed)
                return since != 0 && now - since > settings.stuckNanoseconds
            }
            return (records.count, stuck)
        }
        if stuck > 0, all - stuck < settings.workers, all < 2 * settings.workers { try? startWorker() }
    }

    // MARK: - Setting up

    private static func failure(_ what: String) -> RingServerError {
        RingServerError(description: "\(what): \(String(cString: strerror(errno)))")
    }

    private static func listen(_ settings: RingServerSettings) throws(RingServerError) -> Int32 {
        let descriptor = SetupSocket.make()
        guard descriptor >= 0 else { throw failure("no socket") }
        unlink(settings.path)
        guard SetupSocket.withAddress(settings.path, { bind(descriptor, $0, $1) }) == 0,
            chmod(settings.path, settings.mode) == 0, Glibc.listen(descriptor, backlog) == 0
        else {
            let error = failure("cannot listen at \(settings.path)")
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// A socket that was accepted; `connection` once it is set up.
    private final class Guest {
        let socket: Int32
        let peer: RingPeer
        /// Readable when the peer's process has ended, whoever else holds its socket; -1 if the kernel has
        /// none.
        let process: Int32
        let since = RingClock.now()
        var connection: HostConnection?
        init(socket: Int32, peer: RingPeer) {
            self.socket = socket
            self.peer = peer
            process = CSharedMemory_pidfd(peer.process)
        }
        deinit {
            close(socket)
            if process >= 0 { close(process) }
        }
    }

    /// What the setup thread alone knows.
    private struct SetupDesk {
        var guests: [Guest] = []
    }

    private func turn(_ desk: inout SetupDesk) {
        let hasRoom = desk.guests.count < RingLimits.connections
        var polls = [
            pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            pollfd(fd: hasRoom ? listener : -1, events: Int16(POLLIN), revents: 0),
        ]
        for guest in desk.guests {
            polls.append(pollfd(fd: guest.socket, events: Int16(POLLIN), revents: 0))
            polls.append(pollfd(fd: guest.process, events: Int16(POLLIN), revents: 0))
        }
        _ = poll(&polls, nfds_t(polls.count), desk.guests.isEmpty ? -1 : Self.tickMilliseconds)
        let now = RingClock.now()
        for (index, guest) in desk.guests.enumerated() {
            let isSpeaking = polls[2 + 2 * index].revents != 0
            let hasEnded = polls[3 + 2 * index].revents != 0
            if let connection = guest.connection {
                // After the greeting a client has nothing to say.
                if isSpeaking || hasEnded || connection.isCondemned { dismiss(guest, &desk) }
            } else if hasEnded || now - guest.since > RingLimits.setupNanoseconds {
                dismiss(guest, &desk)
            } else if isSpeaking, !welcome(guest, &desk) {
                dismiss(guest, &desk)
            }
        }
        if polls[1].revents != 0 { acceptAll(&desk) }
        relieveStuck()
    }

    private func acceptAll(_ desk: inout SetupDesk) {
        while desk.guests.count < RingLimits.connections {
            let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let socket = accept4(listener, nil, nil, flags)
            guard socket >= 0 else {
                // Out of descriptors, say: the listener stays readable, so a pause saves the processor.
                if errno != EAGAIN && errno != EINTR { usleep(Self.acceptPauseMicroseconds) }
                return
            }
            guard let peer = SetupSocket.peer(of: socket), service.mayConnect(peer) else {
                refuse(socket, .refused)
                continue
            }
            let own = desk.guests.count { $0.peer.process == peer.process }
            guard own < RingLimits.connectionsOfProcess else {
                refuse(socket, .tooManyConnections)
                continue
            }
            desk.guests.append(Guest(socket: socket, peer: peer))
        }
    }

    private func refuse(_ socket: Int32, _ verdict: HostHello.Verdict) {
        let answer = HostHello(verdict).encoded
        _ = CSharedMemory_send(socket, answer, answer.count, nil, 0)
        close(socket)
    }

    private func welcome(_ guest: Guest, _ desk: inout SetupDesk) -> Bool {
        var bytes = [UInt8](repeating: 0, count: ClientHello.bytes)
        let received = recv(guest.socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        guard received == bytes.count, let hello = ClientHello(bytes) else { return false }
        guard hello.version == RingLayout.version else {
            let answer = HostHello(.versionMismatch).encoded
            _ = CSharedMemory_send(guest.socket, answer, answer.count, nil, 0)
            return false
        }
        guard let descriptor = SharedMemory.make("hsmcluster-rings", length: RingLayout.bytes) else {
            return false
        }
        defer { close(descriptor) }
        let bell = CSharedMemory_eventfd()
        guard bell >= 0 else { return false }
        guard let rings = SharedMemory(descriptor: descriptor, length: RingLayout.bytes, isWritable: true)
        else {
            close(bell)
            return false
        }
        rings.store64(0, RingLayout.magic)
        let number = shared.table.withLock { table in
            defer { table.nextNumber += 1 }
            return table.nextNumber
        }
        let connection = HostConnection(number: number, peer: guest.peer, rings: rings, bell: bell)
        guest.connection = connection
        service.connected(number, guest.peer)
        shared.add(connection)
        let answer = HostHello(.welcome).encoded
        let sent = CSharedMemory_send(
            guest.socket, answer, answer.count, [descriptor, pageDescriptor, bell], 3)
        return sent == answer.count
    }

    private func dismiss(_ guest: Guest, _ desk: inout SetupDesk) {
        desk.guests.removeAll { $0 === guest }
        guard let connection = guest.connection else { return }
        guest.connection = nil
        shared.remove(connection)
        service.disconnected(connection.number)
    }
}
