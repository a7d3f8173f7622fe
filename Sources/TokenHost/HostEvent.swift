import CProcess
import ClusterModel
import Glibc
import TokenHostLink

// How the token host's threads reach the one that owns the socket: they leave an event and write a byte into
// a pipe, which wakes its poll(2).

/// What the serving thread hears from the others.
enum HostEvent: Sendable {
    /// Job `number` is done.
    case finished(number: UInt64, result: Result<EndpointReply, EndpointFailure>)
    /// The token's state has changed.
    case state(TokenHostState)
    /// Only a fresh process can help.
    case restartWanted(reason: String)
    /// SIGTERM, or a test's wish.
    case stop
}

/// The serving thread's letter box.
final class HostInbox: Sendable {
    private let events = Monitor<[HostEvent]>([])
    private let writeEnd: Int32
    /// Readable while there are events.
    let readEnd: Int32

    init() throws(SystemCallError) {
        var ends: [Int32] = [0, 0]
        guard pipe2(&ends, O_CLOEXEC | O_NONBLOCK) == 0 else { throw SystemCallError("pipe2") }
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// Leaves an event; from any thread.
    func post(_ event: HostEvent) {
        events.change { $0.append(event) }
        // A full pipe wakes the reader just as well.
        var byte: UInt8 = 0
        _ = write(writeEnd, &byte, 1)
    }

    /// Takes all events; the serving thread only.
    func drain() -> [HostEvent] {
        var bytes = [UInt8](repeating: 0, count: 256)
        while read(readEnd, &bytes, bytes.count) > 0 {}
        return events.change { events in
            defer { events = [] }
            return events
        }
    }
}

/// A request on its way through the token host.
struct EndpointJob: Sendable {
    let number: UInt64
    let request: EndpointRequest
    let deadline: HostInstant
}

/// Intervals of a token host. Tests hurry; production uses the defaults.
struct HostTiming: Sendable {
    /// Between two looks at a token that is there.
    var probeMilliseconds: Int64 = 5_000
    /// The wait after the first failed look; doubled with each further one.
    var retryFloorMilliseconds: Int64 = 500
    /// The longest wait between two looks at a token that isn't there; module reloads are no more frequent.
    var retryCeilingMilliseconds: Int64 = 5_000
    /// A token that was served and has been gone for so long is looked for by a fresh process.
    var goneMilliseconds: Int64 = 15_000
    /// A thread so long past its request's deadline counts as stuck.
    var stuckMilliseconds: Int64 = 1_000
    /// For requests under way when the process is asked to stop.
    var drainMilliseconds: Int64 = 3_000
    /// For closing sessions and C_Finalize when the process stops.
    var finalizeMilliseconds: Int64 = 2_000
}
