// Stands round every route: lets only certificates of this cluster through, turns every error into a problem
// detail (RFC 9457), writes one log line for each request, and adds the headers that all answers have.

import HTTPTypes
import Hummingbird
import Logging
import ManagementModel
import NIOCore
import NIOSSL

struct ProblemMiddleware: RouterMiddleware {
    typealias Context = ManagementContext

    /// How long a refused upload may go on before its connection is closed.
    static let lingering = TimeAmount.seconds(2)

    let cluster: String
    let logger: Logger

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        var context = context
        var response: Response
        do {
            context.caller = try await caller(of: context.channel)
            response = try await next(request, context)
        } catch {
            let problem = Self.problem(error)
            if problem.code == .internalError {
                logger.error("request failed by a defect", metadata: ["error": "\(error)"])
            }
            response = JSONResponse.problem(problem)
            if [.bodyTooLarge, .unsupportedMediaType, .unauthorized].contains(problem.code) {
                // The rest of the body is not wanted; reading it to its end could take forever.
                response.headers[.connection] = "close"
                let channel = context.channel
                channel.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
            }
        }
        response.headers[.cacheControl] = "no-store"
        response.headers[.xContentTypeOptions] = "nosniff"
        log(request, context, response)
        return response
    }

    private func caller(of channel: any Channel) async throws -> CallerIdentity {
        guard let certificate = try await channel.nioSSL_peerCertificate().get() else {
            throw ManagementError(.unauthorized, detail: "The connection has no client certificate.")
        }
        guard let caller = CallerIdentity(certificate: certificate, cluster: cluster) else {
            throw ManagementError(
                .unauthorized,
                detail: "The certificate has no single name hsmcluster://\(cluster)/client/NAME.")
        }
        return caller
    }

    private static func problem(_ error: any Error) -> ManagementError {
        switch error {
        case let problem as ManagementError:
            problem
        case let error as any HTTPResponseError where error.status == .notFound:
            ManagementError(.notFound, detail: "Nothing is at this path.")
        case let error as any HTTPResponseError where error.status.code < 500:
            .invalid("the HTTP request is malformed", "Correct it.")
        default:
            ManagementError(.internalError, detail: "The request met a defect of this software.")
        }
    }

    private func log(_ request: Request, _ context: Context, _ response: Response) {
        let changes = request.method != .get && request.method != .head
        logger.log(
            level: changes || response.status.code >= 400 ? .info : .debug, "request",
            metadata: [
                "method": "\(request.method.rawValue.quotable)", "path": "\(request.uri.path.quotable)",
                "status": "\(response.status.code)", "caller": "\(context.caller?.description ?? "refused")",
                "request-id": "\(response.headers[.idempotencyKey] ?? "-")",
            ])
    }
}
