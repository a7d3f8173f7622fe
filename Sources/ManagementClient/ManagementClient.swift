// Calls the management API of whichever node answers. Every call that changes something carries a request id,
// so it may be repeated at the next node when a node goes away in the middle: the cluster recognises it.

import AsyncHTTPClient
import ClusterModel
import Foundation
import ManagementModel
import NIOCore
import NIOHTTP1
import NIOSSL

/// Which nodes to call, with which certificate, and for how long.
public struct ManagementClientConfiguration: Sendable {
    /// `https://host:port` of each node, in the order in which they are tried.
    public var nodes: [String]
    /// PEM file with the cluster's authority.
    public var authorityFile: String
    /// PEM file with the client's certificate.
    public var certificateFile: String
    /// PEM file with the client's private key.
    public var keyFile: String
    /// How long a call may take over all nodes.
    public var deadline: Duration = .seconds(60)
    /// How long a connection may take to be ready, TLS included.
    public var connectTimeout: Duration = .seconds(2)
    /// How long one node may take to answer a question before the next one is asked.
    public var questionPatience: Duration = .seconds(10)
    /// How long one node may take to carry out a change before the next one is asked.
    public var changePatience: Duration = .seconds(40)
    /// How long to wait for the election when the nodes say that there is no leader.
    public var electionPatience: Duration = .seconds(5)

    /// A configuration with the usual times.
    public init(nodes: [String], authorityFile: String, certificateFile: String, keyFile: String) {
        self.nodes = nodes
        self.authorityFile = authorityFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}

/// A client of the management API. Calls may be made concurrently. `shutdown` has to be called before the
/// last reference goes away; `with` does it.
public struct ManagementClient: Sendable {
    private let configuration: ManagementClientConfiguration
    private let http: HTTPClient

    /// The most bytes of an answer.
    static let answerBytes = 8_388_608
    /// How long to wait between two rounds while an election goes on.
    static let electionPause = Duration.milliseconds(250)

    /// Reads the PEM files. Connects to nobody yet.
    public init(_ configuration: ManagementClientConfiguration) throws(ManagementClientError) {
        guard !configuration.nodes.isEmpty else {
            throw ManagementClientError(
                .configuration, title: "No nodes are configured", detail: "The list of nodes is empty.",
                whatToDo: "Name a node, such as https://127.0.0.1:7201.")
        }
        self.configuration = configuration
        var settings = HTTPClient.Configuration(
            tlsConfiguration: try ClientCertificates.tls(configuration), redirectConfiguration: .disallow)
        // Shutting down waits for connections that are being made, so these must not outlive the call.
        settings.timeout.connect = TimeAmount(min(configuration.connectTimeout, configuration.deadline))
        settings.connectionPool.retryConnectionEstablishment = false
        settings.httpVersion = .http1Only
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
    }

    /// Runs `body` with a client and shuts the client down afterwards.
    public static func with<Value>(
        _ configuration: ManagementClientConfiguration,
        _ body: (ManagementClient) async throws(ManagementClientError) -> Value
    ) async throws(ManagementClientError) -> Value {
        let client = try ManagementClient(configuration)
        let result: Result<Value, ManagementClientError>
        do throws(ManagementClientError) {
            result = .success(try await body(client))
        } catch {
            result = .failure(error)
        }
        await client.shutdown()
        return try result.get()
    }

    /// Closes all connections. No calls are possible afterwards.
    public func shutdown() async {
        // It can only fail by being called twice, which leaves the client just as shut down.
        try? await http.shutdown()
    }

    /// The view of the first node that answers. Needs no quorum.
    public func status() async throws(ManagementClientError) -> ClusterStatus {
        try await ask("/v1/status")
    }

    /// The nodes as the first node that answers sees them. Needs no quorum.
    public func nodes() async throws(ManagementClientError) -> [NodeStatus] {
        try await ask("/v1/nodes")
    }

    /// Lets another node lead.
    public func transferLeadership(
        to node: NodeID?, requestID: RequestID
    ) async throws(ManagementClientError) -> [NodeStatus] {
        try await change("/v1/nodes/transfer-leadership", body: TransferLeadership(to: node), requestID)
    }

    /// Lets a node take part as a learner.
    public func addNode(
        _ request: AddNode, requestID: RequestID
    ) async throws(ManagementClientError) -> [NodeStatus] {
        try await change("/v1/nodes", body: request, requestID)
    }

    /// Lets a learner vote.
    public func promoteNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementClientError) -> [NodeStatus] {
        try await change("/v1/nodes/\(id)/promote", body: String?.none, requestID)
    }

    /// Lets a node take part no more.
    public func removeNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementClientError) -> [NodeStatus] {
        try await change("/v1/nodes/\(id)/remove", body: String?.none, requestID)
    }

    /// The endpoints with what every node observes of them.
    public func endpoints() async throws(ManagementClientError) -> [EndpointStatus] {
        try await ask("/v1/endpoints")
    }

    /// The key stores.
    public func keyStores() async throws(ManagementClientError) -> [KeyStoreStatus] {
        try await ask("/v1/key-stores")
    }

    /// The master keys, pending and failed ones included.
    public func masterKeys() async throws(ManagementClientError) -> [MasterKeyStatus] {
        try await ask("/v1/master-keys")
    }

    /// The key generation that the request started.
    public func operation(_ id: RequestID) async throws(ManagementClientError) -> MasterKeyStatus {
        try await ask("/v1/operations/\(id)")
    }

    /// Makes a key store and makes it the active one.
    public func createKeyStore(
        _ request: CreateKeyStore, requestID: RequestID
    ) async throws(ManagementClientError) -> KeyStoreStatus {
        try await change("/v1/key-stores", body: request, requestID)
    }

    /// Generates a master key and waits until it is active. Cannot be undone.
    public func generateMasterKey(
        _ request: GenerateMasterKey, requestID: RequestID
    ) async throws(ManagementClientError) -> MasterKeyStatus {
        try await change("/v1/master-keys", body: request, requestID)
    }

    /// Lets an endpoint's rejected PIN be tried once more.
    public func retryLogin(
        endpoint: EndpointName, requestID: RequestID
    ) async throws(ManagementClientError) -> EndpointStatus {
        let allowed = CharacterSet.alphanumerics.union(CharacterSet(charactersIn: "-._"))
        let name = endpoint.rawValue.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
        return try await change("/v1/endpoints/\(name)/retry-login", body: String?.none, requestID)
    }

    func ask<Answer: Decodable>(_ path: String) async throws(ManagementClientError) -> Answer {
        try await call(Call(method: .GET, path: path, body: nil, requestID: nil))
    }

    func change<Answer: Decodable>(
        _ path: String, body: (some Encodable)?, _ requestID: RequestID
    ) async throws(ManagementClientError) -> Answer {
        // Encoding values of numbers and texts cannot fail.
        let data = body.flatMap { try? JSONEncoder().encode($0) }
        return try await call(Call(method: .POST, path: path, body: data, requestID: requestID))
    }

    private struct Call {
        var method: HTTPMethod
        var path: String
        var body: Data?
        var requestID: RequestID?
    }

    /// Asks the nodes in order until one answers; again while they say that an election goes on.
    private func call<Answer: Decodable>(_ call: Call) async throws(ManagementClientError) -> Answer {
        let start = ContinuousClock.now
        let end = start + configuration.deadline
        let electionEnd = min(end, start + configuration.electionPatience)
        while true {
            var failures: [NodeFailure] = []
            for node in configuration.nodes {
                let remaining = end - ContinuousClock.now
                guard remaining > .zero else { break }
                switch await attempt(call, at: node, within: remaining) {
                case .success(let data): return try decode(data, call)
                case .failure(let failure):
                    if let problem = failure.problem, problem.httpStatus != 503 || !problem.retryable {
                        throw ManagementClientError(problem, requestID: call.requestID)
                    }
                    failures.append(failure)
                }
                if Task.isCancelled { break }
            }
            let isElecting = failures.contains { $0.problem?.code == .noLeader }
            guard isElecting, ContinuousClock.now + Self.electionPause < electionEnd, !Task.isCancelled else {
                throw ManagementClientError.summary(
                    of: failures, isOutOfTime: ContinuousClock.now >= end, requestID: call.requestID)
            }
            // Cancellation is seen after the next round.
            try? await Task.sleep(for: Self.electionPause)
        }
    }

    private func attempt(
        _ call: Call, at node: String, within remaining: Duration
    ) async -> Result<Data, NodeFailure> {
        var request = HTTPClientRequest(url: node + call.path)
        request.method = call.method
        request.headers.add(name: "Accept", value: "application/json")
        request.headers.add(name: "User-Agent", value: "hsmcluster/\(SoftwareVersion.current)")
        if let id = call.requestID { request.headers.add(name: "Idempotency-Key", value: id.description) }
        if let body = call.body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body)
        }
        let patience =
            call.method == .GET ? configuration.questionPatience : configuration.changePatience
        let isLast = node == configuration.nodes.last
        let limit = isLast ? remaining : min(remaining, patience)
        do {
            let response = try await http.execute(request, deadline: .now() + TimeAmount(limit))
            let body = try await response.body.collect(upTo: Self.answerBytes)
            let data = Data(body.readableBytesView)
            if (200...299).contains(response.status.code) { return .success(data) }
            guard let problem = try? JSONDecoder().decode(ManagementError.self, from: data) else {
                return .failure(
                    NodeFailure(
                        node: node, kind: .foreign,
                        reason: "it answers with HTTP status \(response.status.code)",
                        mayHaveArrived: true))
            }
            return .failure(NodeFailure(node: node, kind: .problem, reason: problem.detail, problem: problem))
        } catch {
            return .failure(ConnectionFailure.classify(error, node: node))
        }
    }

    private func decode<Answer: Decodable>(
        _ data: Data, _ call: Call
    ) throws(ManagementClientError) -> Answer {
        do {
            return try JSONDecoder().decode(Answer.self, from: data)
        } catch {
            throw ManagementClientError(
                .unexpectedAnswer, title: "The answer cannot be read",
                detail: "\(call.path) did not give what this version (\(SoftwareVersion.current)) knows.",
                whatToDo: "Use a client of the nodes' version.", mayHaveArrived: true,
                requestID: call.requestID)
        }
    }
}
