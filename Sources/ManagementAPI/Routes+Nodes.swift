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
}
