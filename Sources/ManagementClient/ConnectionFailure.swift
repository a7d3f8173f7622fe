// Turns the errors of the HTTP client, of NIO and of BoringSSL into a few kinds that mean something to the
// person who waits. With TLS 1.3 a server refuses a client's certificate only after the client thinks that
// the connection stands, so that refusal arrives as an alert or as a bare close of the first request.

import AsyncHTTPClient
import Glibc
import NIOCore
import NIOPosix
import NIOSSL

enum ConnectionFailure {
    static func classify(_ error: any Error, node: String) -> NodeFailure {
        func failure(_ kind: NodeFailure.Kind, _ reason: String, arrived: Bool = false) -> NodeFailure {
            NodeFailure(node: node, kind: kind, reason: reason, mayHaveArrived: arrived)
        }
        switch error {
        case let error as HTTPClientError:
            return classify(error, node: node)
        case let error as NIOConnectionError:
            guard let first = error.connectionErrors.first else {
                return failure(.nameUnknown, "the host name \(error.host) is not known")
            }
            return classify(first.error, node: node)
        case let error as IOError:
            return error.errnoCode == ECONNREFUSED
                ? failure(.refused, "the connection is refused")
                : failure(.broken, "the connection failed (\(name(of: error.errnoCode)))", arrived: true)
        case let error as ChannelError:
            if case .connectTimeout = error { return failure(.silent, "it cannot be connected to in time") }
            return failure(.broken, "the connection broke", arrived: true)
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return failure(.hostName, "its certificate is not for this address")
        case is NIOSSLError, is BoringSSLError:
            return tls("\(error)", node: node)
        default:
            return failure(.broken, "the connection failed", arrived: true)
        }
    }

    private static func classify(_ error: HTTPClientError, node: String) -> NodeFailure {
        switch error {
        case .connectTimeout, .tlsHandshakeTimeout:
            NodeFailure(node: node, kind: .silent, reason: "it cannot be connected to in time")
        case .deadlineExceeded, .readTimeout, .cancelled:
            NodeFailure(node: node, kind: .silent, reason: "it does not answer in time", mayHaveArrived: true)
        case .invalidURL, .emptyHost, .emptyScheme:
            NodeFailure(node: node, kind: .foreign, reason: "this is not an address")
        default:
            NodeFailure(
                node: node, kind: .broken, reason: "the connection was closed before the answer",
                mayHaveArrived: true)
        }
    }

    private static func tls(_ text: String, node: String) -> NodeFailure {
        let alerts = [
            "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "CERTIFICATE_EXPIRED",
            "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "ACCESS_DENIED", "DECRYPT_ERROR",
            "CERTIFICATE_REVOKED",
        ]
        if alerts.contains(where: { text.contains($0) }) {
            return NodeFailure(
                node: node, kind: .clientCertificate, reason: "it refuses this client's certificate")
        }
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return NodeFailure(
                node: node, kind: .authority, reason: "its certificate is not from the configured authority")
        }
        if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
            return NodeFailure(node: node, kind: .foreign, reason: "it does not speak TLS")
        }
        return NodeFailure(
            node: node, kind: .broken, reason: "the TLS connection failed", mayHaveArrived: true)
    }

    private static func name(of number: CInt) -> String {
        switch number {
        case ECONNRESET: "reset"
        case EHOSTUNREACH, ENETUNREACH: "no route"
        case ETIMEDOUT: "timed out"
        case EPIPE: "closed"
        default: "error \(number)"
        }
    }
}
