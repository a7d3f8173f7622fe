// What the API server is told. Each limit is a number with a name: an API that anybody in the network can
// reach must not let a client decide how much memory or how many threads it costs.

/// Where and how a node serves the management API.
public struct ManagementServerConfiguration: Sendable {
    /// The cluster's name; only certificates that name it are served.
    public var cluster: String
    /// The address to listen on.
    public var host: String
    /// The port to listen on; 0 lets the system choose.
    public var port: Int
    /// PEM file with the cluster's authority.
    public var authorityFile: String
    /// PEM file with the node's certificate, followed by intermediate ones.
    public var certificateFile: String
    /// PEM file with the node's private key.
    public var keyFile: String
    /// How long a request may take, reading its body included.
    public var requestDeadline: Duration = .seconds(30)
    /// How long a connection may stay silent, the TLS handshake included.
    public var idleTimeout: Duration = .seconds(60)
    /// How many connections are open at once; more wait in the listen queue.
    public var maximumConnections = 256
    /// How many calls are with the cluster at once, abandoned ones included; more are refused with `busy`.
    public var maximumCalls = 64

    /// A configuration with the usual limits.
    public init(
        cluster: String, host: String, port: Int, authorityFile: String, certificateFile: String,
        keyFile: String
    ) {
        self.cluster = cluster
        self.host = host
        self.port = port
        self.authorityFile = authorityFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}

/// Why the API server could not be set up. Names the file; never its contents.
public struct ManagementServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong and what to do, one or two sentences.
    public var description: String
}
