// A cluster without nodes or HSMs: it keeps key stores and master keys in memory, remembers request ids as
// the real one does, and fails, waits or hangs when a test says so.

import ClusterModel
import ManagementModel

/// An in-memory `ClusterService` that does what its script says.
public actor ScriptedCluster: ClusterService {
    /// What to do with the next calls.
    public enum Script: Sendable {
        /// Answer.
        case answer
        /// Fail.
        case fail(ManagementError)
        /// Fail this many times, then answer.
        case failTimes(Int, ManagementError)
        /// Wait until `release`, ignoring cancellation.
        case hang
    }

    private var script = Script.answer
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var watchers: [CheckedContinuation<Void, Never>] = []
    private var stores: [KeyStoreStatus] = []
    private var keys: [MasterKeyStatus] = []
    private var requests: [RequestID: GenerateMasterKey] = [:]
    private var label: String?
    private let node: NodeID
    /// How many calls have come, `status` included.
    public private(set) var calls = 0
    /// The request ids that have come, in order.
    public private(set) var requestIDs: [RequestID] = []

    /// A cluster as node `node` sees it.
    public init(node: NodeID = NodeID(1)) { self.node = node }

    /// Decides about the next calls.
    public func follow(_ script: Script) { self.script = script }

    /// Gives keys a token label with whatever the test wants to see on a terminal.
    public func setTokenLabel(_ label: String) { self.label = label }

    /// Lets every hanging call go on, and further ones answer.
    public func release() {
        script = .answer
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    /// Returns once a call hangs.
    public func waitUntilHanging() async {
        while waiters.isEmpty { await withCheckedContinuation { watchers.append($0) } }
    }

    private func hang() async {
        await withCheckedContinuation { continuation in
            waiters.append(continuation)
            for watcher in watchers { watcher.resume() }
            watchers = []
        }
    }

    private func act() async throws(ManagementError) {
        calls += 1
        switch script {
        case .answer: break
        case .fail(let error): throw error
        case .failTimes(let times, let error):
            script = times > 1 ? .failTimes(times - 1, error) : .answer
            throw error
        case .hang: await hang()
        }
    }

    private var endpointList: [EndpointStatus] {
        [
            EndpointStatus(
                name: EndpointName("hsm-a"), state: .inService, inService: true, tokenLabel: label ?? "hsm-a",
                serialNumber: "0001",
                observedBy: [EndpointObservation(node: node, state: .inService, latencyMicroseconds: 350)]),
            EndpointStatus(
                name: EndpointName("hsm-b"), state: .credentialError, inService: false,
                error: "the token rejected the PIN"),
        ]
    }

    /// Always answers; a script that hangs makes even this hang.
    public func status() async -> ClusterStatus {
        calls += 1
        if case .hang = script { await hang() }
        return ClusterStatus(
            cluster: "local", node: node, quorum: true, leader: NodeID(2), term: Term(7),
            commitIndex: LogIndex(42), appliedIndex: LogIndex(41),
            nodes: [
                NodeStatus(
                    id: NodeID(1), role: .follower, state: .alive, address: "127.0.0.1:7101",
                    isLocal: node == NodeID(1), term: Term(7)),
                NodeStatus(
                    id: NodeID(2), role: .leader, state: .alive, address: "127.0.0.1:7102",
                    isLocal: node == NodeID(2), term: Term(7), matchIndex: LogIndex(42)),
            ],
            endpoints: endpointList, keyStores: stores, masterKeys: keys,
            warnings: ["hsm-b needs an operator"])
    }

    /// The two nodes.
    public func nodes() async -> [NodeStatus] { await status().nodes }

    /// Knows node 2, which leads already.
    public func transferLeadership(
        _ request: TransferLeadership, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        requestIDs.append(requestID)
        try await act()
        guard request.to ?? NodeID(2) == NodeID(2) else {
            throw ManagementError(.nodeUnknown, detail: "No voter has the number \(request.to ?? node).")
        }
        return await status().nodes
    }

    /// Takes any node.
    public func addNode(
        _ request: AddNode, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        requestIDs.append(requestID)
        try await act()
        let added = NodeStatus(
            id: request.id, role: .follower, state: .unknown, address: request.address, api: request.api,
            membership: .learner, isLocal: false)
        return await status().nodes + [added]
    }

    /// Knows the two nodes.
    public func promoteNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        requestIDs.append(requestID)
        try await act()
        let nodes = await status().nodes
        guard nodes.contains(where: { $0.id == id }) else {
            throw ManagementError(.nodeUnknown, detail: "No node has the number \(id).")
        }
        return nodes
    }

    /// Leaves the other node.
    public func removeNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        requestIDs.append(requestID)
        try await act()
        return await status().nodes.filter { $0.id != id }
    }

    /// The two endpoints.
    public func endpoints() async throws(ManagementError) -> [EndpointStatus] {
        try await act()
        return endpointList
    }

    /// The key stores made so far.
    public func keyStores() async throws(ManagementError) -> [KeyStoreStatus] {
        try await act()
        return stores
    }

    /// The master keys made so far.
    public func masterKeys() async throws(ManagementError) -> [MasterKeyStatus] {
        try await act()
        return keys
    }

    /// Makes a key store, once for each name.
    public func createKeyStore(
        _ request: CreateKeyStore, requestID: RequestID
    ) async throws(ManagementError) -> KeyStoreStatus {
        requestIDs.append(requestID)
        try await act()
        guard !stores.contains(where: { $0.name == request.name }) else {
            throw ManagementError(.keyStoreExists, detail: "'\(request.name)' exists.")
        }
        for index in stores.indices { stores[index].active = false }
        let store = KeyStoreStatus(
            name: request.name, active: true, minimumReplicas: request.minimumReplicas ?? 2, masterKeys: 0)
        stores.append(store)
        return store
    }

    /// Makes a master key, once for each request id.
    public func generateMasterKey(
        _ request: GenerateMasterKey, requestID: RequestID
    ) async throws(ManagementError) -> MasterKeyStatus {
        requestIDs.append(requestID)
        try await act()
        if let earlier = requests[requestID] {
            guard earlier == request, let key = keys.first(where: { $0.requestID == requestID }) else {
                throw ManagementError(.requestIDConflict, detail: "\(requestID) made another key.")
            }
            return key
        }
        requests[requestID] = request
        for index in keys.indices { keys[index].active = false }
        let number = 4_099 + UInt64(keys.count)
        let key = MasterKeyStatus(
            label: "CMS MK \(number)", keyID: number, algorithm: request.algorithm, kcv: "66E94B",
            active: true,
            state: .active, createdAt: Timestamp.text(secondsSince1970: 1_795_572_669),
            keyStore: stores.first { $0.active }?.name ?? "main", comment: request.comment,
            origin: EndpointName("hsm-a"), requestID: requestID,
            replicas: [
                ReplicaStatus(endpoint: EndpointName("hsm-a"), verified: true),
                ReplicaStatus(endpoint: EndpointName("hsm-b"), verified: false, error: "out of service"),
            ])
        keys.append(key)
        return key
    }

    /// Knows the two endpoints.
    public func retryLogin(endpoint: EndpointName) async throws(ManagementError) -> EndpointStatus {
        try await act()
        guard let found = endpointList.first(where: { $0.name == endpoint }) else {
            throw ManagementError(.endpointUnknown, detail: "No endpoint is called '\(endpoint)'.")
        }
        return found
    }
}
