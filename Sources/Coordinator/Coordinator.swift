import ClusterConfiguration
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

// One node with everything it stands on: its stores, its links, its token hosts, and the loop that drives the
// pure machine between them.

/// A running node. All members may be called from any thread.
public final class Coordinator: Sendable {
    let configuration: NodeConfiguration
    let loop: NodeLoop
    let logger: Logger
    private let transport: ClusterTransport
    private let writer: DurableWriter
    private let tokenHosts: [TokenHostSupervisor]
    private let logStore: LogStore
    private let catalogStore: CatalogStore
    private let publisher: DirectoryPublisher

    /// Opens the node's state and prepares everything; nothing is sent or answered before `start`.
    ///
    /// - Parameters:
    ///   - configuration: as read from its file.
    ///   - tokenHostProgram: the path of `hsmtokend`.
    /// - Throws: `StorageError`, `RecoveryProblem`, `CatalogRowError`, `TransportSetupError` or `CoordinatorError`, each
    ///   saying what to do.
    public init(configuration: NodeConfiguration, tokenHostProgram: String, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        try StateDirectory.make(configuration.stateDirectory)
        // A node that joins learns from the cluster who votes.
        let voters = configuration.isJoining ? [] : configuration.nodes.map(\.id).sorted()
        let stateDirectory = configuration.stateDirectory
        let stores = try NodeStores(
            directory: stateDirectory, cluster: configuration.cluster, node: configuration.node,
            initialConfiguration: VoterConfiguration(voters: voters, learners: []))
        let (logStore, catalogStore) = (stores.log, stores.catalogStore)
        self.logStore = logStore
        self.catalogStore = catalogStore
        if stores.completedInstallation {
            logger.info("an installation of a snapshot that a crash had stopped is complete")
        }
        for finding in stores.findings { logger.critical("\(finding)") }
        let settings = Self.settings(configuration, voters)
        let raft = Consensus(
            id: configuration.node, settings: settings.raft, recovered: stores.recovered,
            appliedIndex: stores.appliedIndex,
            seed: UInt64.random(in: 0 ... .max))
        let node = Node(
            settings: settings, raft: raft, catalog: stores.catalog, appliedIndex: stores.appliedIndex,
            incarnation: Incarnation(Clock.wallClockMilliseconds), seed: UInt64.random(in: 0 ... .max),
            at: Clock.moment)
        let queue = DispatchQueue(label: "hsmcluster.node", qos: .userInitiated)
        let loop = NodeLoop(node: node, queue: queue, logger: logger)
        self.loop = loop
        let transport = try Self.transport(configuration, node.peerRecords, queue) { event in
            loop.take(event)
        }
        self.transport = transport
        writer = DurableWriter(
            logStore: logStore, catalogStore: catalogStore,
            onPersisted: { batches in
                NodeLoop.release(batches, through: transport)
                guard let last = batches.last else { return }
                queue.async { loop.take(.persisted(last.token)) }
            },
            onSnapshot: { event in queue.async { loop.take(event) } },
            onFailure: { error in queue.async { loop.halt("\(error)") } })
        tokenHosts = try Self.tokenHosts(configuration, tokenHostProgram, loop)
        publisher = try DirectoryPublisher(configuration: configuration, logger: logger)
    }

    private static func settings(_ configuration: NodeConfiguration, _ voters: [NodeID]) -> NodeSettings {
        var settings = NodeSettings(
            id: configuration.node, voters: voters, endpoints: configuration.endpoints.map(\.name))
        settings.nodes = configuration.nodes.map {
            NodeRecord(id: $0.id, peerAddress: "\($0.address)", apiAddress: "\($0.api)")
        }
        settings.minimumReplicas = configuration.replicas.minimum
        settings.repairSources = configuration.replicas.sources
        settings.callDeadline = configuration.deadlines.endpointCall
        settings.generationDeadline = configuration.deadlines.generation
        settings.requestDeadline = configuration.deadlines.generation + .seconds(8)
        settings.raft = RaftSettings(heartbeatTicks: 2, electionTicks: 12)
        return settings
    }

    private static func transport(
        _ configuration: NodeConfiguration, _ records: [NodeRecord], _ queue: DispatchQueue,
        onEvent: @escaping @Sendable (TransportEvent) -> Void
    ) throws -> ClusterTransport {
        var settings = TransportSettings()
        settings.jitterSeed = UInt64.random(in: 0 ... .max)
        let listener = configuration.peerListener
        return try ClusterTransport(
            local: configuration.node, clusterName: configuration.cluster,
            listen: .address(host: listener.host, port: UInt16(listener.port)),
            peers: PeerAddress.of(records),
            identity: TransportIdentity(
                certificateChainPath: configuration.tls.certificate, privateKeyPath: configuration.tls.key,
                authorityPath: configuration.tls.authority), settings: settings, delivery: queue,
            onEvent: onEvent)
    }

    private static func tokenHosts(
        _ configuration: NodeConfiguration, _ program: String, _ loop: NodeLoop
    ) throws -> [TokenHostSupervisor] {
        try configuration.endpoints.map { endpoint in
            let (settings, path) = try StateDirectory.tokenHost(
                endpoint, users: configuration.users, in: configuration.stateDirectory)
            return TokenHostSupervisor(
                configuration: settings, configurationPath: path, executablePath: program,
                queue: DispatchQueue(label: "hsmcluster.tokenhost.\(endpoint.name)"),
                onState: { state in loop.queue.async { loop.take(.tokenHost(endpoint.name, state)) } })
        }
    }

    /// Begins to take part. `onRole` is called, from the node's queue, with every change of role or leader.
    /// - Throws: `TransportSetupError` when the port for peers cannot be opened.
    public func start(onRole: @escaping @Sendable (RoleSummary) -> Void = { _ in }) throws {
        let hosts = Dictionary(uniqueKeysWithValues: zip(configuration.endpoints.map(\.name), tokenHosts))
        let publisher = publisher
        loop.queue.sync {
            loop.onTick = { publisher.consider($0) }
            loop.start(.init(writer: writer, transport: transport, tokenHosts: hosts), onRole: onRole)
        }
        try transport.start()
        for host in tokenHosts { host.start() }
    }

    /// False when the node's own queue has not moved for a while: something it must never do blocks it. A node
    /// that has stopped taking part says so, and counts as responsive.
    public var isResponsive: Bool { loop.isResponsive }

    /// Hands leadership over, stops taking part and closes the stores. Token hosts go on, to be found again, unless `stopTokenHosts`.
    /// Blocks for a few seconds at most.
    public func stop(stopTokenHosts: Bool = false) {
        handOverLeadership()
        transport.stop()
        loop.queue.sync { loop.halt("the node is shutting down", at: .info) }
        writer.flush()
        publisher.flush()
        let group = DispatchGroup()
        for host in tokenHosts {
            group.enter()
            host.stop(killHost: stopTokenHosts) { group.leave() }
        }
        _ = group.wait(timeout: .now() + .seconds(8))
        try? logStore.close()
        try? catalogStore.close()
    }
}
