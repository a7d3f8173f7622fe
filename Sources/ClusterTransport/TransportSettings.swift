// Every bound of the transport in one place. The defaults suit a handful of nodes in one or two data
// centres; a test may shrink them to reach a limit quickly.

import ClusterModel

/// Where to find another node.
public struct PeerAddress: Hashable, Sendable {
    /// The node.
    public var node: NodeID
    /// A host name, or an IPv4 or IPv6 address without brackets.
    public var host: String
    /// Its node port.
    public var port: UInt16

    /// An address of a node.
    public init(node: NodeID, host: String, port: UInt16) {
        self.node = node
        self.host = host
        self.port = port
    }
}

/// Where to wait for the other nodes.
public enum ListenAddress: Hashable, Sendable {
    /// Bind to this host (`0.0.0.0` and `::` are all interfaces) and port (0 takes any free one).
    case address(host: String, port: UInt16)
    /// Use a listening TCP socket that was inherited, as systemd's socket activation hands it over. The
    /// transport closes it when it stops.
    case descriptor(Int32)
}

/// The transport's bounds.
public struct TransportSettings: Hashable, Sendable {
    /// The largest payload of a frame, in bytes.
    public var maxFrameBytes = 4 << 20
    /// What may wait for one peer before `send` refuses, in bytes.
    public var maxQueuedBytesPerPeer = 16 << 20
    /// What one peer may have sent that the event handler hasn't returned from yet, in bytes. Above it
    /// the link isn't read, so TCP slows the peer down. Overshoot: one read of 256 KiB.
    public var maxUndeliveredBytesPerLink = 8 << 20
    /// Connections that have not proved who they are. One more, and the oldest is closed.
    public var maxUnauthenticatedConnections = 64
    /// Rejections and failed dials waiting in the event queue; more are only counted.
    public var maxPendingReports = 64
    /// From the first SYN to the established connection, and for resolving a host name.
    public var connectDeadline = Duration.seconds(2)
    /// From the established connection to the link: TLS and hello.
    public var handshakeDeadline = Duration.seconds(2)
    /// The first wait before dialing again. Each failure doubles it.
    public var redialMinimum = Duration.milliseconds(50)
    /// The longest wait before dialing again. The actual wait lies between half of it and all of it.
    public var redialMaximum = Duration.seconds(2)
    /// A link that held so long starts again with the shortest wait when it breaks.
    public var stableLinkAge = Duration.seconds(5)
    /// Sent data that stays unacknowledged so long ends the link (TCP_USER_TIMEOUT). So does a peer that is
    /// alive but takes nothing in for so long.
    public var unacknowledgedDataTimeout = Duration.seconds(5)
    /// An idle link is probed after so long (TCP_KEEPIDLE), whole seconds.
    public var keepaliveIdle = Duration.seconds(5)
    /// The time between probes (TCP_KEEPINTVL), whole seconds.
    public var keepaliveInterval = Duration.seconds(2)
    /// Unanswered probes until the link counts as broken (TCP_KEEPCNT).
    public var keepaliveProbes = 3
    /// Connections the kernel completes before we accept them.
    public var listenBacklog = 1024
    /// The protocol versions that the upper layers can speak. The highest common one is agreed on.
    public var protocolVersions: ClosedRange<UInt16> = 1...1
    /// Where the jitter of redialing comes from; give each node another number.
    public var jitterSeed: UInt64 = 0

    /// The defaults.
    public init() {}

    var socketOptions: SocketOptions {
        SocketOptions(
            keepaliveIdleSeconds: Int32(clamping: max(1, keepaliveIdle.components.seconds)),
            keepaliveIntervalSeconds: Int32(clamping: max(1, keepaliveInterval.components.seconds)),
            keepaliveProbes: Int32(clamping: max(1, keepaliveProbes)),
            userTimeoutMilliseconds: Int32(clamping: max(1, unacknowledgedDataTimeout.wholeMilliseconds)))
    }
}

/// What the transport tells its owner.
public enum TransportEvent: Sendable {
    /// Frames can now be sent to this node, and come from it.
    case linkUp(NodeID)
    /// The link to this node is gone, with all that waited to be sent on it.
    case linkDown(NodeID, reason: LinkFailure)
    /// A frame from a node whose link is up.
    case frame(Frame, from: NodeID)
    /// A connection that someone opened to us did not become a link.
    case rejected(remote: String, reason: LinkFailure)
    /// A connection that we opened to this node did not become a link. It will be tried again.
    case dialFailed(NodeID, remote: String, reason: LinkFailure)
}

/// One link as it stands.
public struct LinkStatistics: Hashable, Sendable {
    /// The node at the other end.
    public var node: NodeID
    /// Whether frames flow.
    public var isUp: Bool
    /// The protocol version agreed on; nil while the link is down.
    public var protocolVersion: UInt16?
    /// Bytes waiting to be encrypted and sent.
    public var queuedBytes: Int
}

/// Counters since the start, and the links as they stand.
public struct TransportStatistics: Hashable, Sendable {
    /// The peers, by number.
    public var links: [LinkStatistics] = []
    /// Frames handed to TLS.
    public var framesSent: UInt64 = 0
    /// Frames received on links.
    public var framesReceived: UInt64 = 0
    /// Bytes of those frames with headers, before encryption.
    public var bytesSent: UInt64 = 0
    /// Bytes of received frames with headers, after decryption.
    public var bytesReceived: UInt64 = 0
    /// `send` refused: no link to that node.
    public var refusedWithoutLink: UInt64 = 0
    /// `send` refused: the peer's queue was full.
    public var refusedQueueFull: UInt64 = 0
    /// `send` refused: the frame is too large or its kind reserved.
    public var refusedInvalid: UInt64 = 0
    /// Frames that waited on a link when it went down.
    public var framesLostWithLink: UInt64 = 0
    /// Connections accepted from anyone.
    public var connectionsAccepted: UInt64 = 0
    /// Of these, connections that didn't become links.
    public var connectionsRejected: UInt64 = 0
    /// Attempts to dial a peer.
    public var dials: UInt64 = 0
    /// Rejections and failed dials that weren't reported, since too many reports were waiting.
    public var reportsSuppressed: UInt64 = 0
}
