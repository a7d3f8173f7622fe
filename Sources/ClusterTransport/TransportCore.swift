// Everything that belongs to the transport's serial queue: the listener, the connections that haven't
// proved themselves, the peers, one timer for all deadlines. The public class in front of it is only a
// door. Nothing here waits; each entry point does its bit and returns.

import ClusterModel
import Dispatch
import Glibc
import Synchronization

/// The transport's state and behaviour on its queue.
final class TransportCore: @unchecked Sendable {
    // Safe to share: the stored variables are used on `queue` only, which the entry points check; the
    // constants are Sendable themselves (`delivery` queue, ledger, atomics).

    let queue: DispatchQueue
    let settings: TransportSettings
    let ledger: LinkLedger
    /// One read buffer for all connections: they take turns on one queue.
    var scratch = [UInt8](repeating: 0, count: TransportCore.scratchBytes)

    private let local: NodeID
    private let hello: Hello
    private let delivery: DispatchQueue
    private let onEvent: @Sendable (TransportEvent) -> Void
    private let isStopped = Atomic(false)
    private let openDescriptors = DispatchGroup()

    private var context: TLSContext
    private var peers: [NodeID: Peer] = [:]
    private var unauthenticated: [Connection] = []
    private var generator: SeededGenerator
    private var lastConnection: UInt64 = 0
    private var listener: (any DispatchSourceRead)?
    private var isListenerPaused = false
    private var listenerResumes = DispatchTime.distantFuture
    private var timer: (any DispatchSourceTimer)?
    private var timerDue = DispatchTime.distantFuture
    private var reportsWaiting = 0

    private static let scratchBytes = 64 * 1024
    private static let acceptsPerEvent = 32
    private static let acceptPause = Duration.milliseconds(100)
    private static let timerLeeway = DispatchTimeInterval.milliseconds(2)

    init(
        hello: Hello, context: TLSContext, settings: TransportSettings, ledger: LinkLedger,
        queue: DispatchQueue, delivery: DispatchQueue, onEvent: @escaping @Sendable (TransportEvent) -> Void
    ) {
        local = hello.node
        self.hello = hello
        self.context = context
        self.settings = settings
        self.ledger = ledger
        self.queue = queue
        self.delivery = delivery
        self.onEvent = onEvent
        generator = SeededGenerator(seed: settings.jitterSeed &+ hello.node.rawValue)
    }

    // MARK: From the door

    /// Starts to listen on `descriptor` and to dial `addresses`.
    func start(listening descriptor: Int32, peers addresses: [PeerAddress]) {
        dispatchPrecondition(condition: .onQueue(queue))
        guard !isStopped.load(ordering: .acquiring) else {
            // Stopped between opening the port and now; no source watches the descriptor yet.
            Glibc.close(descriptor)
            return
        }
        let timer = DispatchSource.makeTimerSource(queue: queue)
        timer.setEventHandler { [weak self] in self?.timerFired() }
        timer.activate()
        self.timer = timer
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        openDescriptors.enter()
        source.setEventHandler { [weak self] in self?.acceptReady(descriptor) }
        source.setCancelHandler {
            Glibc.close(descriptor)
            self.descriptorClosed()
        }
        source.activate()
        listener = source
        update(peers: addresses)
    }

    /// Makes `addresses` the peers: dials the new, drops the missing, keeps links that stand.
    func update(peers addresses: [PeerAddress]) {
        dispatchPrecondition(condition: .onQueue(queue))
        guard !isStopped.load(ordering: .acquiring) else { return }
        let kept = Set(addresses.map(\.node))
        for node in peers.keys.sorted() where !kept.contains(node) {
            guard let peer = peers.removeValue(forKey: node) else { continue }
            if case .connecting(let connection) = peer.dialing { connection.shutDown(because: .peerRemoved) }
            guard let link = peer.link else { continue }
            link.shutDown(because: .peerRemoved)
            ledger.linkIsDown(node)
            deliver([.linkDown(node, reason: .peerRemoved)])
        }
        ledger.setPeers(addresses.map(\.node))
        for address in addresses {
            if let peer = peers[address.node] {
                guard peer.address != address else { continue }
                peer.address = address
                if case .waiting = peer.dialing { dial(peer) }
            } else {
                let peer = Peer(address: address)
                peers[address.node] = peer
                if local < address.node { dial(peer) }
            }
        }
    }

    /// Uses other certificates from now on. Links that stand stay.
    func use(context: TLSContext) {
        dispatchPrecondition(condition: .onQueue(queue))
        self.context = context
    }

    /// Sends what was queued for `node`.
    func flush(_ node: NodeID) {
        dispatchPrecondition(condition: .onQueue(queue))
        ledger.flushBegins(for: node)
        peers[node]?.link?.flushWhenPossible()
    }

    /// From now on no event is delivered any more. Any thread.
    func silence() -> Bool { isStopped.exchange(true, ordering: .acquiringAndReleasing) }

    /// Closes everything. `silence` comes first.
    func shutDown() {
        dispatchPrecondition(condition: .onQueue(queue))
        timer?.cancel()
        timer = nil
        listener?.cancel()
        if isListenerPaused { listener?.resume() }
        listener = nil
        for connection in unauthenticated { connection.shutDown(because: .stopped) }
        unauthenticated = []
        for node in peers.keys.sorted() {
            guard let peer = peers[node] else { continue }
            if case .connecting(let connection) = peer.dialing { connection.shutDown(because: .stopped) }
            peer.link?.shutDown(because: .stopped)
            ledger.linkIsDown(node)
        }
        peers = [:]
    }

    /// Waits until every descriptor is closed. Not on the transport's queue.
    func waitUntilClosed(timeout: DispatchTime) -> Bool {
        dispatchPrecondition(condition: .notOnQueue(queue))
        return openDescriptors.wait(timeout: timeout) == .success
    }

    /// A cancel handler has closed its descriptor.
    func descriptorClosed() { openDescriptors.leave() }

    // MARK: Accepting

    private func acceptReady(_ descriptor: Int32) {
        for _ in 0..<TransportCore.acceptsPerEvent {
            switch SystemCalls.accept(from: descriptor, options: settings.socketOptions) {
            case .success(let (accepted, remote)): admit(accepted, from: remote)
            case .failure(let error):
                switch error.number {
                case EAGAIN: return
                // The connection died in the backlog; the next one may be well.
                case ECONNABORTED, EINTR, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH: continue
                default: return pauseListener(because: error.number)
                }
            }
        }
    }

    private func admit(_ descriptor: Int32, from remote: String) {
        ledger.count { $0.connectionsAccepted += 1 }
        if unauthenticated.count >= settings.maxUnauthenticatedConnections, let oldest = unauthenticated.first
        {
            close(oldest, because: .tooManyUnauthenticated)
        }
        let deadline = DispatchTime.now().advanced(by: settings.handshakeDeadline)
        guard
            let connection = makeConnection(
                descriptor, role: .acceptor, remote: remote, deadline: deadline)
        else { return }
        unauthenticated.append(connection)
        connection.open()
        expect(deadline)
    }

    /// Without descriptors accept fails at once, again and again: pause instead of spinning.
    private func pauseListener(because number: Int32) {
        guard !isListenerPaused else { return }
        isListenerPaused = true
        listener?.suspend()
        listenerResumes = DispatchTime.now().advanced(by: TransportCore.acceptPause)
        expect(listenerResumes)
        report(.rejected(remote: "", reason: .acceptFailed(errno: number)))
    }

    private func makeConnection(
        _ descriptor: Int32, role: LinkMachine.Role, remote: String, deadline: DispatchTime
    ) -> Connection? {
        let machine: LinkMachine
        do throws(LinkFailure) {
            machine = try LinkMachine(
                context: context, role: role, local: hello, maxFrameBytes: settings.maxFrameBytes,
                admits: { [unowned self] in refusal(of: $0) })
        } catch {
            // No source watches the descriptor yet, so it may be closed here.
            Glibc.close(descriptor)
            if role == .acceptor { rejected(remote, because: error) }
            return nil
        }
        openDescriptors.enter()
        lastConnection += 1
        return Connection(
            number: lastConnection, descriptor: descriptor, role: role, remote: remote, deadline: deadline,
            machine: machine, core: self)
    }

    private func refusal(of node: NodeID) -> LinkFailure? {
        guard peers[node] != nil else { return .unknownNode(node) }
        return node < local ? nil : .wrongDialDirection(node)
    }

    // MARK: Dialing

    private func dial(_ peer: Peer) {
        ledger.count { $0.dials += 1 }
        peer.attempts += 1
        let deadline = DispatchTime.now().advanced(by: settings.connectDeadline)
        let address = peer.address
        let numeric = SystemCalls.numericAddresses(host: address.host, port: address.port)
        guard numeric.isEmpty else { return connect(peer, to: numeric, deadline: deadline) }
        let attempt = peer.attempts
        peer.dialing = .resolving(attempt: attempt, deadline: deadline)
        expect(deadline)
        // An earlier lookup that hangs is waited for; this attempt then ends at its deadline.
        guard !peer.isResolverBusy else { return }
        peer.isResolverBusy = true
        Resolver.resolve(host: address.host, port: address.port) { [weak self] addresses in
            guard let self else { return }
            queue.async { self.resolved(address.node, attempt: attempt, to: addresses) }
        }
    }

    private func resolved(_ node: NodeID, attempt: UInt64, to addresses: [SocketAddress]) {
        guard let peer = peers[node] else { return }
        peer.isResolverBusy = false
        guard case .resolving(attempt, let deadline) = peer.dialing else { return }
        guard !addresses.isEmpty else {
            return dialFailed(peer, because: .addressUnresolvable(host: peer.address.host))
        }
        connect(peer, to: addresses, deadline: deadline)
    }

    private func connect(_ peer: Peer, to addresses: [SocketAddress], deadline: DispatchTime) {
        let address = addresses[Int(peer.attempts % UInt64(addresses.count))]
        switch SystemCalls.beginConnect(to: address, options: settings.socketOptions) {
        case .failure(let error): dialFailed(peer, because: .connectFailed(errno: error.number))
        case .success(let descriptor):
            let remote = TransportCore.text(of: peer.address)
            guard
                let connection = makeConnection(
                    descriptor, role: .dialer(to: peer.address.node), remote: remote, deadline: deadline)
            else { return dialFailed(peer, because: .tlsFailed("out of memory")) }
            peer.dialing = .connecting(connection)
            connection.open()
            expect(deadline)
        }
    }

    /// TCP stands; TLS and hello get a deadline of their own.
    func connected(_ connection: Connection) {
        connection.deadline = DispatchTime.now().advanced(by: settings.handshakeDeadline)
        expect(connection.deadline)
    }

    private func dialFailed(_ peer: Peer, because failure: LinkFailure) {
        waitToDial(peer)
        let remote = TransportCore.text(of: peer.address)
        report(.dialFailed(peer.address.node, remote: remote, reason: failure))
    }

    private func waitToDial(_ peer: Peer) {
        let wait = peer.nextWait(settings: settings, generator: &generator)
        let until = DispatchTime.now().advanced(by: wait)
        peer.dialing = .waiting(until: until)
        expect(until)
    }

    private static func text(of address: PeerAddress) -> String {
        address.host.contains(":") ? "[\(address.host)]:\(address.port)" : "\(address.host):\(address.port)"
    }

    // MARK: From connections

    /// What a connection's machine produced, in order.
    func handle(_ outputs: [LinkMachine.Output], of connection: Connection) {
        var events: [TransportEvent] = []
        var frames: UInt64 = 0
        var bytes = 0
        for output in outputs where !connection.isClosed {
            switch output {
            case .up(let node, let version): linkIsUp(connection, node, version: version, events: &events)
            case .frame(let frame):
                guard let node = connection.linkedNode else { continue }
                events.append(.frame(frame, from: node))
                frames += 1
                bytes += frame.encodedBytes
            }
        }
        ledger.count {
            $0.framesReceived += frames
            $0.bytesReceived += UInt64(bytes)
        }
        deliver(events, bytes: bytes, of: connection)
    }

    private func linkIsUp(
        _ connection: Connection, _ node: NodeID, version: UInt16, events: inout [TransportEvent]
    ) {
        unauthenticated.removeAll { $0 === connection }
        guard let peer = peers[node] else {
            // The peer was removed while it shook hands.
            connection.shutDown(because: .unknownNode(node))
            return rejected(connection.remote, because: .unknownNode(node))
        }
        if let older = peer.link {
            older.shutDown(because: .replacedByNewerConnection)
            ledger.linkIsDown(node)
            events.append(.linkDown(node, reason: .replacedByNewerConnection))
        }
        peer.link = connection
        peer.linkedAt = DispatchTime.now()
        peer.dialing = .idle
        ledger.linkIsUp(node, version: version)
        events.append(.linkUp(node))
    }

    /// Ends a connection and tells whoever should know.
    func close(_ connection: Connection, because failure: LinkFailure) {
        dispatchPrecondition(condition: .onQueue(queue))
        guard !connection.isClosed else { return }
        let node = connection.linkedNode
        connection.shutDown(because: failure)
        if let node, let peer = peers[node], peer.link === connection {
            peer.link = nil
            let age = DispatchTime.now().uptimeNanoseconds &- peer.linkedAt.uptimeNanoseconds
            if age >= UInt64(max(0, settings.stableLinkAge.wholeNanoseconds)) { peer.forgetFailures() }
            ledger.linkIsDown(node)
            deliver([.linkDown(node, reason: failure)])
            if local < node { waitToDial(peer) }
            return
        }
        switch connection.role {
        case .acceptor:
            unauthenticated.removeAll { $0 === connection }
            rejected(connection.remote, because: failure)
        case .dialer(let expected):
            guard let peer = peers[expected], case .connecting(let current) = peer.dialing,
                current === connection
            else { return }
            dialFailed(peer, because: failure)
        }
    }

    // MARK: Events

    private func rejected(_ remote: String, because failure: LinkFailure) {
        ledger.count { $0.connectionsRejected += 1 }
        report(.rejected(remote: remote, reason: failure))
    }

    /// Delivers an event that strangers can cause at will, unless too many wait already.
    private func report(_ event: TransportEvent) {
        guard reportsWaiting < settings.maxPendingReports else {
            return ledger.count { $0.reportsSuppressed += 1 }
        }
        reportsWaiting += 1
        delivery.async { [self] in
            if !isStopped.load(ordering: .acquiring) { onEvent(event) }
            queue.async { self.reportsWaiting -= 1 }
        }
    }

    private func deliver(_ events: [TransportEvent], bytes: Int = 0, of connection: Connection? = nil) {
        guard !events.isEmpty else { return }
        connection?.delivered(bytes: bytes)
        delivery.async { [self] in
            for event in events {
                guard !isStopped.load(ordering: .acquiring) else { return }
                onEvent(event)
            }
            guard bytes > 0, let connection else { return }
            queue.async { connection.credit(bytes: bytes) }
        }
    }

    // MARK: Time

    /// Makes sure that the timer fires at `deadline` or before.
    private func expect(_ deadline: DispatchTime) {
        guard deadline < timerDue else { return }
        timerDue = deadline
        timer?.schedule(deadline: deadline, leeway: TransportCore.timerLeeway)
    }

    private func timerFired() {
        timerDue = .distantFuture
        let now = DispatchTime.now()
        for connection in unauthenticated where connection.deadline <= now {
            close(connection, because: connection.deadlineFailure)
        }
        for node in peers.keys.sorted() {
            guard let peer = peers[node], let due = peer.nextDeadline, due <= now else { continue }
            switch peer.dialing {
            case .idle: continue
            case .waiting: dial(peer)
            case .resolving: dialFailed(peer, because: .addressUnresolvable(host: peer.address.host))
            case .connecting(let connection): close(connection, because: connection.deadlineFailure)
            }
        }
        if isListenerPaused, listenerResumes <= now {
            isListenerPaused = false
            listenerResumes = .distantFuture
            listener?.resume()
        }
        expectNext()
    }

    private func expectNext() {
        var next = listenerResumes
        for connection in unauthenticated { next = min(next, connection.deadline) }
        for peer in peers.values { next = min(next, peer.nextDeadline ?? .distantFuture) }
        if next < .distantFuture { expect(next) }
    }
}
