// Answers as JSON. Members are sorted, so that answers compare as text.

import ClusterModel
import Foundation
import HTTPTypes
import Hummingbird
import ManagementModel

enum JSONResponse {
    static func make(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, requestID: ClusterModel.RequestID? = nil
    ) throws -> Response {
        response(try encode(value), status, type: "application/json", requestID)
    }

    /// A problem detail (RFC 9457).
    static func problem(_ problem: ManagementError) -> Response {
        let bytes = (try? encode(problem)) ?? Data(#"{"code":"internal","status":500}"#.utf8)
        var response = response(
            bytes, HTTPResponse.Status(code: problem.httpStatus), type: "application/problem+json",
            problem.requestID)
        if problem.retryable, problem.httpStatus == 503 { response.headers[.retryAfter] = "1" }
        return response
    }

    private static func response(
        _ data: Data, _ status: HTTPResponse.Status, type: String, _ requestID: ClusterModel.RequestID?
    ) -> Response {
        var headers: HTTPFields = [.contentType: type]
        if let requestID { headers[.idempotencyKey] = requestID.description }
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }

    private static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value) + Data("\n".utf8)
    }
}
