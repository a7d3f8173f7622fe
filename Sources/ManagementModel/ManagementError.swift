// Every failure that a caller of the cluster can meet has a stable code, an HTTP status and a sentence that
// says what to do. On the wire it is a problem detail (RFC 9457) with the code as the last part of `type`.

import ClusterModel

/// Why the cluster did not do what was asked, and what to do about it. Carries no secrets.
public struct ManagementError: Error, Hashable, Sendable {
    /// A stable name for a kind of failure. Open: clients meet codes of newer nodes.
    public struct Code: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
        /// The name as JSON shows it, such as `no-quorum`.
        public var rawValue: String
        /// Wraps a name.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// The name.
        public var description: String { rawValue }
    }

    /// What kind of failure it is.
    public var code: Code
    /// The kind in a few words, always the same for a code.
    public var title: String
    /// What happened this time, one sentence.
    public var detail: String
    /// What the caller should do, one or two sentences.
    public var whatToDo: String
    /// True when the same request, with the same request id, may succeed later or at another node.
    public var retryable: Bool
    /// The HTTP status.
    public var httpStatus: Int
    /// The request it answers, when there is one to repeat.
    public var requestID: RequestID?

    /// A failure with the code's usual title, status and advice.
    ///
    /// - Parameters:
    ///   - code: What kind of failure it is.
    ///   - detail: What happened this time.
    ///   - whatToDo: Better advice than the code's usual one.
    ///   - requestID: The request that may be repeated.
    public init(_ code: Code, detail: String, whatToDo: String? = nil, requestID: RequestID? = nil) {
        let facts = code.facts
        self.code = code
        title = facts.title
        self.detail = detail
        self.whatToDo = whatToDo ?? facts.whatToDo
        retryable = facts.retryable
        httpStatus = facts.httpStatus
        self.requestID = requestID
    }

    /// A refused request: `reason` says what is wrong, `whatToDo` what to write instead.
    public static func invalid(_ reason: String, _ whatToDo: String) -> ManagementError {
        ManagementError(.invalidRequest, detail: "The request is not valid: \(reason).", whatToDo: whatToDo)
    }

    /// The prefix of `type` in problem details.
    public static let typePrefix = "urn:hsmcluster:problem:"
}

extension ManagementError: CustomStringConvertible {
    /// Title, detail and advice on one line.
    public var description: String { "\(title): \(detail) \(whatToDo)" }
}

extension ManagementError.Code {
    /// Fewer than a majority of the voters answer.
    public static let noQuorum = Self(rawValue: "no-quorum")
    /// No leader just now; usually an election of about a second.
    public static let noLeader = Self(rawValue: "no-leader")
    /// Too few endpoints are in service for the minimum number of replicas.
    public static let notEnoughEndpoints = Self(rawValue: "not-enough-endpoints")
    /// The algorithm is none that a master key can have.
    public static let unknownAlgorithm = Self(rawValue: "unknown-algorithm")
    /// A value in the request is missing, malformed or out of bounds.
    public static let invalidRequest = Self(rawValue: "invalid-request")
    /// A key store of this name exists.
    public static let keyStoreExists = Self(rawValue: "key-store-exists")
    /// There is no key store yet.
    public static let noKeyStore = Self(rawValue: "no-key-store")
    /// The generation was given up; nothing of it is usable.
    public static let generationFailed = Self(rawValue: "generation-failed")
    /// The generation still goes on.
    public static let generationPending = Self(rawValue: "generation-pending")
    /// Tokens hold labels whose numbering cannot be told.
    public static let labelAmbiguous = Self(rawValue: "label-ambiguous")
    /// The request id was used before with other parameters.
    public static let requestIDConflict = Self(rawValue: "request-id-conflict")
    /// No endpoint has this name.
    public static let endpointUnknown = Self(rawValue: "endpoint-unknown")
    /// No request with this id is known.
    public static let operationUnknown = Self(rawValue: "operation-unknown")
    /// A node cannot write its log.
    public static let storageReadOnly = Self(rawValue: "storage-read-only")
    /// No answer within the deadline.
    public static let timeout = Self(rawValue: "timeout")
    /// No node of the cluster has this number.
    public static let nodeUnknown = Self(rawValue: "node-unknown")
    /// Leadership could not be handed over.
    public static let transferFailed = Self(rawValue: "transfer-failed")
    /// The members of the cluster cannot be changed like this now.
    public static let membershipConflict = Self(rawValue: "membership-conflict")
    /// The node that was asked is no member any more.
    public static let nodeRemoved = Self(rawValue: "node-removed")
    /// Too many calls at once.
    public static let busy = Self(rawValue: "busy")
    /// The certificate does not allow this.
    public static let unauthorized = Self(rawValue: "unauthorized")
    /// No such path.
    public static let notFound = Self(rawValue: "not-found")
    /// The path exists, but not for this method.
    public static let methodNotAllowed = Self(rawValue: "method-not-allowed")
    /// The body is larger than `ManagementLimits.bodyBytes`.
    public static let bodyTooLarge = Self(rawValue: "body-too-large")
    /// The body is not declared as JSON.
    public static let unsupportedMediaType = Self(rawValue: "unsupported-media-type")
    /// A defect in this software.
    public static let internalError = Self(rawValue: "internal")

    /// Every code that this version uses.
    public static let all: [Self] = [
        .noQuorum, .noLeader, .notEnoughEndpoints, .unknownAlgorithm, .invalidRequest, .keyStoreExists,
        .noKeyStore, .generationFailed, .generationPending, .labelAmbiguous, .requestIDConflict,
        .endpointUnknown, .operationUnknown, .storageReadOnly, .timeout, .busy, .unauthorized, .notFound,
        .methodNotAllowed, .bodyTooLarge, .unsupportedMediaType, .internalError, .nodeUnknown,
        .transferFailed,
        .membershipConflict, .nodeRemoved,
    ]

    struct Facts {
        var httpStatus: Int
        var retryable: Bool
        var title: String
        var whatToDo: String
    }

    var facts: Facts {
        switch self {
        case .noQuorum:
            Facts(
                httpStatus: 503, retryable: true, title: "The cluster has no quorum",
                whatToDo: "Bring a majority of the nodes back, then repeat the request.")
        case .noLeader:
            Facts(
                httpStatus: 503, retryable: true, title: "The cluster has no leader",
                whatToDo: "Wait a moment for the election, then repeat the request.")
        case .notEnoughEndpoints:
            Facts(
                httpStatus: 503, retryable: true, title: "Too few endpoints are in service",
                whatToDo: "See 'hsmcluster endpoints list', bring endpoints back, then repeat the request.")
        case .unknownAlgorithm:
            Facts(
                httpStatus: 400, retryable: false, title: "Unknown algorithm",
                whatToDo: "Use aes256, aes128 or des-ede3.")
        case .invalidRequest:
            Facts(
                httpStatus: 400, retryable: false, title: "Invalid request",
                whatToDo: "Correct the request.")
        case .keyStoreExists:
            Facts(
                httpStatus: 409, retryable: false, title: "The key store exists",
                whatToDo: "Choose another name, or use the existing one.")
        case .noKeyStore:
            Facts(
                httpStatus: 409, retryable: false, title: "There is no key store",
                whatToDo: "Make one with 'hsmcluster keystore add NAME'.")
        case .generationFailed:
            Facts(
                httpStatus: 502, retryable: false, title: "The key was not generated",
                whatToDo: "Nothing usable was left behind. See the endpoints, then ask with a new request id."
            )
        case .generationPending:
            Facts(
                httpStatus: 504, retryable: true, title: "The key is still being generated",
                whatToDo: "Ask again with the same request id.")
        default: otherFacts
        }
    }

    private var otherFacts: Facts {
        switch self {
        case .labelAmbiguous:
            Facts(
                httpStatus: 409, retryable: false, title: "The tokens' key labels are ambiguous",
                whatToDo: "An operator has to decide how the existing keys are numbered.")
        case .requestIDConflict:
            Facts(
                httpStatus: 409, retryable: false, title: "The request id was used for another request",
                whatToDo: "Repeat the original parameters, or use a new request id.")
        case .endpointUnknown:
            Facts(
                httpStatus: 404, retryable: false, title: "No such endpoint",
                whatToDo: "See 'hsmcluster endpoints list' for the names.")
        case .operationUnknown:
            Facts(
                httpStatus: 404, retryable: false, title: "No such request",
                whatToDo: "Check the request id. A request that never arrived may be sent again.")
        case .nodeUnknown:
            Facts(
                httpStatus: 404, retryable: false, title: "No such node",
                whatToDo: "See 'hsmcluster nodes list' for the numbers.")
        case .membershipConflict:
            Facts(
                httpStatus: 409, retryable: false, title: "The members cannot be changed now",
                whatToDo: "See 'hsmcluster nodes list'.")
        case .nodeRemoved:
            Facts(
                httpStatus: 503, retryable: true, title: "This node was removed from the cluster",
                whatToDo: "Ask another node; take this one out of the client's configuration and stop it.")
        case .transferFailed:
            Facts(
                httpStatus: 409, retryable: false, title: "Leadership was not handed over",
                whatToDo: "See 'hsmcluster nodes list', and name a voter that is alive and up to date.")
        case .storageReadOnly:
            Facts(
                httpStatus: 503, retryable: true, title: "A node cannot write its log",
                whatToDo: "Check free space and permissions of the node's state directory.")
        case .timeout:
            Facts(
                httpStatus: 504, retryable: true, title: "No answer in time",
                whatToDo: "Ask again with the same request id.")
        case .busy:
            Facts(
                httpStatus: 503, retryable: true, title: "The node is busy",
                whatToDo: "Repeat the request in a moment.")
        case .unauthorized:
            Facts(
                httpStatus: 403, retryable: false, title: "Not authorised",
                whatToDo: "Use a client certificate that was issued for this cluster.")
        case .notFound:
            Facts(
                httpStatus: 404, retryable: false, title: "No such resource",
                whatToDo: "Check the path; the resources are under /v1/.")
        case .methodNotAllowed:
            Facts(
                httpStatus: 405, retryable: false, title: "Method not allowed",
                whatToDo: "Use a method that the Allow header names.")
        case .bodyTooLarge:
            Facts(
                httpStatus: 413, retryable: false, title: "The request body is too large",
                whatToDo: "Send at most \(ManagementLimits.bodyBytes) bytes.")
        case .unsupportedMediaType:
            Facts(
                httpStatus: 415, retryable: false, title: "Unsupported media type",
                whatToDo: "Send the header 'Content-Type: application/json'.")
        default:
            Facts(
                httpStatus: 500, retryable: false, title: "Internal error",
                whatToDo: "See the node's log, and report the defect.")
        }
    }
}

extension ManagementError: Codable {
    private enum Keys: String, CodingKey {
        case type, title, status, detail, code, whatToDo, retryable, requestID
    }

    /// Reads a problem detail (RFC 9457). Members that are absent take the code's usual values.
    public init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Keys.self)
        let code = try members.decode(Code.self, forKey: .code)
        self.init(code, detail: try members.decodeIfPresent(String.self, forKey: .detail) ?? "")
        title = try members.decodeIfPresent(String.self, forKey: .title) ?? title
        whatToDo = try members.decodeIfPresent(String.self, forKey: .whatToDo) ?? whatToDo
        retryable = try members.decodeIfPresent(Bool.self, forKey: .retryable) ?? retryable
        httpStatus = try members.decodeIfPresent(Int.self, forKey: .status) ?? httpStatus
        requestID = try members.decodeIfPresent(RequestID.self, forKey: .requestID)
    }

    /// Writes a problem detail (RFC 9457).
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(Self.typePrefix + code.rawValue, forKey: .type)
        try members.encode(title, forKey: .title)
        try members.encode(httpStatus, forKey: .status)
        try members.encode(detail, forKey: .detail)
        try members.encode(code, forKey: .code)
        try members.encode(whatToDo, forKey: .whatToDo)
        try members.encode(retryable, forKey: .retryable)
        try members.encodeIfPresent(requestID, forKey: .requestID)
    }
}
