// Key stores and master keys as the catalog holds them. Times are RFC 3339 texts in UTC because floor 0 has
// no calendar; whoever applies the log knows them.

import ClusterModel

/// A key store.
public struct KeyStoreStatus: Hashable, Sendable, Codable {
    /// Its name, unique in the cluster.
    public var name: String
    /// True for the one in which new master keys are made.
    public var active: Bool
    /// How many verified replicas a key needs before it is activated.
    public var minimumReplicas: Int
    /// How many activated master keys it holds.
    public var masterKeys: Int

    /// Puts a key store's status together.
    public init(name: String, active: Bool, minimumReplicas: Int, masterKeys: Int) {
        self.name = name
        self.active = active
        self.minimumReplicas = minimumReplicas
        self.masterKeys = masterKeys
    }
}

/// A master key.
public struct MasterKeyStatus: Hashable, Sendable, Codable {
    /// The label on the tokens, such as `CMS MK 4099`.
    public var label: String
    /// The number in the label.
    public var keyID: UInt64
    /// `AES128`, `AES256` or `DES-EDE3`.
    public var algorithm: String
    /// The key check value (ECB of a zero block, 3 bytes, upper-case hexadecimal); nil until a key was made.
    public var kcv: String?
    /// True for the one key that new work uses, marked `*`.
    public var active: Bool
    /// How far its generation has come.
    public var state: MasterKeyState
    /// When its label was allocated, RFC 3339.
    public var createdAt: String
    /// The key store it belongs to.
    public var keyStore: String
    /// What the operator wrote.
    public var comment: String
    /// The endpoint on which it was generated; nil until that is decided.
    public var origin: EndpointName?
    /// The request that made it.
    public var requestID: RequestID?
    /// Why it failed, or what it waits for.
    public var error: String?
    /// Where it stands.
    public var replicas: [ReplicaStatus]

    /// Puts a master key's status together.
    public init(
        label: String, keyID: UInt64, algorithm: KeyAlgorithm, kcv: String?, active: Bool,
        state: MasterKeyState, createdAt: String, keyStore: String, comment: String = "",
        origin: EndpointName? = nil, requestID: RequestID? = nil, error: String? = nil,
        replicas: [ReplicaStatus]
    ) {
        self.label = label
        self.keyID = keyID
        self.algorithm = algorithm.displayName
        self.kcv = kcv
        self.active = active
        self.state = state
        self.createdAt = createdAt
        self.keyStore = keyStore
        self.comment = comment
        self.origin = origin
        self.requestID = requestID
        self.error = error
        self.replicas = replicas
    }
}

/// One copy of a master key on one endpoint.
public struct ReplicaStatus: Hashable, Sendable, Codable {
    /// The endpoint.
    public var endpoint: EndpointName
    /// True when check value and probe derivation were computed there and agree.
    public var verified: Bool
    /// When it was last verified, RFC 3339.
    public var verifiedAt: String?
    /// Why it is missing or not verified.
    public var error: String?

    /// Puts a replica's status together.
    public init(endpoint: EndpointName, verified: Bool, verifiedAt: String? = nil, error: String? = nil) {
        self.endpoint = endpoint
        self.verified = verified
        self.verifiedAt = verifiedAt
        self.error = error
    }
}
