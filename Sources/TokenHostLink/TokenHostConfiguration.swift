import ClusterModel
import Glibc
import WireFormat

// What a token host must know before it can talk to anyone. The node writes it to a file, because a command
// line and an environment are both readable by others; the file says where the PIN is, never what it is.
// The digest tells whether a running token host still serves what the node is configured for now.

/// Where a token host finds the PIN of its endpoint.
public enum PINSource: Hashable, Sendable, Codable {
    /// The first line of a file, which only its owner (and perhaps group) may read.
    case file(path: String)
    /// An environment variable of the node, handed on to the token host alone.
    case environment(name: String)
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    case credential(name: String)
}

/// One variable of a token host's environment.
public struct EnvironmentVariable: Hashable, Sendable, Codable {
    /// Its name.
    public var name: String
    /// Its value, taken literally.
    public var value: String
    /// Puts a variable together.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// Everything that one token host is told. Holds no secret but the hashes of applications' passwords.
public struct TokenHostConfiguration: Hashable, Sendable, Codable {
    /// The endpoint that is served.
    public var endpoint: EndpointName
    /// The PKCS#11 module: an absolute path.
    public var modulePath: String
    /// Selects the token (RFC 7512, without pin-value).
    public var tokenURI: String
    /// Where the PIN is.
    public var pinSource: PINSource
    /// The vendor module's environment, such as SOFTHSM2_CONF, sorted by name.
    public var environment: [EnvironmentVariable]
    /// How many threads, each with a session of its own, serve requests.
    public var sessionThreads: Int
    /// How many requests may wait for a thread before the next is refused as busy.
    public var queueBound: Int
    /// The Unix socket: an absolute path in a directory that only this user may enter.
    public var socketPath: String
    /// Where the outcome of the last login attempt is kept: an absolute path.
    public var credentialRecordPath: String
    /// How long one call into the module may last before the token host is replaced, in milliseconds.
    public var hangLimitMilliseconds: UInt64
    /// How much memory the token host may hold before it is replaced, in mebibytes.
    public var memoryLimitMebibytes: UInt64
    /// Who may use keys; nil when applications need not log in.
    public var users: [ApplicationUser]?

    /// Puts a configuration together; all paths are absolute.
    public init(
        endpoint: EndpointName, modulePath: String, tokenURI: String, pinSource: PINSource,
        environment: [String: String] = [:], sessionThreads: Int = TokenHostLimits.defaultSessionThreads,
        queueBound: Int = TokenHostLimits.defaultQueueBound, socketPath: String,
        credentialRecordPath: String, hangLimit: Duration = TokenHostLimits.defaultHangLimit,
        memoryLimitMebibytes: UInt64 = TokenHostLimits.defaultMemoryMebibytes,
        users: [ApplicationUser] = []
    ) {
        self.endpoint = endpoint
        self.modulePath = modulePath
        self.tokenURI = tokenURI
        self.pinSource = pinSource
        self.environment = environment.map { EnvironmentVariable(name: $0.key, value: $0.value) }
            .sorted { $0.name < $1.name }
        self.sessionThreads = sessionThreads
        self.queueBound = queueBound
        self.socketPath = socketPath
        self.credentialRecordPath = credentialRecordPath
        hangLimitMilliseconds = UInt64(max(0, hangLimit.wholeMilliseconds))
        self.memoryLimitMebibytes = memoryLimitMebibytes
        self.users = users.isEmpty ? nil : users
    }

    /// The lock that the serving process holds: beside the socket.
    public var lockPath: String { socketPath + ".lock" }

    /// The socket of applications' data path: beside the node's.
    public var dataSocketPath: String { socketPath + Self.dataSocketSuffix }

    /// What is appended to the node's socket path.
    public static let dataSocketSuffix = ".data"

    /// How long one call into the module may last.
    public var hangLimit: Duration { .milliseconds(Int64(clamping: hangLimitMilliseconds)) }
}

/// Bounds and defaults of token hosts and the links to them.
public enum TokenHostLimits {
    /// The most bytes of a message from a node.
    public static let requestBytes = 1 << 20
    /// The most bytes of a message from a token host: a full `scan` with the longest labels fits.
    public static let replyBytes = 16 << 20
    /// The most bytes waiting to be read by the other side before the link is given up.
    public static let outgoingBytes = 32 << 20
    /// The most bytes of a configuration file.
    public static let configurationBytes = 64 << 10
    /// The most requests of one supervisor without an answer.
    public static let outstandingCalls = 1_024
    /// The most links to one token host.
    public static let links = 16
    /// The most session threads that can be configured.
    public static let sessionThreads = 64
    /// The most waiting requests that can be configured.
    public static let queueBound = 4_096
    /// Session threads unless configured otherwise.
    public static let defaultSessionThreads = 4
    /// Waiting requests unless configured otherwise.
    public static let defaultQueueBound = 256
    /// How long a call may last unless configured otherwise.
    public static let defaultHangLimit = Duration.seconds(15)
    /// How long a module may take to load and to find its token; its several calls may each wait for a
    /// network. Where the hang limit is longer, that counts.
    public static let openingLimit = Duration.seconds(90)
    /// Memory of one token host unless configured otherwise.
    public static let defaultMemoryMebibytes: UInt64 = 1_024
    /// The longest deadline of a request.
    public static let longestDeadline = Duration.seconds(600)
}

/// Why a configuration file can't be used.
public struct TokenHostConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence for people.
    public var description: String
    /// Wraps a sentence.
    public init(_ description: String) { self.description = description }
}

extension TokenHostConfiguration {
    /// The file form.
    /// - Throws: `EncodingError` in theory only.
    public func encoded() throws -> [UInt8] { try CBOREncoder.encode(self) }

    /// Two configurations have the same digest exactly when nothing differs that a token host was told.
    /// FNV-1a, 64 bits: it guards against mistakes; who may connect is decided by the socket's owner.
    public func digest() throws -> UInt64 {
        FNV1a.hash(try encoded())
    }

    /// Writes the file with mode 0600, replacing an older one in one step. Blocks for one small write.
    /// - Throws: `TokenHostConfigurationError` when the file can't be written.
    public func write(toFile path: String) throws {
        let temporary = path + ".new"
        do {
            try SystemFile.write(try encoded(), to: temporary, durably: false)
            try SystemFile.rename(temporary, to: path, durably: false)
        } catch let error as SystemCallError {
            throw TokenHostConfigurationError("cannot write \(path): \(error)")
        }
    }

    /// Reads and checks a file that `write(toFile:)` made.
    /// - Throws: `TokenHostConfigurationError`.
    public init(readingFile path: String) throws {
        do {
            let bytes = try SystemFile.read(path, bound: TokenHostLimits.configurationBytes)
            self = try CBORDecoder.decode(TokenHostConfiguration.self, from: bytes)
        } catch let error as SystemCallError {
            throw TokenHostConfigurationError("cannot read \(path): \(error)")
        } catch {
            throw TokenHostConfigurationError(
                "\(path) is no token host configuration; let hsmclusterd write it anew")
        }
        if let complaint = complaint { throw TokenHostConfigurationError("\(path): \(complaint)") }
    }

    /// What is wrong with the values, as one sentence; nil when nothing is.
    public var complaint: String? {
        if endpoint.rawValue.isEmpty { return "the endpoint has no name" }
        for (what, path) in [
            ("module", modulePath), ("socket", socketPath), ("credential record", credentialRecordPath),
        ] where !path.hasPrefix("/") {
            return "the path of the \(what) must be absolute, not '\(path)'"
        }
        if !(1...TokenHostLimits.sessionThreads).contains(sessionThreads) {
            return "session threads must be 1 to \(TokenHostLimits.sessionThreads), not \(sessionThreads)"
        }
        if !(1...TokenHostLimits.queueBound).contains(queueBound) {
            return "the queue bound must be 1 to \(TokenHostLimits.queueBound), not \(queueBound)"
        }
        if hangLimitMilliseconds == 0 { return "the hang limit must be more than 0 ms" }
        for variable in environment where !variable.isAcceptable {
            return "'\(variable.name)' is no name or value for an environment variable"
        }
        return nil
    }
}

extension EnvironmentVariable {
    /// False where execve(2) would misread the pair.
    var isAcceptable: Bool {
        !name.isEmpty && !name.utf8.contains(UInt8(ascii: "=")) && !name.utf8.contains(0)
            && !value.utf8.contains(0)
    }
}
