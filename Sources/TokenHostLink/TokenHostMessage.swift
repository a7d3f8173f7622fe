import ClusterModel
import WireFormat

// What a node and a token host say to each other: CBOR items, each after its length as four bytes, most
// significant first. Both sides begin with a hello. Requests carry a deadline so that work nobody waits for
// is never begun; answers may come in any order. Pongs carry the token host's vital signs, because only it
// knows how long a thread has been inside the vendor's module.

/// The first message of either side.
package struct TokenHostHello: Hashable, Sendable, Codable {
    /// What this version speaks.
    package static let currentVersion: UInt64 = 1
    /// The version that the sender speaks.
    package var version: UInt64
    /// The sender's process, for logs.
    package var process: Int32
    /// `TokenHostConfiguration.digest()` as the sender knows it.
    package var configurationDigest: UInt64
    /// A token host's program as a file (`SystemFile.fingerprint`), so that an upgrade is noticed.
    package var program: [UInt64]?
    /// Puts a hello together.
    package init(
        version: UInt64 = currentVersion, process: Int32, configurationDigest: UInt64,
        program: [UInt64]? = nil
    ) {
        self.version = version
        self.process = process
        self.configurationDigest = configurationDigest
        self.program = program
    }
}

/// How busy and how well a token host is, by its own account.
public struct TokenHostVitals: Hashable, Sendable, Codable {
    /// Threads inside a request now.
    public var busyThreads: Int
    /// Threads that are past their request's deadline and may never come back.
    public var stuckThreads: Int
    /// Requests waiting for a thread.
    public var queuedRequests: Int
    /// How long the longest running request or login has lasted, in milliseconds.
    public var longestCallMilliseconds: UInt64
    /// How long the module has been loading, or its token been looked for, in milliseconds; 0 when neither.
    public var openingMilliseconds: UInt64
    /// Resident memory in kibibytes.
    public var residentKibibytes: UInt64
    /// Puts vital signs together.
    public init(
        busyThreads: Int, stuckThreads: Int, queuedRequests: Int, longestCallMilliseconds: UInt64,
        openingMilliseconds: UInt64 = 0, residentKibibytes: UInt64
    ) {
        self.busyThreads = busyThreads
        self.stuckThreads = stuckThreads
        self.queuedRequests = queuedRequests
        self.longestCallMilliseconds = longestCallMilliseconds
        self.openingMilliseconds = openingMilliseconds
        self.residentKibibytes = residentKibibytes
    }
}

/// How a request ended, in a form that can be sent.
package enum EndpointOutcome: Hashable, Sendable, Codable {
    /// With this answer.
    case success(EndpointReply)
    /// With this failure.
    case failure(EndpointFailure)

    /// Takes a result over.
    package init(_ result: Result<EndpointReply, EndpointFailure>) {
        switch result {
        case .success(let reply): self = .success(reply)
        case .failure(let failure): self = .failure(failure)
        }
    }

    /// As a result.
    package var result: Result<EndpointReply, EndpointFailure> {
        switch self {
        case .success(let reply): .success(reply)
        case .failure(let failure): .failure(failure)
        }
    }
}

/// One message between a node and a token host.
package enum TokenHostMessage: Hashable, Sendable, Codable {
    /// Either side, first.
    case hello(TokenHostHello)
    /// The node: do this; the answer is of no use after so many milliseconds.
    case request(id: UInt64, request: EndpointRequest, deadlineMilliseconds: UInt64)
    /// The token host: how request `id` ended.
    case reply(id: UInt64, outcome: EndpointOutcome)
    /// The token host, after its hello and whenever it changes.
    case state(TokenHostState)
    /// The node: are you there?
    case ping(sequence: UInt64)
    /// The token host: yes.
    case pong(sequence: UInt64, vitals: TokenHostVitals)
}

/// Why bytes from the other side are not a message.
package enum TokenHostProtocolError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A frame announces more bytes than the bound.
    case frameTooLong(bytes: Int, bound: Int)
    /// The content of a frame is not a message of this version.
    case malformed
    /// A message that this side never expects, or not now.
    case unexpected(String)
    /// Nobody reads what is written.
    case readerTooSlow

    /// One sentence for people.
    package var description: String {
        switch self {
        case .frameTooLong(let bytes, let bound): "a message of \(bytes) bytes exceeds the bound of \(bound)"
        case .malformed: "the bytes received are no message of this version"
        case .unexpected(let what): "unexpected message: \(what)"
        case .readerTooSlow: "the other side doesn't read its messages"
        }
    }
}

/// Cuts a byte stream into messages. Holds at most one frame and one read more.
package struct TokenHostFrameReader: Sendable {
    private let bound: Int
    private var buffer: [UInt8] = []
    private var consumed = 0

    /// A reader that refuses frames of more than `bound` bytes.
    package init(bound: Int) { self.bound = bound }

    /// Appends bytes as they came from the socket.
    package mutating func append(_ bytes: some Collection<UInt8>) {
        if consumed > 0 {
            buffer.removeFirst(consumed)
            consumed = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The next whole message; nil when more bytes are needed.
    /// - Throws: `TokenHostProtocolError`; the stream is of no use afterwards.
    package mutating func next() throws(TokenHostProtocolError) -> TokenHostMessage? {
        let start = consumed
        guard buffer.count - start >= TokenHostFrame.headBytes else { return nil }
        let length = buffer[start..<start + TokenHostFrame.headBytes].reduce(0) { $0 << 8 | Int($1) }
        guard length <= bound else { throw .frameTooLong(bytes: length, bound: bound) }
        let end = start + TokenHostFrame.headBytes + length
        guard buffer.count >= end else { return nil }
        consumed = end
        do {
            let content = Array(buffer[(start + TokenHostFrame.headBytes)..<end])
            return try CBORDecoder.decode(TokenHostMessage.self, from: content)
        } catch {
            throw .malformed
        }
    }
}

/// Writes messages as frames.
package enum TokenHostFrame {
    /// Bytes before the content: its length.
    package static let headBytes = 4

    /// The frame of `message`; nil when it would exceed `bound` or can't be encoded.
    package static func encode(_ message: TokenHostMessage, bound: Int) -> [UInt8]? {
        guard let content = try? CBOREncoder.encode(message), content.count <= bound else { return nil }
        return ByteOrder.bigEndian(UInt64(content.count)).suffix(headBytes) + content
    }
}

extension EndpointRequest {
    /// True when `reply` is of the kind that answers this request; a token host that answers otherwise lies.
    package func isAnswered(by reply: EndpointReply) -> Bool {
        switch (self, reply) {
        case (.inspect, .token), (.scan, .objects), (.transportKey, .transportKey), (.exportKey, .wrapped),
            (.verify, .proof), (.destroy, .destroyed), (.generate, .made), (.importKey, .made),
            (.logIn, .done), (.forgetRejectedPIN, .done), (.restrict, .done):
            true
        default: false
        }
    }
}
