// How the memory between one client and one token host is divided. Each call has a lane of its own: room for
// one request and one reply, and two words that say how far it is. So many threads of a client work at once
// without a lock, and a frame can't run into another one. Of the lanes most are small, and a few hold the
// largest message. The host makes the memory and seals its size, so that neither side can make the other one
// trip over a missing page.
//
//   0      magic, version         4,096   lane headers, 128 bytes each       12,288   requests and replies
//   64     pending: bit n set = lane n holds a new request

/// Bounds of ring links.
public enum RingLimits {
    /// The most bytes of a request or a reply.
    public static let messageBytes = 1 << 20
    /// The most bytes of a request in a small lane.
    public static let smallRequestBytes = 16 << 10
    /// The most bytes of a reply in a small lane.
    public static let smallReplyBytes = 80 << 10
    /// Calls under way of one client at most: one bit each in a word.
    public static let lanes = 64
    /// The lanes at the end that hold messages of every size.
    public static let largeLanes = 4
    /// The most connections to one host.
    public static let connections = 256
    /// The most connections of one process to one host.
    public static let connectionsOfProcess = 4
    /// How long a connection may take until its rings are set up, in nanoseconds.
    public static let setupNanoseconds: Int64 = 2_000_000_000
    /// The most session threads of a host.
    public static let workers = 64
}

/// Where things lie in the memory of a connection.
enum RingLayout {
    static let magic: UInt64 = 0x3147_4E52_434D_5348  // "HSMCRNG1", little-endian
    static let version: UInt32 = 1
    static let pending = 64
    private static let headers = 4_096
    private static let headerBytes = 128
    private static let buffers = headers + RingLimits.lanes * headerBytes
    private static let smallLanes = RingLimits.lanes - RingLimits.largeLanes
    private static let smallBytes = RingLimits.smallRequestBytes + RingLimits.smallReplyBytes
    static let bytes = buffers + smallLanes * smallBytes + RingLimits.largeLanes * 2 * RingLimits.messageBytes

    // Words of a lane's header. The reply's words are on a cache line of their own.
    static let requestLength = 0
    static let deadline = 8
    static let replyState = 64
    static let replyStatus = 68
    static let replyLength = 72

    /// The lanes that hold messages of every size, as bits.
    static let largeMask: UInt64 = ~((1 << UInt64(smallLanes)) - 1)

    static func isLarge(_ lane: Int) -> Bool { lane >= smallLanes }
    static func header(_ lane: Int) -> Int { headers + lane * headerBytes }
    static func requestBytes(_ lane: Int) -> Int {
        isLarge(lane) ? RingLimits.messageBytes : RingLimits.smallRequestBytes
    }
    static func replyBytes(_ lane: Int) -> Int {
        isLarge(lane) ? RingLimits.messageBytes : RingLimits.smallReplyBytes
    }
    static func request(_ lane: Int) -> Int {
        isLarge(lane)
            ? buffers + smallLanes * smallBytes + (lane - smallLanes) * 2 * RingLimits.messageBytes
            : buffers + lane * smallBytes
    }
    static func reply(_ lane: Int) -> Int { request(lane) + requestBytes(lane) }
}

/// The values of a lane's reply state. Whatever else stands there counts as done.
enum ReplyState {
    static let awaited: UInt32 = 0
    /// As `awaited`, and the client sleeps on the word.
    static let sleeping: UInt32 = 1
    static let done: UInt32 = 2
}

/// What came of a request on its way, before any service saw it.
enum ReplyStatus {
    static let served: UInt32 = 0
    static let expired: UInt32 = 1
    static let tooLarge: UInt32 = 2
}

/// Why a call can't be made or has no reply.
public enum RingError: Error, Hashable, Sendable {
    /// Nobody listens there, or it may not be entered.
    case unreachable
    /// The host speaks another version.
    case versionMismatch
    /// The host has as many connections as it takes, in all or of this process.
    case tooManyConnections
    /// All lanes were taken until the deadline.
    case busy
    /// The deadline has passed. Where a request was sent, whether it was carried out is unknown.
    case deadlineExceeded
    /// The deadline had passed before the host began: nothing was done.
    case expired
    /// The request or the reply is larger than the lane.
    case tooLarge
    /// The host is gone; whether the request was carried out is unknown.
    case lost
    /// This process is a child of the one that made the connection.
    case forked
}
