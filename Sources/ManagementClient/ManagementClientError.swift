// Why a call did not succeed, told so that a person knows what to do and a script knows whether to repeat.

import ClusterModel
import ManagementModel

/// Why a call to the cluster did not succeed.
public struct ManagementClientError: Error, Hashable, Sendable {
    /// What kind of failure it is.
    public enum Kind: Hashable, Sendable {
        /// The cluster answered, with this refusal.
        case problem(ManagementError)
        /// No node could be reached.
        case unreachable
        /// No answer before the deadline.
        case timeout
        /// A certificate or key is missing, unusable, or not accepted by either side.
        case certificate
        /// The configuration of this client is wrong.
        case configuration
        /// Something answered that does not speak this API.
        case unexpectedAnswer
    }

    /// What kind of failure it is.
    public var kind: Kind
    /// A few words.
    public var title: String
    /// What happened, one or more sentences; names every node that was tried.
    public var detail: String
    /// What to do.
    public var whatToDo: String
    /// True when the request may have reached the cluster, which then may have acted on it: the same request
    /// id has to be used when it is repeated.
    public var mayHaveArrived: Bool
    /// The request's id, for calls that change something.
    public var requestID: RequestID?

    init(
        _ kind: Kind, title: String, detail: String, whatToDo: String, mayHaveArrived: Bool = false,
        requestID: RequestID? = nil
    ) {
        self.kind = kind
        self.title = title
        self.detail = detail
        self.whatToDo = whatToDo
        self.mayHaveArrived = mayHaveArrived
        self.requestID = requestID
    }

    init(_ problem: ManagementError, requestID: RequestID?) {
        self.init(
            .problem(problem), title: problem.title, detail: problem.detail, whatToDo: problem.whatToDo,
            mayHaveArrived: problem.httpStatus == 504, requestID: problem.requestID ?? requestID)
    }
}

extension ManagementClientError: CustomStringConvertible {
    /// Title, detail and advice on one line.
    public var description: String { "\(title): \(detail) \(whatToDo)" }
}

/// What one node did with a call, when it was not an answer.
struct NodeFailure: Error, Hashable, Sendable {
    enum Kind: Int, Hashable, Sendable, Comparable {
        // In the order in which they are worth telling when nodes fail in different ways.
        case refused, nameUnknown, silent, broken, foreign, hostName, authority, clientCertificate, problem

        static func < (left: Kind, right: Kind) -> Bool { left.rawValue < right.rawValue }
    }

    var node: String
    var kind: Kind
    var reason: String
    /// True when the request may have been read by the node.
    var mayHaveArrived = false
    var problem: ManagementError?
}

extension ManagementClientError {
    /// The error to show when no node gave an answer.
    static func summary(
        of failures: [NodeFailure], isOutOfTime: Bool, requestID: RequestID?
    ) -> ManagementClientError {
        let mayHaveArrived = failures.contains { $0.mayHaveArrived }
        let worst = failures.max { $0.kind < $1.kind }
        if let problem = worst?.problem {
            var error = ManagementClientError(problem, requestID: requestID)
            error.mayHaveArrived = error.mayHaveArrived || mayHaveArrived
            return error
        }
        let detail = failures.map { "\($0.node): \($0.reason)." }.joined(separator: " ")
        func make(_ kind: Kind, _ title: String, _ whatToDo: String) -> ManagementClientError {
            ManagementClientError(
                kind, title: title, detail: detail, whatToDo: whatToDo, mayHaveArrived: mayHaveArrived,
                requestID: requestID)
        }
        switch worst?.kind {
        case .clientCertificate:
            return make(
                .certificate, "The cluster does not accept this client's certificate",
                "Use a certificate that the cluster's authority issued and that has not expired.")
        case .authority:
            return make(
                .certificate, "The node's certificate is not from the configured authority",
                "Check that 'authority' (--ca) is this cluster's, and that no certificate has expired.")
        case .hostName:
            return make(
                .certificate, "The node's certificate is for another address",
                "Use an address that the certificate names, or have it issued for this one.")
        case .foreign:
            return make(
                .unexpectedAnswer, "This is not a node's management API",
                "Check the address and port; the API speaks HTTPS.")
        default:
            if isOutOfTime || worst?.kind == .silent {
                return make(
                    .timeout, "No answer in time",
                    mayHaveArrived && requestID != nil
                        ? "Ask again with the same request id." : "Check the nodes, or allow more time.")
            }
            if mayHaveArrived, requestID != nil {
                return make(
                    .unreachable, "The connection broke before the answer",
                    "Ask again with the same request id.")
            }
            return make(
                .unreachable, "No node can be reached",
                "Check that the nodes run, and their addresses in the configuration.")
        }
    }
}
