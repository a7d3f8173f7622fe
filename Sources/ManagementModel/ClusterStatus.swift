// One node's view of the cluster, as GET /v1/status returns it. Property names are the documented JSON keys:
// renaming one breaks scripts. Absent optionals are left out, except `leader`, which is null so that scripts
// can tell "no leader" from "an older node".

import ClusterModel

/// One node's view of the whole cluster.
public struct ClusterStatus: Hashable, Sendable {
    /// The cluster's name.
    public var cluster: String
    /// The node that answers.
    public var node: NodeID
    /// True when a majority of voters takes part, as far as this node knows.
    public var quorum: Bool
    /// The leader this node follows or is; nil while there is none.
    public var leader: NodeID?
    /// The answering node's term.
    public var term: Term
    /// The last log index known to be committed.
    public var commitIndex: LogIndex
    /// The last log index applied to the catalog.
    public var appliedIndex: LogIndex
    /// The software version of the answering node.
    public var version: String
    /// All configured nodes, in the order of their numbers.
    public var nodes: [NodeStatus]
    /// All configured endpoints, by name.
    public var endpoints: [EndpointStatus]
    /// The key stores of the local catalog.
    public var keyStores: [KeyStoreStatus]
    /// The master keys of the local catalog.
    public var masterKeys: [MasterKeyStatus]
    /// How many objects of abandoned attempts are known to lie on endpoints.
    public var orphans: Int
    /// Sentences that an operator should read.
    public var warnings: [String]

    /// Puts a status together.
    public init(
        cluster: String, node: NodeID, quorum: Bool, leader: NodeID?, term: Term, commitIndex: LogIndex,
        appliedIndex: LogIndex, version: String = SoftwareVersion.current, nodes: [NodeStatus],
        endpoints: [EndpointStatus], keyStores: [KeyStoreStatus] = [], masterKeys: [MasterKeyStatus] = [],
        orphans: Int = 0, warnings: [String] = []
    ) {
        self.cluster = cluster
        self.node = node
        self.quorum = quorum
        self.leader = leader
        self.term = term
        self.commitIndex = commitIndex
        self.appliedIndex = appliedIndex
        self.version = version
        self.nodes = nodes
        self.endpoints = endpoints
        self.keyStores = keyStores
        self.masterKeys = masterKeys
        self.orphans = orphans
        self.warnings = warnings
    }
}

extension ClusterStatus: Codable {
    private enum Keys: String, CodingKey {
        case cluster, node, quorum, leader, term, commitIndex, appliedIndex, version, nodes, endpoints
        case keyStores, masterKeys, orphans, warnings
    }

    /// Reads the JSON object; unknown members are ignored.
    public init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Keys.self)
        cluster = try members.decode(String.self, forKey: .cluster)
        node = try members.decode(NodeID.self, forKey: .node)
        quorum = try members.decode(Bool.self, forKey: .quorum)
        leader = try members.decodeIfPresent(NodeID.self, forKey: .leader)
        term = try members.decode(Term.self, forKey: .term)
        commitIndex = try members.decode(LogIndex.self, forKey: .commitIndex)
        appliedIndex = try members.decode(LogIndex.self, forKey: .appliedIndex)
        version = try members.decode(String.self, forKey: .version)
        nodes = try members.decode([NodeStatus].self, forKey: .nodes)
        endpoints = try members.decode([EndpointStatus].self, forKey: .endpoints)
        keyStores = try members.decode([KeyStoreStatus].self, forKey: .keyStores)
        masterKeys = try members.decode([MasterKeyStatus].self, forKey: .masterKeys)
        orphans = try members.decode(Int.self, forKey: .orphans)
        warnings = try members.decode([String].self, forKey: .warnings)
    }

    /// Writes the JSON object; `leader` is null when there is none.
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(cluster, forKey: .cluster)
        try members.encode(node, forKey: .node)
        try members.encode(quorum, forKey: .quorum)
        try members.encode(leader, forKey: .leader)
        try members.encode(term, forKey: .term)
        try members.encode(commitIndex, forKey: .commitIndex)
        try members.encode(appliedIndex, forKey: .appliedIndex)
        try members.encode(version, forKey: .version)
        try members.encode(nodes, forKey: .nodes)
        try members.encode(endpoints, forKey: .endpoints)
        try members.encode(keyStores, forKey: .keyStores)
        try members.encode(masterKeys, forKey: .masterKeys)
        try members.encode(orphans, forKey: .orphans)
        try members.encode(warnings, forKey: .warnings)
    }
}

/// One node as the answering node sees it.
public struct NodeStatus: Hashable, Sendable, Codable {
    /// The configured number.
    public var id: NodeID
    /// Its role in consensus.
    public var role: NodeRole
    /// Its liveness.
    public var state: MemberState
    /// Where other nodes reach it, `host:port`.
    public var address: String
    /// Where clients reach its management API, `https://host:port`.
    public var api: String?
    /// Whether it votes.
    public var membership: NodeMembership?
    /// True for the answering node itself.
    public var isLocal: Bool
    /// Its term, where known.
    public var term: Term?
    /// The last log index known to be stored there; only the leader knows.
    public var matchIndex: LogIndex?

    /// Puts a node's status together.
    public init(
        id: NodeID, role: NodeRole, state: MemberState, address: String, api: String? = nil,
        membership: NodeMembership? = nil, isLocal: Bool, term: Term? = nil,
        matchIndex: LogIndex? = nil
    ) {
        self.id = id
        self.role = role
        self.state = state
        self.address = address
        self.api = api
        self.membership = membership
        self.isLocal = isLocal
        self.term = term
        self.matchIndex = matchIndex
    }
}

/// One endpoint as the cluster sees it.
public struct EndpointStatus: Hashable, Sendable, Codable {
    /// The configured name.
    public var name: EndpointName
    /// Its state as the view and the observations together tell.
    public var state: EndpointState
    /// True when the agreed view has it in service.
    public var inService: Bool
    /// The token's label, once it has been seen.
    public var tokenLabel: String?
    /// The token's serial number, once it has been seen.
    public var serialNumber: String?
    /// Why it is not in service, for people.
    public var error: String?
    /// What each node observes.
    public var observedBy: [EndpointObservation]?

    /// Puts an endpoint's status together.
    public init(
        name: EndpointName, state: EndpointState, inService: Bool, tokenLabel: String? = nil,
        serialNumber: String? = nil, error: String? = nil, observedBy: [EndpointObservation]? = nil
    ) {
        self.name = name
        self.state = state
        self.inService = inService
        self.tokenLabel = tokenLabel
        self.serialNumber = serialNumber
        self.error = error
        self.observedBy = observedBy
    }
}

/// One node's own observation of one endpoint.
public struct EndpointObservation: Hashable, Sendable, Codable {
    /// The observing node.
    public var node: NodeID
    /// The state as that node sees it.
    public var state: EndpointState
    /// The time of a recent call, in microseconds.
    public var latencyMicroseconds: UInt64?

    /// Puts an observation together.
    public init(node: NodeID, state: EndpointState, latencyMicroseconds: UInt64? = nil) {
        self.node = node
        self.state = state
        self.latencyMicroseconds = latencyMicroseconds
    }
}
