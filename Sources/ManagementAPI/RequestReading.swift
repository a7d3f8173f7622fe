// Reading requests: the idempotency key (IETF draft "The Idempotency-Key HTTP Header Field": a quoted string;
// bare UUIDs are common and accepted too), and bodies that are bounded, complete, declared as JSON and
// understood to the last member.

import ClusterModel
import Foundation
import HTTPTypes
import Hummingbird
import ManagementModel
import NIOCore

extension HTTPField.Name {
    /// `Idempotency-Key`: the request id. Built from constant text that is a valid name.
    static let idempotencyKey = HTTPField.Name(parsed: "idempotency-key") ?? .date
}

enum RequestReading {
    /// The request id of the header, or a new one when there is none.
    static func requestID(of request: Request) throws(ManagementError) -> ClusterModel.RequestID {
        let values = request.headers[values: .idempotencyKey]
        guard let first = values.first else {
            var generator = SystemRandomNumberGenerator()
            return .version4(using: &generator)
        }
        var text = first[...]
        if text.hasPrefix("\""), text.hasSuffix("\""), text.count >= 2 { text = text.dropFirst().dropLast() }
        guard values.count == 1, let id = ClusterModel.RequestID(String(text)) else {
            throw .invalid(
                "the header Idempotency-Key is not one UUID",
                "Send a UUID such as 8e03978e-40d5-43e8-bc93-6894a57f9324, or leave the header out.")
        }
        return id
    }

    /// The JSON body as a `Body`.
    static func body<Body: Decodable & Sendable>(
        _ type: Body.Type, of request: Request, context: ManagementContext, deadline: Duration
    ) async throws(ManagementError) -> Body {
        guard isJSON(request.headers[.contentType]) else {
            throw ManagementError(.unsupportedMediaType, detail: "The body is not declared as JSON.")
        }
        let bytes = try await collect(request, context, deadline)
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as ManagementError {
            throw error
        } catch let error as DecodingError {
            throw refusal(error)
        } catch {
            throw .invalid("the body is not JSON", "Send a JSON object.")
        }
    }

    private static func isJSON(_ type: String?) -> Bool {
        guard let media = type?.split(separator: ";").first else { return false }
        return media.trimmingCharacters(in: .whitespaces).lowercased() == "application/json"
    }

    /// The whole body. A connection that is still sending when the time is over is closed.
    private static func collect(
        _ request: Request, _ context: ManagementContext, _ deadline: Duration
    ) async throws(ManagementError) -> [UInt8] {
        let channel = context.channel
        let announced = request.headers[.contentLength].flatMap { Int($0) }
        if let announced, announced > ManagementLimits.bodyBytes {
            throw ManagementError(.bodyTooLarge, detail: "The request announces \(announced) bytes.")
        }
        let closing = channel.eventLoop.scheduleTask(in: TimeAmount(deadline)) { channel.close(promise: nil) }
        defer { closing.cancel() }
        var bytes: [UInt8] = []
        do {
            for try await part in request.body {
                guard bytes.count + part.readableBytes <= ManagementLimits.bodyBytes else {
                    throw ManagementError(.bodyTooLarge, detail: "The body does not end in time.")
                }
                bytes += part.readableBytesView
            }
        } catch let error as ManagementError {
            throw error
        } catch {
            throw .invalid("the body broke off", "Send the whole body.")
        }
        guard announced == nil || announced == bytes.count else {
            throw .invalid("the body is shorter than announced", "Send the whole body.")
        }
        return bytes
    }

    private static func refusal(_ error: DecodingError) -> ManagementError {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue.quotable }
                .joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, _):
            return .invalid("the member '\(key.stringValue.quotable)' is missing", "Add it.")
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            guard !context.codingPath.isEmpty else {
                return .invalid("the body is not a JSON object", "Send a JSON object.")
            }
            return .invalid(
                "the member '\(path(context))' has the wrong type", "Send \(name(of: type)) there.")
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            return .invalid("the member '\(path(context))' is out of bounds", "Correct its value.")
        default:
            return .invalid("the body is not JSON", "Send a JSON object.")
        }
    }

    private static func name(of type: Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Int.Type: "a whole number"
        case is Bool.Type: "true or false"
        default: "the documented type"
        }
    }
}
