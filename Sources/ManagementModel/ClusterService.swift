// The seam between the interfaces (HTTP now; whatever comes later) and the coordinator. The interfaces know
// this protocol and the values of this target, nothing of consensus or PKCS#11, so they can be tested
// against a scripted cluster and the coordinator can be rebuilt behind it.

import ClusterModel

/// What a node offers. Every node takes every call and passes on what needs the leader.
///
/// Calls arrive concurrently, from any task. Reads that throw need a leader; `status` does not. A call that
/// changes something names its request: the same request again returns the same outcome, the same id with
/// other parameters is refused with `request-id-conflict`. When the calling task is cancelled (the caller's
/// deadline passed), a call may return early with `timeout` or `generation-pending`; work that has been
/// logged goes on regardless.
public protocol ClusterService: Sendable {
    /// This node's own view. Never fails, needs neither leader nor quorum.
    func status() async -> ClusterStatus

    /// The nodes as this node sees them. Needs neither leader nor quorum.
    func nodes() async -> [NodeStatus]

    /// Lets another node lead and waits until it does. `node-unknown` when the named node does not vote,
    /// `transfer-failed` when leadership stayed where it was. Without a name, a repeated call may move it once more.
    func transferLeadership(
        _ request: TransferLeadership, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus]

    /// Lets a node take part as a learner and waits until that is agreed. `membership-conflict` while another change
    /// is under way.
    func addNode(_ request: AddNode, requestID: RequestID) async throws(ManagementError) -> [NodeStatus]

    /// Lets a learner vote. `membership-conflict` when it has not caught up.
    func promoteNode(_ id: NodeID, requestID: RequestID) async throws(ManagementError) -> [NodeStatus]

    /// Lets a node take part no more. `membership-conflict` when no majority of the others can be reached.
    func removeNode(_ id: NodeID, requestID: RequestID) async throws(ManagementError) -> [NodeStatus]

    /// The endpoints with what every node observes of them.
    func endpoints() async throws(ManagementError) -> [EndpointStatus]

    /// The key stores, in the order of their creation.
    func keyStores() async throws(ManagementError) -> [KeyStoreStatus]

    /// The master keys, in the order of their label numbers, pending and failed ones included.
    func masterKeys() async throws(ManagementError) -> [MasterKeyStatus]

    /// Makes a key store and makes it the active one. `key-store-exists` when the name is taken.
    func createKeyStore(
        _ request: CreateKeyStore, requestID: RequestID
    ) async throws(ManagementError) -> KeyStoreStatus

    /// Generates a master key in the active key store and waits until it is active. Cannot be undone.
    ///
    /// Throws `generation-pending` when it is still going on, so that the caller asks again with the same id.
    func generateMasterKey(
        _ request: GenerateMasterKey, requestID: RequestID
    ) async throws(ManagementError) -> MasterKeyStatus

    /// Tries a rejected PIN once more, because an operator says that it may be tried. `endpoint-unknown` when
    /// no endpoint has this name.
    func retryLogin(endpoint: EndpointName) async throws(ManagementError) -> EndpointStatus
}
