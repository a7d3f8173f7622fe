import ClusterModel
import Dispatch
import KeyCatalog
import ManagementModel
import NodeCore
import Synchronization

// The node as people and programs see it: the management API's calls become requests to the pure node, and
// its answers become the values of the API.

extension Coordinator: ClusterService {
    /// This node's own view; needs neither leader nor quorum.
    public func status() async -> ClusterStatus {
        await report().status
    }

    /// The endpoints: the agreed part linearizable, the observations as this node has them.
    public func endpoints() async throws(ManagementError) -> [EndpointStatus] {
        let view = try await catalogView()
        let report = await report()
        return view.endpoints.map { report.endpoint($0.name, record: $0) }
    }

    /// The key stores, oldest first.
    public func keyStores() async throws(ManagementError) -> [KeyStoreStatus] {
        let view = try await catalogView()
        return KeyStoreStatus.list(view.keyStores, keys: view.keys)
    }

    /// The master keys by label number.
    public func masterKeys() async throws(ManagementError) -> [MasterKeyStatus] {
        let view = try await catalogView()
        return view.keys.map { key in
            MasterKeyStatus(key, store: view.keyStores.first { $0.name == key.keyStore })
        }
    }

    /// Makes a key store.
    public func createKeyStore(
        _ request: CreateKeyStore, requestID: RequestID
    ) async throws(ManagementError) -> KeyStoreStatus {
        let reply = try await ask(
            .createKeyStore(
                name: request.name, minimumReplicas: request.minimumReplicas, requestID: requestID),
            requestID: requestID)
        guard case .keyStore(let store) = reply else { throw unexpected(requestID) }
        return KeyStoreStatus(store, keyCount: 0)
    }

    /// Generates a master key and waits until it is usable.
    public func generateMasterKey(
        _ request: GenerateMasterKey, requestID: RequestID
    ) async throws(ManagementError) -> MasterKeyStatus {
        let generate = ClientRequest.GenerateKey(
            requestID: requestID, keyStore: nil, algorithm: request.algorithm, comment: request.comment)
        let reply = try await ask(.generateKey(generate), requestID: requestID)
        guard case .key(let key) = reply else { throw unexpected(requestID) }
        // Whether it is the key in use, the catalog tells, which other nodes may have changed meanwhile.
        let view = try? await catalogView()
        return MasterKeyStatus(
            view?.keys.first { $0.operation == key.operation } ?? key,
            store: view?.keyStores.first { $0.name == key.keyStore })
    }

    /// Lets a corrected PIN be tried once more.
    public func retryLogin(endpoint name: EndpointName) async throws(ManagementError) -> EndpointStatus {
        _ = try await ask(.retryLogin(name), requestID: nil)
        let view = try await catalogView()
        return await report().endpoint(name, record: view.endpoints.first { $0.name == name })
    }

    // MARK: Asking

    /// This node as it is now, as a report for people.
    private func report() async -> StatusReport {
        let (node, haltReason) = await onLoop { ($0.snapshot, $0.haltReason) }
        return StatusReport(configuration: configuration, node: node, haltReason: haltReason)
    }

    /// An identifier that was never used before, for what a request may make.
    static func freshIdentifier() -> Identifier128 {
        Identifier128(high: UInt64.random(in: 0 ... .max), low: UInt64.random(in: 0 ... .max))
    }

    private func catalogView() async throws(ManagementError) -> CatalogView {
        guard case .catalog(let view) = try await ask(.readCatalog, requestID: nil) else {
            throw unexpected(nil)
        }
        return view
    }

    private func unexpected(_ requestID: RequestID?) -> ManagementError {
        ManagementError(
            .internalError, detail: "The leader gave an answer of another kind than was asked for.",
            requestID: requestID)
    }

    func ask(
        _ request: ClientRequest, requestID: RequestID?
    ) async throws(ManagementError) -> ClientReply {
        let reply = await reply(to: request)
        guard case .refused(let refusal) = reply else { return reply }
        throw ManagementError(refusal, requestID: requestID)
    }

    private func reply(to request: ClientRequest) async -> ClientReply {
        let fresh = Self.freshIdentifier()
        let pending = Mutex<ClientRequestID?>(nil)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<ClientReply, Never>) in
                loop.queue.async {
                    let id = self.loop.ask(request, fresh: fresh) { continuation.resume(returning: $0) }
                    pending.withLock { $0 = id }
                    if Task.isCancelled { self.loop.cancel(id) }
                }
            }
        } onCancel: {
            loop.queue.async {
                guard let id = pending.withLock({ $0 }) else { return }
                self.loop.cancel(id)
            }
        }
    }

    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (NodeLoop) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            loop.queue.async { continuation.resume(returning: body(self.loop)) }
        }
    }
}

// MARK: - Refusals

extension ManagementError {
    init(_ refusal: ClientRefusal, requestID: RequestID?) {
        switch refusal {
        case .noQuorum(let reachable, let voters):
            self.init(
                .noQuorum, detail: "\(reachable) of \(voters) nodes can be reached; a majority is needed.",
                requestID: requestID)
        case .noLeader:
            self.init(.noLeader, detail: "No leader was elected in time.", requestID: requestID)
        case .pending(let id):
            self.init(.generationPending, detail: "The cluster is still working on it.", requestID: id)
        case .timedOut:
            self.init(.timeout, detail: "The cluster did not answer in time.", requestID: requestID)
        case .overloaded:
            self.init(.busy, detail: "Too many requests are waiting.", requestID: requestID)
        case .notEnoughEndpoints(let inService, let needed):
            let names = inService.isEmpty ? "none" : inService.map(\.rawValue).joined(separator: ", ")
            self.init(
                .notEnoughEndpoints,
                detail: "\(needed) endpoints are needed to hold a key; usable now: \(names).",
                requestID: requestID)
        case .generationFailed(let label, let reason):
            self.init(
                .generationFailed, detail: "\(label) was given up: \(reason). Its number is not used again.",
                requestID: requestID)
        case .nodeUnknown(let node):
            self.init(.nodeUnknown, detail: "The cluster has no such node: \(node).", requestID: requestID)
        case .transferFailed(let node, let reason):
            let target = node.map { " to node \($0)" } ?? ""
            self.init(
                .transferFailed, detail: "Leadership was not handed over\(target): \(reason).",
                requestID: requestID)
        case .membershipBusy(let node):
            self.init(
                .membershipConflict, detail: "Node \(node) is being added, promoted or removed.",
                whatToDo: "Repeat the command in a moment.", requestID: requestID)
        case .nodeLagging(let node, let behind):
            self.init(
                .membershipConflict,
                detail: "Node \(node) is not connected to the leader, or still lacks \(behind) log entries.",
                whatToDo: "Wait until 'hsmcluster nodes list' shows that it has caught up.",
                requestID: requestID)
        case .quorumAtRisk(let reachable, let voters):
            self.init(
                .membershipConflict,
                detail: "Only \(reachable) of the \(voters) voters that would be left can be reached.",
                whatToDo: "Bring the other voters back, or promote a new one, first.", requestID: requestID)
        case .nodeRemoved:
            self.init(
                .nodeRemoved, detail: "This node was removed from the cluster.", requestID: requestID)
        case .storageFailed(let reason):
            self.init(
                .storageReadOnly, detail: "This node does not take part: \(reason).", requestID: requestID)
        case .catalog(let refusal):
            self.init(refusal, requestID: requestID)
        }
    }

    private init(_ refusal: CatalogRefusal, requestID: RequestID?) {
        switch refusal {
        case .endpointUnknown(let name):
            self.init(.endpointUnknown, detail: "The cluster has no endpoint \(name).", requestID: requestID)
        case .keyStoreExists(let name):
            self.init(.keyStoreExists, detail: "A key store \(name) exists already.", requestID: requestID)
        case .keyStoreUnknown(let name):
            let detail = name.map { "There is no key store \($0)." } ?? "No key store has been made yet."
            self.init(.noKeyStore, detail: detail, requestID: requestID)
        case .requestConflict(let id):
            self.init(
                .requestIDConflict, detail: "Request id \(id) belongs to a request with other parameters.",
                requestID: requestID)
        case .labelAmbiguous(let label):
            self.init(
                .labelAmbiguous,
                detail:
                    "\(label) can only be read as a hexadecimal number, so the next number is not certain.",
                requestID: requestID)
        case .endpointWithdrawn(let name):
            self.init(
                .invalidRequest, detail: "Endpoint \(name) was drained or removed by an operator.",
                requestID: requestID)
        case .keysNeedEndpoint(let name, let labels, let count):
            let more = count > labels.count ? " and \(count - labels.count) more" : ""
            self.init(
                .invalidRequest,
                detail:
                    "Without endpoint \(name), \(labels.joined(separator: ", "))\(more) would lack verified "
                    + "replicas or a source of further copies.",
                requestID: requestID)
        case .outOfBounds(let reason):
            self.init(.invalidRequest, detail: "The cluster refused it: \(reason).", requestID: requestID)
        case .loginClaimed, .pinRejected, .operationUnknown, .keyNotPending, .anotherAttemptWon,
            .notEnoughReplicas, .proofDiffers, .notAnOrphan:
            self.init(.internalError, detail: "The catalog refused it: \(refusal).", requestID: requestID)
        }
    }
}
