import ClusterModel

// A change of the catalog, as it stands in the log. A command carries everything that its effect depends on
// (identifiers, the clock, what was seen on the tokens), so that applying it needs nothing but the catalog.

/// One change of the catalog. Encoded into a log entry; every node applies it alike.
public enum CatalogCommand: Hashable, Sendable, Codable {
    /// Add an endpoint that the configuration names. Out of service until the view says otherwise.
    case registerEndpoint(EndpointName)
    /// Remember which token an endpoint is and its transport key. The first enrolment stands.
    case enrolEndpoint(
        EndpointName, serialNumber: String, tokenLabel: String, transportKey: TransportPublicKey)
    /// Decide whether an endpoint is in service.
    case setService(EndpointName, isInService: Bool, reason: String?)
    /// Ask for permission to try a PIN that was never tried.
    case claimLogin(EndpointName, node: NodeID)
    /// Say how that try ended.
    case reportLogin(EndpointName, node: NodeID, outcome: LoginOutcome)
    /// An operator says that a rejected PIN was corrected.
    case clearRejection(EndpointName)
    /// Make a key store; it becomes the active one when there is none.
    case createKeyStore(
        name: String, minimumReplicas: Int, repairSources: Int, createdAt: Int64, requestID: RequestID)
    /// Intend a master key: allocates its label number.
    case beginKey(KeyIntent)
    /// Intend one attempt to generate it on one endpoint. Its CKA_ID carries this entry's term.
    case beginAttempt(OperationID, endpoint: EndpointName)
    /// An attempt's object stands and proved itself. The first one named wins.
    case recordGenerated(
        OperationID, identity: KeyIdentity, endpoint: EndpointName, proof: KeyProof, at: Int64)
    /// The generated object is out of reach before enough copies stand: give it up, so that another attempt can
    /// be made elsewhere. Only while the key is pending.
    case discardGenerated(OperationID, identity: KeyIdentity)
    /// A replica stands and repeated the proof.
    case recordReplica(
        OperationID, identity: KeyIdentity, endpoint: EndpointName, proof: KeyProof, isExtractable: Bool,
        at: Int64)
    /// A replica was found missing or different.
    case dropReplica(OperationID, endpoint: EndpointName, problem: String)
    /// Make the key usable, and the one in use.
    case activateKey(OperationID, identity: KeyIdentity, keyCheckValue: String)
    /// Give the key up.
    case failKey(OperationID, reason: String)
    /// An object of a known operation that no activation names was found.
    case reportOrphan(endpoint: EndpointName, identity: KeyIdentity, label: String)
    /// Intend its destruction.
    case destroyOrphan(endpoint: EndpointName, identity: KeyIdentity)
    /// It is gone.
    case orphanDestroyed(endpoint: EndpointName, identity: KeyIdentity)
    /// Remember where a node is reached.
    case registerNode(NodeRecord)
    /// Forget where a node was reached that is no member any more.
    case forgetNode(NodeID)
    /// An operator takes an endpoint out of service until `enableEndpoint`.
    case drainEndpoint(EndpointName)
    /// An operator lets an endpoint take part again that was drained or removed.
    case enableEndpoint(EndpointName)
    /// An operator takes an endpoint out of the cluster. Refused when usable keys need it, unless forced.
    case removeEndpoint(EndpointName, isForced: Bool)
}

/// What a `beginKey` command carries.
public struct KeyIntent: Hashable, Sendable, Codable {
    /// A fresh identifier, made by the node that took the request.
    public var operation: OperationID
    /// The client's request.
    public var requestID: RequestID
    /// The key store; nil for the active one.
    public var keyStore: String?
    /// What kind of key.
    public var algorithm: KeyAlgorithm
    /// What for.
    public var usage: KeyUsage
    /// Free text, at most `CatalogLimits.commentBytes`.
    public var comment: String
    /// Seconds since 1970.
    public var createdAt: Int64
    /// The highest decimal label number seen on any token in service; 0 when there is none.
    public var highestLabelSeen: UInt64
    /// A label on a token that makes the numbering ambiguous, and where it was seen.
    public var ambiguousLabel: String?

    /// Puts an intent together.
    public init(
        operation: OperationID, requestID: RequestID, keyStore: String?, algorithm: KeyAlgorithm,
        usage: KeyUsage,
        comment: String, createdAt: Int64, highestLabelSeen: UInt64, ambiguousLabel: String?
    ) {
        self.operation = operation
        self.requestID = requestID
        self.keyStore = keyStore
        self.algorithm = algorithm
        self.usage = usage
        self.comment = comment
        self.createdAt = createdAt
        self.highestLabelSeen = highestLabelSeen
        self.ambiguousLabel = ambiguousLabel
    }
}

/// How the one try of a PIN ended.
public enum LoginOutcome: String, Hashable, Sendable, Codable {
    /// The token accepted it.
    case accepted
    /// The token rejected it: wrong, locked or expired.
    case rejected
    /// The token rejected a PIN that it had accepted before.
    case revoked
    /// No try was made, or its end is not known and it will not be repeated.
    case abandoned
}

/// What applying a command came to.
public enum CatalogOutcome: Hashable, Sendable {
    /// Done, or already so.
    case done
    /// The key store that the command made, or that the same request made before.
    case keyStore(KeyStore)
    /// The key that the command changed, or that the same request made before.
    case key(MasterKey)
    /// The attempt that the command began.
    case attempt(MasterKey.Attempt, of: MasterKey)
    /// Nothing was changed.
    case refused(CatalogRefusal)
}

/// Why a command changed nothing.
public enum CatalogRefusal: Error, Hashable, Sendable, Codable {
    /// No endpoint has this name.
    case endpointUnknown(EndpointName)
    /// Another node is trying its PIN now.
    case loginClaimed(by: NodeID)
    /// A PIN was rejected; an operator must correct it first.
    case pinRejected(by: NodeID)
    /// A key store of this name exists.
    case keyStoreExists(String)
    /// No key store of this name, or none at all, exists.
    case keyStoreUnknown(String?)
    /// The same request id was used for something else.
    case requestConflict(RequestID)
    /// A label on a token leaves open which number comes next.
    case labelAmbiguous(String)
    /// No operation has this identifier.
    case operationUnknown(OperationID)
    /// The key is past the state in which this is allowed.
    case keyNotPending(OperationID)
    /// Another attempt was named first.
    case anotherAttemptWon(KeyIdentity)
    /// Not enough verified replicas in service to activate.
    case notEnoughReplicas(verified: Int, needed: Int)
    /// The proof differs from the one that the key was generated with.
    case proofDiffers(EndpointName)
    /// The object is part of a usable or pending key.
    case notAnOrphan(KeyIdentity)
    /// A name, comment or number is outside its bounds.
    case outOfBounds(String)
    /// An operator has drained or removed the endpoint.
    case endpointWithdrawn(EndpointName)
    /// Without this endpoint, that many keys would lack replicas or a source of further copies; the first of them
    /// by label, at most `CatalogLimits.labelsNamed`.
    case keysNeedEndpoint(EndpointName, labels: [String], count: Int)
}

/// Bounds on what the catalog accepts.
public enum CatalogLimits {
    /// The longest key store name, in bytes.
    public static let nameBytes = 64
    /// The longest comment, in bytes.
    public static let commentBytes = 256
    /// The longest reason, in bytes; longer ones are cut.
    public static let reasonBytes = 1_024
    /// The most attempts of one operation.
    public static let attempts = 1_000
    /// The longest address, in bytes.
    public static let addressBytes = 300
    /// The most nodes.
    public static let nodes = 64
    /// The most former nodes that are remembered.
    public static let formerNodes = 256
    /// The most endpoints.
    public static let endpoints = 64
    /// The most keys that a refusal names.
    public static let labelsNamed = 8
}
