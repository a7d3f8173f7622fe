public import ClusterModel
public import OperationWire

// The seam between the C functions and whatever carries their requests: shared-memory rings to the token hosts of this
// machine, a TLS connection to a node, or a fake in tests. Calls run on the application's threads: nothing here may
// start a thread of its own.

/// A request that was sent and whose reply is awaited.
public protocol PendingReply: AnyObject, Sendable {}

/// What came of waiting.
public enum HostAnswer: Sendable {
    /// The bytes of an `OperationReply`.
    case reply([UInt8])
    /// The token host is gone; whether it did anything is unknown.
    case lost
}

/// The token host cannot be reached, so that the request was not sent.
public struct HostUnreachable: Error, Hashable, Sendable {
    /// The only one there is.
    public init() {}
}

/// The way to the token hosts. Safe to use from any number of threads at once.
public protocol HostNetwork: Sendable {
    /// Sends a request, connecting first where there is no connection.
    /// - Parameters:
    ///   - replyBytes: The most bytes of the reply that is expected.
    ///   - connectBy: When to give up connecting, so that a frozen host does not use up the caller's time.
    ///   - deadline: When nobody waits for the reply any more.
    func begin(
        _ request: [UInt8], to endpoint: Directory.Endpoint, replyBytes: Int, connectBy: Instant,
        deadline: Instant
    ) throws(HostUnreachable) -> any PendingReply
    /// Waits until one of several replies is there.
    /// - Returns: Its position and the answer; nil when the time is over.
    func wait(for pending: [any PendingReply], nanoseconds: Int64) -> (position: Int, answer: HostAnswer)?
    /// The reply is no longer wanted.
    func abandon(_ pending: any PendingReply)
    /// A number that is another one whenever the directory has changed, read at every use: it has to be cheap.
    func epoch() -> UInt64
    /// The directory as it is now; nil when there is none.
    func directory() -> Directory?
    /// A monotonic clock.
    func now() -> Instant
    /// Sleeps on the caller's thread.
    func sleep(nanoseconds: Int64)
    /// Closes all connections. Nothing is called afterwards.
    func close()
}
