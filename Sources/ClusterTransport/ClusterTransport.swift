// Links between nodes: TCP on Dispatch, TLS 1.3 with certificates on both sides, bounded frames. Each pair
// of nodes has one link, which the lower number dials and keeps dialing. The transport promises order
// within a link and nothing more: a frame may be lost with its link, and Raft and gossip repeat what
// matters. It never logs and never decides; it reports events, and its owner acts.

import ClusterModel
import Dispatch
import Glibc
import Synchronization

/// The links of one node to its peers. All members may be called from any thread.
public final class ClusterTransport: Sendable {
    private struct Lifecycle {
        var isStarted = false
        var port: UInt16?
    }

    private let core: TransportCore
    private let ledger: LinkLedger
    private let identity: TransportIdentity
    private let expected: NodeIdentityURI
    private let listenAddress: ListenAddress
    private let initialPeers: [PeerAddress]
    private let settings: TransportSettings
    private let lifecycle = Mutex(Lifecycle())

    /// All transports of a process take turns on this queue, because libdispatch on Linux isn't trusted
    /// with making and cancelling sources in several threads at once.
    public static let sourceQueue = DispatchQueue(label: "hsmcluster.transport.sources")

    private static let closeTimeout = DispatchTimeInterval.seconds(5)

    /// A transport that is set up but does nothing yet. Reads and checks the identity's files.
    ///
    /// - Parameters:
    ///   - local: this node.
    ///   - clusterName: as in every node's configuration and certificate.
    ///   - listen: where to wait for peers with lower numbers.
    ///   - peers: the other nodes.
    ///   - identity: the files that prove who we are.
    ///   - settings: bounds.
    ///   - label: the name of the transport's queue, for debuggers.
    ///   - delivery: the serial queue on which `onEvent` is called; one of the transport's own when nil.
    ///     What it hasn't got to yet counts against the link (`maxUndeliveredBytesPerLink`), so hand the
    ///     owner's own queue in rather than passing events on to it. It must not target `sourceQueue`.
    ///   - onEvent: called in order, one event at a time. May call every member but `stop` freely; `stop`
    ///     too, but then without waiting for events in other threads.
    /// - Throws: what is wrong with the files, the name or the peers.
    public init(
        local: NodeID, clusterName: String, listen: ListenAddress, peers: [PeerAddress],
        identity: TransportIdentity, settings: TransportSettings = TransportSettings(),
        label: String = "hsmcluster.transport", delivery: DispatchQueue? = nil,
        onEvent: @escaping @Sendable (TransportEvent) -> Void
    ) throws(TransportSetupError) {
        expected = NodeIdentityURI(clusterName: clusterName, node: local)
        try ClusterTransport.check(peers, local: local)
        let context = try TLSContext(identity: identity, expected: expected)
        self.identity = identity
        self.settings = settings
        listenAddress = listen
        initialPeers = peers
        ledger = LinkLedger(maxQueuedBytes: settings.maxQueuedBytesPerPeer)
        let hello = Hello(
            minimumVersion: settings.protocolVersions.lowerBound,
            maximumVersion: settings.protocolVersions.upperBound, clusterName: clusterName, node: local)
        core = TransportCore(
            hello: hello, context: context, settings: settings, ledger: ledger,
            queue: DispatchQueue(label: label, target: ClusterTransport.sourceQueue),
            delivery: delivery ?? DispatchQueue(label: label + ".events"), onEvent: onEvent)
    }

    deinit {
        guard !core.silence() else { return }
        let core = core
        core.queue.async { core.shutDown() }
    }

    /// Listens and begins to dial. Returns once the port is open. May wait for a resolver if the listen
    /// address is a host name.
    /// - Throws: `.listenFailed` and its like; the transport can then be started again.
    public func start() throws(TransportSetupError) {
        let core = core
        let mayStart = lifecycle.withLock { state in
            guard !state.isStarted else { return false }
            state.isStarted = true
            return true
        }
        guard mayStart else { throw .alreadyStarted }
        do throws(TransportSetupError) {
            let descriptor = try openListener()
            let port = SystemCalls.localPort(of: descriptor)
            lifecycle.withLock { $0.port = port }
            core.queue.sync { core.start(listening: descriptor, peers: initialPeers) }
        } catch {
            lifecycle.withLock { $0.isStarted = false }
            throw error
        }
    }

    /// Ends all links, closes all descriptors and waits for that, at most five seconds. No event begins
    /// after it returns. A second call does nothing.
    public func stop() {
        guard !core.silence() else { return }
        lifecycle.withLock { $0.isStarted = true }
        let core = core
        core.queue.sync { core.shutDown() }
        _ = core.waitUntilClosed(timeout: .now() + ClusterTransport.closeTimeout)
    }

    /// The port that peers can reach; nil before the start.
    public var listeningPort: UInt16? { lifecycle.withLock { $0.port } }

    /// Queues a frame for a node. Never blocks. Frames to one node arrive in order, if they arrive.
    /// - Returns: false when the frame was refused (no link, queue full, too large, reserved kind), which
    ///   the statistics count. True is no promise of arrival.
    @discardableResult
    public func send(_ frame: Frame, to node: NodeID) -> Bool {
        guard frame.kind < Frame.firstReservedKind, frame.payload.count <= settings.maxFrameBytes else {
            ledger.count { $0.refusedInvalid += 1 }
            return false
        }
        guard case .queued(let needsFlush) = ledger.enqueue(frame, to: node) else { return false }
        if needsFlush {
            let core = core
            core.queue.async { core.flush(node) }
        }
        return true
    }

    /// Replaces the peers: new ones are dialed or awaited, links to missing ones end, an address that
    /// changed is used from the next dial on.
    /// - Throws: `.peersInvalid`; nothing changes then.
    public func updatePeers(_ peers: [PeerAddress]) throws(TransportSetupError) {
        try ClusterTransport.check(peers, local: expected.node)
        let core = core
        core.queue.async { core.update(peers: peers) }
    }

    /// Reads the identity's files anew. Later connections use them; links that stand stay.
    /// - Throws: what is wrong with the files; the earlier ones stay in use then.
    public func reloadIdentity() throws(TransportSetupError) {
        let context = try TLSContext(identity: identity, expected: expected)
        let core = core
        core.queue.async { core.use(context: context) }
    }

    /// The protocol version agreed on with a node; nil while there is no link.
    public func protocolVersion(with node: NodeID) -> UInt16? { ledger.protocolVersion(with: node) }

    /// Counters and links as they stand.
    public var statistics: TransportStatistics { ledger.statistics }

    private static func check(_ peers: [PeerAddress], local: NodeID) throws(TransportSetupError) {
        guard local.rawValue > 0 else { throw .peersInvalid(local) }
        var seen: Set<NodeID> = [local]
        for peer in peers {
            guard peer.node.rawValue > 0, seen.insert(peer.node).inserted else {
                throw .peersInvalid(peer.node)
            }
        }
    }

    private func openListener() throws(TransportSetupError) -> Int32 {
        switch listenAddress {
        case .descriptor(let descriptor):
            guard SystemCalls.adoptListener(descriptor) else { throw .descriptorNotListening(descriptor) }
            return descriptor
        case .address(let host, let port):
            let addresses = SystemCalls.addresses(host: host, port: port, passive: true)
            guard let address = addresses.first else { throw .listenAddressUnresolvable(host: host) }
            switch SystemCalls.listen(on: address, backlog: Int32(clamping: settings.listenBacklog)) {
            case .success(let descriptor): return descriptor
            case .failure(let error):
                throw .listenFailed(address: "\(host):\(port)", errno: error.number)
            }
        }
    }
}
