import ClusterModel

// What the cluster agrees on about keys: one record a key store, master key, endpoint and orphan. Records are
// plain values; each is one row of the catalog database, so a change rewrites only the rows that it touches.

/// An operator service key store: the set of endpoints' master keys that one CMS uses.
public struct KeyStore: Hashable, Sendable, Codable {
    /// The name that the operator gave it; unique.
    public var name: String
    /// How many verified replicas a key needs before it becomes usable.
    public var minimumReplicas: Int
    /// How many replicas stay wrappable, so that others can be made from them.
    public var repairSources: Int
    /// True for the store in use (the `*`); at most one.
    public var isActive: Bool
    /// The master key in use (the `*`); new credentials are diversified from it.
    public var activeKey: OperationID?
    /// Seconds since 1970 by the clock of the node that took the request.
    public var createdAt: Int64
    /// The request that made it.
    public var requestID: RequestID
}

/// A master key, from the intent to make it onward. Never deleted: its label number is never used again.
public struct MasterKey: Hashable, Sendable, Codable {
    /// Names the generation; the first 16 bytes of every CKA_ID that it makes.
    public var operation: OperationID
    /// The client's request.
    public var requestID: RequestID
    /// The key store it belongs to.
    public var keyStore: String
    /// The label number, such as 4099.
    public var number: UInt64
    /// What kind of key it is.
    public var algorithm: KeyAlgorithm
    /// What it may be used for on a token.
    public var usage: KeyUsage
    /// Free text of the operator.
    public var comment: String
    /// Seconds since 1970 by the clock of the node that took the request.
    public var createdAt: Int64
    /// How many verified replicas activation needs.
    public var minimumReplicas: Int
    /// How many replicas stay wrappable.
    public var repairSources: Int
    /// How far it has come.
    public var state: State
    /// Every attempt to generate it, in the order of the log.
    public var attempts: [Attempt]
    /// The attempt that the log named first as generated; the only one that can be activated.
    public var generated: Generated?
    /// The endpoints that hold a copy, by name.
    public var replicas: [EndpointName: Replica]

    /// How far a master key has come.
    public enum State: Hashable, Sendable, Codable {
        /// Intended; not usable. Can become `usable` or `failed`.
        case pending
        /// Activated; stays usable for good (the seed: no rollback).
        case usable
        /// Given up; none of its objects will ever be used.
        case failed(reason: String)
    }

    /// One attempt to generate the key: the intent, logged before the HSM is asked.
    public struct Attempt: Hashable, Sendable, Codable {
        /// Its CKA_ID.
        public var identity: KeyIdentity
        /// Where it is to be generated.
        public var endpoint: EndpointName
        /// True when it can never be used: it, or another attempt beside it, had been named as generated and
        /// was given up before activation, because its endpoint went away before enough copies stood.
        public var isDiscarded = false
    }

    /// The attempt that won, and what its endpoint proved about it.
    public struct Generated: Hashable, Sendable, Codable {
        /// Its CKA_ID.
        public var identity: KeyIdentity
        /// Where it was generated.
        public var endpoint: EndpointName
        /// The proof that every replica must repeat.
        public var proof: KeyProof
    }

    /// One copy of the key on one endpoint.
    public struct Replica: Hashable, Sendable, Codable {
        /// True when the endpoint has repeated the key's proof.
        public var isVerified: Bool
        /// True when further copies can be wrapped from it.
        public var isExtractable: Bool
        /// When it was verified, in seconds since 1970 by the leader's clock.
        public var verifiedAt: Int64
        /// Why it is not verified any more, if so.
        public var problem: String?
    }

    /// The label on every token.
    public var label: String { KeyLabel.generated(number) }

    /// The data from which every endpoint derives its probe: fixed by the operation, so that proofs compare.
    public var challenge: [UInt8] { operation.bytes + operation.bytes.map { ~$0 } }

    /// The endpoints with a verified replica, in order.
    public var verifiedEndpoints: [EndpointName] {
        replicas.filter { $0.value.isVerified }.keys.sorted()
    }

    /// The endpoints whose verified replica others can be copied from, in order.
    public var sources: [EndpointName] {
        verifiedEndpoints.filter { replicas[$0]?.isExtractable == true }
    }
}

/// One HSM endpoint as the cluster has agreed on it.
public struct EndpointRecord: Hashable, Sendable, Codable {
    /// Its name.
    public var name: EndpointName
    /// Whether the view has it in service.
    public var isInService: Bool
    /// Why it is out of service, or nil.
    public var reason: String?
    /// Whether it has ever been in service.
    public var wasInService: Bool
    /// The serial number of the token found at enrolment; another token at the same place is not this endpoint.
    public var serialNumber: String?
    /// The token's label at enrolment.
    public var tokenLabel: String?
    /// The public half of its transport key, pinned at enrolment.
    public var transportKey: TransportPublicKey?
    /// The node that may try a PIN now that has never been tried, with the log position of the claim.
    public var loginClaim: LoginClaim?
    /// The node whose PIN the token rejected; nobody tries an untried PIN until an operator clears this.
    public var rejectedBy: NodeID?
    /// True when the rejected PIN had been accepted before: it was changed on the HSM, so no node tries it again.
    public var wasAcceptedBefore = false
    /// What an operator decided about it; nil as long as only the view decides. Rows of before lack it.
    public var withdrawal: Withdrawal?

    /// How an operator took an endpoint out.
    public enum Withdrawal: String, Hashable, Sendable, Codable {
        /// Serves nobody and gets no new keys; its replicas count, are checked, and may be copied from.
        case drained
        /// No part of the cluster any more, whatever a node's configuration file says.
        case removed
    }

    /// Permission for one node to try a PIN once.
    public struct LoginClaim: Hashable, Sendable, Codable {
        /// Who may try.
        public var node: NodeID
        /// Where in the log it was granted.
        public var index: LogIndex
    }
}

/// An object on an endpoint that carries the stamp of a known operation but that no activation names: left
/// by an attempt that lost. Invisible to applications; reported, then destroyed by its own logged step.
public struct Orphan: Hashable, Sendable, Codable {
    /// Where it lies.
    public var endpoint: EndpointName
    /// Its CKA_ID.
    public var identity: KeyIdentity
    /// Its label.
    public var label: String
    /// How far its removal has come.
    public var state: State

    /// How far the removal of an orphan has come.
    public enum State: String, Hashable, Sendable, Codable {
        /// Found and reported.
        case reported
        /// Its destruction is logged and may have happened.
        case destroying
        /// Gone.
        case destroyed
    }

    /// The row key: endpoint and identity.
    public static func rowKey(_ endpoint: EndpointName, _ identity: KeyIdentity) -> String {
        endpoint.rawValue + "/" + Hex.encode(identity.bytes)
    }
}
