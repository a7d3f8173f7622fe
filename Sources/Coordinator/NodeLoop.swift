import ClusterModel
import ClusterTransport
import Dispatch
import Gossip
import KeyCatalog
import Logging
import NodeCore
import Raft
import Storage
import Synchronization
import TokenHostLink

// The shell around the pure node: one serial queue on which events go in, one after another, and effects are
// carried out. Nothing on this queue waits for anything: disks, links and token hosts have queues of their
// own and come back with events.

/// Drives one `Node`. Confined to `queue`.
final class NodeLoop: @unchecked Sendable {
    // Safe: every stored variable is touched only by code that runs on `queue`, which is serial; the
    // constants are Sendable themselves.

    let queue: DispatchQueue
    private var node: Node
    private let logger: Logger
    private var outside: Outside?
    private var timer: (any DispatchSourceTimer)?
    private var waiting: [ClientRequestID: @Sendable (ClientReply) -> Void] = [:]
    private var lastRequest: UInt64 = 0
    /// Looks at the node after every tick, on `queue`; set before `start`.
    var onTick: (@Sendable (Node) -> Void)?
    private var roleObserver: (@Sendable (RoleSummary) -> Void)?
    /// Why this node has stopped taking part, or nil.
    private(set) var haltReason: String?

    /// The last tick, in nanoseconds of the monotonic clock; `Int64.max` once halted. Read from other threads.
    private let lastTick = Atomic<Int64>(.max)
    private static let longestSilence = Duration.seconds(5)

    /// What carries out effects.
    struct Outside {
        var writer: DurableWriter
        var transport: ClusterTransport
        var tokenHosts: [EndpointName: TokenHostSupervisor]
    }

    init(node: Node, queue: DispatchQueue, logger: Logger) {
        self.node = node
        self.queue = queue
        self.logger = logger
    }

    // MARK: Life

    func start(_ outside: Outside, onRole: @escaping @Sendable (RoleSummary) -> Void) {
        dispatchPrecondition(condition: .onQueue(queue))
        self.outside = outside
        roleObserver = onRole
        let timer = DispatchSource.makeTimerSource(queue: queue)
        let tick = Int(node.settings.tick.wholeMilliseconds)
        timer.schedule(
            deadline: .now() + .milliseconds(tick), repeating: .milliseconds(tick), leeway: .milliseconds(2))
        lastTick.store(Clock.moment.now.nanoseconds, ordering: .relaxed)
        timer.setEventHandler { [weak self] in
            self?.lastTick.store(Clock.moment.now.nanoseconds, ordering: .relaxed)
            guard let self else { return }
            take(.tick)
            onTick?(node)
        }
        timer.activate()
        self.timer = timer
    }

    /// Takes no further part in the cluster; clients are told why. Token hosts go on.
    func halt(_ reason: String, at level: Logger.Level = .critical) {
        dispatchPrecondition(condition: .onQueue(queue))
        guard haltReason == nil else { return }
        haltReason = reason
        logger.log(level: level, "this node stops taking part: \(reason)")
        timer?.cancel()
        timer = nil
        lastTick.store(.max, ordering: .relaxed)
        for (_, reply) in waiting { reply(.refused(.storageFailed(reason))) }
        waiting = [:]
        roleObserver?(summary)
        let transport = outside?.transport
        // `stop` waits for descriptors to close, and must not do so on the queue that events are delivered on.
        DispatchQueue.global().async { transport?.stop() }
    }

    /// True while ticks arrive. May be called from any thread.
    var isResponsive: Bool {
        let last = Instant(nanoseconds: lastTick.load(ordering: .relaxed))
        return last.nanoseconds == .max || Clock.moment.now - last < Self.longestSilence
    }

    // MARK: Events

    func take(_ event: NodeEvent) {
        dispatchPrecondition(condition: .onQueue(queue))
        guard haltReason == nil else { return }
        var effects = NodeEffects()
        node.step(event, at: Clock.moment, into: &effects)
        carryOut(effects)
    }

    func take(_ event: TransportEvent) {
        switch event {
        case .linkUp(let peer):
            logger.info("link up", metadata: ["peer": "\(peer)"])
            take(.linkChanged(peer, isUp: true))
        case .linkDown(let peer, let reason):
            logger.warning("link down: \(reason)", metadata: ["peer": "\(peer)", "reason": "\(reason.name)"])
            take(.linkChanged(peer, isUp: false))
        case .frame(let frame, let peer): take(frame, from: peer)
        case .rejected(let remote, let reason):
            logger.warning(
                "connection rejected: \(reason)",
                metadata: ["remote": "\(remote)", "reason": "\(reason.name)"])
        default:
            logger.debug("transport: \(event)")
        }
    }

    private func take(_ frame: Frame, from peer: NodeID) {
        do {
            guard let message = try PeerMessage.decode(kind: frame.kind, payload: frame.payload) else {
                return logger.debug("frame of an unknown kind skipped", metadata: ["peer": "\(peer)"])
            }
            take(.received(message, from: peer))
        } catch {
            logger.warning(
                "frame that cannot be read skipped", metadata: ["peer": "\(peer)", "kind": "\(frame.kind)"])
        }
    }

    /// Asks the cluster. `reply` is called exactly once.
    func ask(
        _ request: ClientRequest, fresh: Identifier128, reply: @escaping @Sendable (ClientReply) -> Void
    ) -> ClientRequestID {
        dispatchPrecondition(condition: .onQueue(queue))
        lastRequest += 1
        let id = ClientRequestID(lastRequest)
        if let haltReason {
            reply(.refused(.storageFailed(haltReason)))
            return id
        }
        waiting[id] = reply
        take(.request(request, id: id, freshIdentifier: fresh))
        return id
    }

    func cancel(_ id: ClientRequestID) {
        waiting.removeValue(forKey: id)?(.refused(.timedOut))
        take(.cancelled(id))
    }

    // MARK: Effects

    private func carryOut(_ effects: NodeEffects) {
        guard let outside else { return }
        if let fatal = effects.fatal { return halt(fatal) }
        outside.writer.persist(effects.persist)
        for envelope in effects.send { Self.send(envelope, through: outside.transport) }
        outside.writer.record(effects.applied)
        if let metadata = effects.takeSnapshot { outside.writer.takeSnapshot(metadata) }
        if let snapshot = effects.installSnapshot { outside.writer.install(snapshot) }
        for call in effects.calls { make(call, of: outside.tokenHosts[call.endpoint]) }
        for (id, reply) in effects.replies { waiting.removeValue(forKey: id)?(reply) }
        for notice in effects.notices { log(notice) }
        if effects.peersChanged { updatePeers(of: outside.transport) }
        if effects.roleChanged { roleObserver?(summary) }
    }

    private func updatePeers(of transport: ClusterTransport) {
        do {
            try transport.updatePeers(PeerAddress.of(node.peerRecords))
        } catch {
            logger.error("the links cannot follow the change of the members: \(error)")
        }
    }

    /// Batches are durable: their messages may leave now, from whatever thread this is.
    static func release(_ batches: [PersistBatch], through transport: ClusterTransport) {
        for envelope in batches.flatMap(\.thenSend) {
            send(PeerEnvelope(to: envelope.to, message: .raft(envelope.message)), through: transport)
        }
    }

    private static func send(_ envelope: PeerEnvelope, through transport: ClusterTransport) {
        guard let (kind, payload) = try? envelope.message.encoded() else { return }
        // A full queue or a missing link loses the message; consensus and gossip repeat what matters.
        _ = transport.send(Frame(kind: kind, payload: payload), to: envelope.to)
    }

    private func make(_ call: EndpointCall, of tokenHost: TokenHostSupervisor?) {
        guard let tokenHost else {
            let failure = EndpointFailure(.tokenHostLost, detail: "this node has no such endpoint")
            return queue.async { self.take(.answered(call.id, .failure(failure))) }
        }
        tokenHost.call(call.request, deadline: call.deadline) { result in
            self.queue.async { self.take(.answered(call.id, result)) }
        }
    }

    private func log(_ notice: Notice) {
        let level: Logger.Level =
            switch notice.level {
            case .info: .info
            case .warning: .warning
            case .alarm: .critical
            }
        logger.log(
            level: level, "\(notice.text)",
            metadata: notice.fields.mapValues { Logger.MetadataValue.string($0) })
    }

    // MARK: Views

    /// The node as it is now. A value: it can leave the queue.
    var snapshot: Node {
        dispatchPrecondition(condition: .onQueue(queue))
        return node
    }

    var summary: RoleSummary {
        RoleSummary(
            role: node.raft.role.kind, term: node.raft.term, leader: node.raft.leader,
            isRemoved: node.isRemoved, haltReason: haltReason)
    }
}

/// What a service manager is told of a node.
public struct RoleSummary: Hashable, Sendable {
    /// What the node is.
    public var role: Role.Kind
    /// Its term.
    public var term: Term
    /// The leader it knows.
    public var leader: NodeID?
    /// Whether the node was removed from the cluster.
    public var isRemoved: Bool
    /// Why the node does not take part any more, if so.
    public var haltReason: String?

    /// One line, for sd_notify's STATUS.
    public var statusLine: String {
        if let haltReason { return "stopped taking part: \(haltReason)" }
        if isRemoved { return "removed from the cluster: stop this node" }
        let following = leader.map { role == .leader ? "" : ", leader is node \($0)" } ?? ", no leader"
        return "\(role.rawValue) in term \(term)\(following)"
    }
}
