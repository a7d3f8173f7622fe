// The resources of the API. Routes only translate: HTTP to a call of `ClusterService`, its answer to JSON.

import ClusterModel
import HTTPTypes
import Hummingbird
import ManagementModel

struct Routes: Sendable {
    let service: any ClusterService
    let gate: CallGate
    /// A gate of its own: an operator has to see the status just when everything else hangs.
    let statusGate: CallGate
    let deadline: Duration

    typealias Handler = @Sendable (Request, ManagementContext) async throws -> Response

    /// Adds every resource to `router`; other methods of the same paths are refused with 405.
    func add(to router: Router<ManagementContext>) {
        let resources: [(path: RouterPath, methods: [(HTTPRequest.Method, Handler)])] = [
            ("/healthz/live", [(.get, { _, _ in try JSONResponse.make(["status": "alive"]) })]),
            ("/v1/status", [(.get, status)]),
            ("/v1/nodes", [(.get, nodes), (.post, addNode)]),
            ("/v1/nodes/:id/promote", [(.post, promoteNode)]),
            ("/v1/nodes/:id/remove", [(.post, removeNode)]),
            ("/v1/nodes/transfer-leadership", [(.post, transferLeadership)]),
            ("/v1/endpoints", [(.get, endpoints)]),
            ("/v1/endpoints/:name/retry-login", [(.post, retryLogin)]),
            ("/v1/key-stores", [(.get, keyStores), (.post, createKeyStore)]),
            ("/v1/master-keys", [(.get, masterKeys), (.post, generateMasterKey)]),
            ("/v1/operations/:id", [(.get, operation)]),
        ]
        let all: [HTTPRequest.Method] = [
            .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect,
        ]
        for resource in resources {
            for (method, handler) in resource.methods {
                router.on(resource.path, method: method, use: handler)
            }
            let allowed = resource.methods.map(\.0)
            for method in all where !allowed.contains(method) {
                router.on(resource.path, method: method) { _, _ in Self.refusal(allowed) }
            }
        }
    }

    private static func refusal(_ allowed: [HTTPRequest.Method]) -> Response {
        let names = allowed.map(\.rawValue).joined(separator: ", ")
        var response = JSONResponse.problem(
            ManagementError(.methodNotAllowed, detail: "This resource knows \(names)."))
        response.headers[.allow] = names
        return response
    }

    private func status(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try JSONResponse.make(
            try await read(through: statusGate) { () async throws(ManagementError) in
                await service.status()
            })
    }

    private func endpoints(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try JSONResponse.make(
            try await read { () async throws(ManagementError) in try await service.endpoints() })
    }

    private func keyStores(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try JSONResponse.make(
            try await read { () async throws(ManagementError) in try await service.keyStores() })
    }

    private func masterKeys(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try JSONResponse.make(
            try await read { () async throws(ManagementError) in try await service.masterKeys() })
    }

    /// The key generation that a request id started.
    private func operation(_ request: Request, _ context: ManagementContext) async throws -> Response {
        guard let id = context.parameters.get("id").flatMap({ ClusterModel.RequestID($0) }) else {
            throw ManagementError.invalid("the id is not a UUID", "Use the request's Idempotency-Key.")
        }
        let service = service
        let keys = try await read { () async throws(ManagementError) in try await service.masterKeys() }
        guard let key = keys.first(where: { $0.requestID == id }) else {
            throw ManagementError(.operationUnknown, detail: "No key generation has the id \(id).")
        }
        return try JSONResponse.make(key)
    }

    private func createKeyStore(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try await change(request, status: .created) { id in
            let body = try await RequestReading.body(
                CreateKeyStore.self, of: request, context: context, deadline: deadline)
            return { () async throws(ManagementError) in
                try await service.createKeyStore(body, requestID: id)
            }
        }
    }

    private func generateMasterKey(_ request: Request, _ context: ManagementContext) async throws -> Response
    {
        let service = service
        return try await change(request, status: .created, expired: .generationPending) { id in
            let body = try await RequestReading.body(
                GenerateMasterKey.self, of: request, context: context, deadline: deadline)
            return { () async throws(ManagementError) in
                try await service.generateMasterKey(body, requestID: id)
            }
        }
    }

    private func retryLogin(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        let name = context.parameters.get("name") ?? ""
        return try await change(request, status: .ok) { _ in
            guard (1...32).contains(name.utf8.count), name.utf8.allSatisfy(Self.isEndpointByte) else {
                throw ManagementError(.endpointUnknown, detail: "No endpoint is called '\(name.quotable)'.")
            }
            return { () async throws(ManagementError) in
                try await service.retryLogin(endpoint: EndpointName(name))
            }
        }
    }

    private static func isEndpointByte(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
    }

    func read<Value: Sendable>(
        through gate: CallGate? = nil,
        _ call: @escaping @Sendable () async throws(ManagementError) -> Value
    ) async throws -> Value {
        let expired = ManagementError(
            .timeout, detail: "The cluster did not answer within \(deadline).", whatToDo: "Try again.")
        return try await (gate ?? self.gate).run(deadline: deadline, expired: expired, call)
    }

    /// Runs a call that changes something; every answer, errors included, names the request.
    func change<Value: Codable & Sendable>(
        _ request: Request, status: HTTPResponse.Status, expired: ManagementError.Code = .timeout,
        _ prepare: (ClusterModel.RequestID) async throws ->
            @Sendable () async throws(ManagementError) -> Value
    ) async throws -> Response {
        let id = try RequestReading.requestID(of: request)
        do {
            let call = try await prepare(id)
            let expired = ManagementError(
                expired, detail: "The cluster did not finish within \(deadline).", requestID: id)
            let value = try await gate.run(deadline: deadline, expired: expired, call)
            return try JSONResponse.make(value, status: status, requestID: id)
        } catch var error as ManagementError {
            error.requestID = error.requestID ?? id
            throw error
        }
    }
}
