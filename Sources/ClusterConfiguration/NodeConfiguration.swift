// What a node is told by its administrator. Everything is checked before the node starts, so that a mistake
// is met at the keyboard and not at the first failover. PINs are never in here, only where to find them.

import ClusterModel

/// The configuration of one node. Paths are absolute.
public struct NodeConfiguration: Hashable, Sendable {
    /// The cluster's name, as in the certificates.
    public var cluster: String
    /// This node's number.
    public var node: NodeID
    /// The directory for everything that the node writes.
    public var stateDirectory: String
    /// Where the node listens for other nodes.
    public var peerListener: NetworkAddress
    /// Where the node listens for the management API.
    public var apiListener: NetworkAddress
    /// The node's certificate, key and authority.
    public var tls: TLSFiles
    /// The founding voters, this node included, by number. On a node that joins: itself and nodes to find the
    /// cluster by.
    public var nodes: [Voter]
    /// True on a node that is added to a running cluster: it waits to be told who votes.
    public var isJoining = false
    /// Who may use keys through applications; empty when they need not log in.
    public var users: [User] = []
    /// The HSM endpoints, in the order of the file.
    public var endpoints: [Endpoint]
    /// How redundant keys have to be.
    public var replicas: Replicas
    /// How long calls may take.
    public var deadlines: Deadlines
    /// How much is logged.
    public var logLevel: LogLevel

    /// Puts a configuration together without checks.
    public init(
        cluster: String, node: NodeID, stateDirectory: String, peerListener: NetworkAddress,
        apiListener: NetworkAddress, tls: TLSFiles, nodes: [Voter], endpoints: [Endpoint],
        replicas: Replicas = Replicas(), deadlines: Deadlines = Deadlines(), logLevel: LogLevel = .info
    ) {
        self.cluster = cluster
        self.node = node
        self.stateDirectory = stateDirectory
        self.peerListener = peerListener
        self.apiListener = apiListener
        self.tls = tls
        self.nodes = nodes
        self.endpoints = endpoints
        self.replicas = replicas
        self.deadlines = deadlines
        self.logLevel = logLevel
    }

    /// PEM files.
    public struct TLSFiles: Hashable, Sendable {
        /// The certificates of the cluster's authority.
        public var authority: String
        /// The own certificate, followed by intermediate ones if there are any.
        public var certificate: String
        /// The private key of the own certificate.
        public var key: String

        /// Puts the paths together.
        public init(authority: String, certificate: String, key: String) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }
    }

    /// One voter.
    public struct Voter: Hashable, Sendable {
        /// Its number.
        public var id: NodeID
        /// Where other nodes reach it.
        public var address: NetworkAddress
        /// Where clients reach its management API.
        public var api: APIAddress

        /// Puts a voter together without checks.
        public init(id: NodeID, address: NetworkAddress, api: APIAddress) {
            self.id = id
            self.address = address
            self.api = api
        }
    }

    /// One HSM endpoint.
    public struct Endpoint: Hashable, Sendable {
        /// Its name, unique in the cluster.
        public var name: EndpointName
        /// The PKCS#11 module's file.
        public var module: String
        /// The token selector: a PKCS#11 URI (RFC 7512) without a PIN.
        public var token: String
        /// Where to find the PIN.
        public var pin: PINSource
        /// Environment variables of the endpoint's token host.
        public var environment: [String: String]
        /// The share of work relative to other endpoints of the same priority, 1 to 1000.
        public var weight: Int
        /// Lower is used first, 0 to 127.
        public var priority: Int

        /// Puts an endpoint together without checks.
        public init(
            name: EndpointName, module: String, token: String, pin: PINSource,
            environment: [String: String] = [:], weight: Int = 1, priority: Int = 0
        ) {
            self.name = name
            self.module = module
            self.token = token
            self.pin = pin
            self.environment = environment
            self.weight = weight
            self.priority = priority
        }
    }

    /// Somebody who may use keys through applications.
    public struct User: Hashable, Sendable {
        /// What a user may do.
        public enum Role: String, Hashable, Sendable, CaseIterable {
            /// Uses keys.
            case user
            /// Reads attributes and verifies.
            case observer
        }
        /// The name, unique.
        public var name: String
        /// What the user may do.
        public var role: Role
        /// The password's hash (crypt(5)).
        public var passwordHash: String
    }

    /// Where a PIN is found. Never the PIN itself.
    public enum PINSource: Hashable, Sendable {
        /// The first line of this file.
        case file(String)
        /// The value of this environment variable of the node.
        case environment(String)
        /// This systemd credential (LoadCredential=).
        case credential(String)
    }

    /// How redundant keys have to be.
    public struct Replicas: Hashable, Sendable {
        /// Verified replicas that a key needs before it is activated.
        public var minimum: Int
        /// Replicas that stay wrappable, so that lost ones can be made again.
        public var sources: Int

        /// Puts both numbers together without checks.
        public init(minimum: Int = 2, sources: Int = 2) {
            self.minimum = minimum
            self.sources = sources
        }
    }

    /// How long calls may take.
    public struct Deadlines: Hashable, Sendable {
        /// One call to an endpoint.
        public var endpointCall: Duration
        /// One key generation on an endpoint.
        public var generation: Duration

        /// Puts both deadlines together without checks.
        public init(endpointCall: Duration = .seconds(10), generation: Duration = .seconds(20)) {
            self.endpointCall = endpointCall
            self.generation = generation
        }
    }

    /// swift-log's levels.
    public enum LogLevel: String, Hashable, Sendable, CaseIterable {
        /// Every message between nodes.
        case trace
        /// Every decision.
        case debug
        /// What an operator may want to read.
        case info
        /// Unusual but harmless.
        case notice
        /// Should be looked at.
        case warning
        /// Something failed.
        case error
        /// The node stops.
        case critical
    }
}

extension NodeConfiguration {
    /// Reads and checks a node's configuration file, and that its PEM files can be read.
    ///
    /// HSM modules and PIN sources are not looked at: an endpoint that is missing must not keep a node from
    /// starting. Blocks on the file system.
    public static func load(file: String) throws(ConfigurationError) -> NodeConfiguration {
        let text = try ConfigurationFile.text(of: file)
        let configuration = try parse(text, file: file)
        try ConfigurationFile.check(configuration.tls, key: "tls", in: file)
        return configuration
    }

    /// Reads a configuration's text. `file` names it in errors; paths are relative to its folder.
    public static func parse(_ text: String, file: String) throws(ConfigurationError) -> NodeConfiguration {
        let document = try YAMLDocument(file: file).parse(text)
        var root = try MappingReader(document, file: file, key: "", expected: "'cluster: NAME' and so on")
        let paths = PathResolver(file: file)
        let cluster = try SharedRules.cluster(&root)
        let number = try SharedRules.nodeNumber(&root, "node")
        let state = try root.text("stateDirectory", example: "/var/lib/hsmcluster")
        let listen = try SharedRules.listeners(&root)
        let tls = try SharedRules.tls(&root, paths)
        let nodes = try VoterRules.voters(&root)
        guard nodes.contains(where: { $0.id == number }) else {
            throw root.failure(
                "node", at: nil, "the list 'nodes' has no entry with this id",
                "Add this node to 'nodes', or correct 'node'.")
        }
        let endpoints = try EndpointRules.endpoints(&root, paths)
        let replicas = try replicas(&root, endpoints: endpoints.count)
        let deadlines = try deadlines(&root)
        let logLevel = try logLevel(&root)
        let isJoining = try isJoining(&root, nodes: nodes.count)
        let users = try UserRules.users(&root)
        try root.finish()
        var configuration = NodeConfiguration(
            cluster: cluster, node: number, stateDirectory: paths.absolute(state),
            peerListener: listen.peers, apiListener: listen.api, tls: tls, nodes: nodes,
            endpoints: endpoints, replicas: replicas, deadlines: deadlines, logLevel: logLevel)
        configuration.isJoining = isJoining
        configuration.users = users
        return configuration
    }

    private static func isJoining(
        _ root: inout MappingReader, nodes: Int
    ) throws(ConfigurationError) -> Bool {
        guard let value = try root.optionalText("join", example: "true") else { return false }
        guard ["true", "false"].contains(value) else {
            throw root.failure("join", at: nil, "it is neither true nor false", "Write 'join: true'.")
        }
        guard value == "true" else { return false }
        guard nodes > 1 else {
            throw root.failure(
                "join", at: nil, "the list 'nodes' names no other node",
                "Add at least one node of the cluster that is joined.")
        }
        return true
    }

    private static func replicas(
        _ root: inout MappingReader, endpoints: Int
    ) throws(ConfigurationError) -> Replicas {
        var replicas = Replicas()
        let value = root.optional("replicas")
        if let value {
            var members = try MappingReader(
                value, file: root.file, key: "replicas", expected: "'replicas: { minimum: 2, sources: 2 }'")
            let range = 1...ConfigurationLimits.endpoints
            replicas.minimum = try members.optionalNumber("minimum", in: range, example: "2") ?? 2
            replicas.sources = try members.optionalNumber("sources", in: range, example: "2") ?? 2
            try members.finish()
        }
        // A node without endpoints only votes; how many the others have it cannot know.
        guard endpoints == 0 || replicas.minimum <= endpoints else {
            throw root.failure(
                "replicas.minimum", at: value?.line,
                "\(replicas.minimum) replicas are needed, but there are only \(endpoints) endpoints",
                "Add endpoints, or write 'replicas: { minimum: \(endpoints) }' and accept less redundancy.")
        }
        return replicas
    }

    private static func deadlines(_ root: inout MappingReader) throws(ConfigurationError) -> Deadlines {
        var deadlines = Deadlines()
        guard let value = root.optional("deadlines") else { return deadlines }
        var members = try MappingReader(
            value, file: root.file, key: "deadlines",
            expected: "'deadlines: { endpointCall: 10s, generation: 20s }'")
        if let call = try SharedRules.duration(&members, "endpointCall", example: "10s") {
            deadlines.endpointCall = call
        }
        if let generation = try SharedRules.duration(&members, "generation", example: "20s") {
            deadlines.generation = generation
        }
        try members.finish()
        return deadlines
    }

    private static func logLevel(_ root: inout MappingReader) throws(ConfigurationError) -> LogLevel {
        guard let value = root.optional("log") else { return .info }
        var members = try MappingReader(
            value, file: root.file, key: "log", expected: "'log: { level: info }'")
        let text = try members.optionalText("level", example: "info") ?? LogLevel.info.rawValue
        guard let level = LogLevel(rawValue: text) else {
            throw members.failure(
                "level", at: value.line, "this is not a log level",
                "Write one of \(LogLevel.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        try members.finish()
        return level
    }
}
