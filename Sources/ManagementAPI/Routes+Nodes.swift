// The resources about nodes.

import ClusterModel
import Hummingbird
import ManagementModel

extension Routes {
    func nodes(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try JSONResponse.make(
            try await read(through: statusGate) { () async throws(ManagementError) in await service.nodes() })
    }

    func transferLeadership(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try await change(request, status: .ok) { id in
            let body = try await RequestReading.body(
                TransferLeadership.self, of: request, context: context, deadline: deadline)
            return { () async throws(ManagementError) in
                try await service.transferLeadership(body, requestID: id)
            }
        }
    }

    func addNode(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try await change(request, status: .created) { id in
            let body = try await RequestReading.body(
                AddNode.self, of: request, context: context, deadline: deadline)
            return { () async throws(ManagementError) in try await service.addNode(body, requestID: id) }
        }
    }

    func promoteNode(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try await change(request, status: .ok) { id in
            let node = try Self.node(in: context)
            return { () async throws(ManagementError) in try await service.promoteNode(node, requestID: id) }
        }
    }

    func removeNode(_ request: Request, _ context: ManagementContext) async throws -> Response {
        let service = service
        return try await change(request, status: .ok) { id in
            let node = try Self.node(in: context)
            return { () async throws(ManagementError) in try await service.removeNode(node, requestID: id) }
        }
    }

    private static func node(in context: ManagementContext) throws(ManagementError) -> NodeID {
        let text = context.parameters.get("id") ?? ""
        guard let number = UInt64(text), number > 0 else {
            throw ManagementError(.nodeUnknown, detail: "No node has the number '\(text.quotable)'.")
        }
        return NodeID(number)
    }
}
