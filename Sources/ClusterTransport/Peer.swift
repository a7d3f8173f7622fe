// What the transport remembers about one other node: where it is, the link to it, and when to dial it
// again. Of each pair the lower number dials and the higher waits, so there is never a tie to break, and
// a second connection from a dialer can only mean that it lost the first. Waits double from 50 ms to 2 s
// with jitter, so that nodes that lost each other at once don't come back at once.

import ClusterModel
import Dispatch

/// One other node, as the transport's queue sees it.
final class Peer {
    /// What dialing is doing. A peer that dials us stays `idle`.
    enum Dialing {
        /// Nothing to do: linked, or not ours to dial.
        case idle
        /// Dial at this time. Exits: resolving, connecting.
        case waiting(until: DispatchTime)
        /// A name is being looked up. Exits: connecting, waiting.
        case resolving(attempt: UInt64, deadline: DispatchTime)
        /// A connection is on its way to become a link. Exits: idle, waiting.
        case connecting(Connection)
    }

    var address: PeerAddress
    var dialing = Dialing.idle
    var link: Connection?
    var linkedAt = DispatchTime.now()
    /// A resolver thread for this peer still runs.
    var isResolverBusy = false
    /// Counts dials, which also rotates through a name's addresses.
    var attempts: UInt64 = 0
    private var failures = 0

    init(address: PeerAddress) { self.address = address }

    /// When this peer next wants attention without any input.
    var nextDeadline: DispatchTime? {
        switch dialing {
        case .idle: nil
        case .waiting(let until): until
        case .resolving(_, let deadline): deadline
        case .connecting(let connection): connection.deadline
        }
    }

    /// The wait before the next dial, after one more failure.
    func nextWait(settings: TransportSettings, generator: inout SeededGenerator) -> Duration {
        var wait = settings.redialMinimum
        for _ in 0..<failures where wait < settings.redialMaximum { wait *= 2 }
        wait = min(wait, settings.redialMaximum)
        failures = min(failures + 1, Peer.countedFailures)
        let half = max(1, wait.wholeNanoseconds / 2)
        return .nanoseconds(half + Int64.random(in: 0...half, using: &generator))
    }

    /// The link held long enough that the next break is a new story.
    func forgetFailures() { failures = 0 }

    /// More doublings than this change nothing.
    private static let countedFailures = 32
}

extension DispatchTime {
    /// This time and `span` more.
    func advanced(by span: Duration) -> DispatchTime {
        DispatchTime(uptimeNanoseconds: uptimeNanoseconds &+ UInt64(max(0, span.wholeNanoseconds)))
    }
}
