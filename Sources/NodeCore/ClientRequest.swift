import ClusterModel
import KeyCatalog

// What a client may ask of the cluster through any node. Every request that changes something carries an
// identifier of the client's choice, so that asking again (after a lost answer, through another node, of
// another leader) cannot do it twice.

/// A client's request.
public enum ClientRequest: Hashable, Sendable, Codable {
    /// Make a key store. `nil` bounds mean the configured ones.
    case createKeyStore(name: String, minimumReplicas: Int?, requestID: RequestID)
    /// Generate a master key and put it on every endpoint in service.
    case generateKey(GenerateKey)
    /// The catalog as of now (linearizable).
    case readCatalog
    /// An operator says that an endpoint's PIN was corrected.
    case retryLogin(EndpointName)
    /// A node asks whether it may try a PIN that was never tried.
    case claimLogin(EndpointName, node: NodeID)
    /// A node says how that try ended.
    case reportLogin(EndpointName, node: NodeID, outcome: LoginOutcome)
    /// Let another node lead: the named one, or whichever is best. Without a name, asking again after it has
    /// happened moves leadership once more.
    case transferLeadership(to: NodeID?)
    /// Let a node take part as a learner, or change where it is reached.
    case addNode(NodeRecord)
    /// Let a learner vote.
    case promoteNode(NodeID)
    /// Let a node take part no more.
    case removeNode(NodeID)

    /// Take an endpoint out of service until `enableEndpoint`.
    case drainEndpoint(EndpointName)
    /// Let an endpoint take part again that was drained or removed.
    case enableEndpoint(EndpointName)
    /// Take an endpoint out of the cluster; unless forced, only when no usable key needs it.
    case removeEndpoint(EndpointName, isForced: Bool)

    /// The parameters of `generateKey`.
    public struct GenerateKey: Hashable, Sendable, Codable {
        /// Asking again with the same one returns the same key.
        public var requestID: RequestID
        /// The key store; nil for the active one.
        public var keyStore: String?
        /// What kind of key.
        public var algorithm: KeyAlgorithm
        /// Free text.
        public var comment: String
        /// Puts the parameters together.
        public init(requestID: RequestID, keyStore: String?, algorithm: KeyAlgorithm, comment: String) {
            self.requestID = requestID
            self.keyStore = keyStore
            self.algorithm = algorithm
            self.comment = comment
        }
    }
}

/// The answer to a `ClientRequest`.
public enum ClientReply: Hashable, Sendable, Codable {
    /// To `createKeyStore`.
    case keyStore(KeyStore)
    /// To `generateKey`: a usable key.
    case key(MasterKey)
    /// To `readCatalog`.
    case catalog(CatalogView)
    /// To the rest.
    case done
    /// Nothing came of it.
    case refused(ClientRefusal)
}

/// The catalog as a reader sees it.
public struct CatalogView: Hashable, Sendable, Codable {
    /// Key stores by name.
    public var keyStores: [KeyStore]
    /// Master keys by label number.
    public var keys: [MasterKey]
    /// Endpoints by name.
    public var endpoints: [EndpointRecord]
    /// Orphans that are not destroyed yet.
    public var orphans: [Orphan]
    /// Counts every change of which endpoints are in service.
    public var viewEpoch: UInt64
    /// The last log entry that is in it.
    public var appliedIndex: LogIndex

    init(_ catalog: Catalog, appliedIndex: LogIndex) {
        keyStores = catalog.keyStores.values.sorted { $0.name < $1.name }
        keys = catalog.keysInOrder
        endpoints = catalog.endpoints.values.sorted { $0.name < $1.name }
        orphans = catalog.orphans.keys.sorted().compactMap { catalog.orphans[$0] }
            .filter { $0.state != .destroyed }
        viewEpoch = catalog.counters.viewEpoch
        self.appliedIndex = appliedIndex
    }
}

/// Why a request was not carried out.
public enum ClientRefusal: Error, Hashable, Sendable, Codable {
    /// Fewer than a majority of the voters can be reached.
    case noQuorum(reachable: Int, voters: Int)
    /// No leader was found in time, though a majority can be reached.
    case noLeader
    /// The cluster knows, but not yet the end of it: ask again with the same request id.
    case pending(RequestID)
    /// No answer in time.
    case timedOut
    /// Too many requests wait already.
    case overloaded
    /// Fewer endpoints are in service than the key needs replicas.
    case notEnoughEndpoints(inService: [EndpointName], needed: Int)
    /// The key was given up; its label number stays unused.
    case generationFailed(label: String, reason: String)
    /// The catalog's rules forbid it.
    case catalog(CatalogRefusal)
    /// No voter has this number.
    case nodeUnknown(NodeID)
    /// Leadership stayed where it was.
    case transferFailed(to: NodeID?, reason: String)
    /// The members are being changed already; one change at a time.
    case membershipBusy(NodeID)
    /// The node lacks too many entries to vote, or has no link to the leader.
    case nodeLagging(NodeID, behind: UInt64)
    /// After the change, no majority of the voters could be reached.
    case quorumAtRisk(reachable: Int, voters: Int)
    /// This node was removed from the cluster.
    case nodeRemoved
    /// This node's disk does not accept writes.
    case storageFailed(String)
}
