// The leader's picture of one follower (Raft figure 2's nextIndex and matchIndex, with the flow control of
// etcd-io/raft's tracker). A follower is probed with one request at a time until the logs are known to meet,
// then fed a bounded pipeline, and left alone while a snapshot is on its way:
//
//     probe ──matched──▶ replicate ──conflict──▶ probe
//     probe, replicate ──entries compacted──▶ snapshot ──matched──▶ replicate
//                                             snapshot ──failed, no answer──▶ probe

import ClusterModel

/// What the leader knows of a follower's log, and how it sends to it.
struct Progress: Hashable, Sendable {
    enum State: Hashable, Sendable {
        /// The logs' meeting point is unknown; `isPaused` while a probe is unanswered.
        case probe(isPaused: Bool)
        /// The last indexes of the requests in flight, ascending.
        case replicate(inflight: [LogIndex])
        /// A snapshot up to `index` is under way. `silence` counts ticks since it was delivered.
        case snapshot(index: LogIndex, silence: Int?)
    }

    /// How far the follower's durable log is known to equal the leader's. Falls only when the follower says that its
    /// disk has lost entries.
    var matchIndex = LogIndex.zero
    /// The next entry to send.
    var nextIndex: LogIndex
    var state = State.probe(isPaused: false)
    /// Ticks since the follower was last heard.
    var silentTicks = 0
    /// The latest round of leadership confirmation that the follower has acknowledged.
    var readRound: UInt64 = 0
    /// The highest commit index that has been sent.
    var sentCommit = LogIndex.zero

    init(nextIndex: LogIndex) { self.nextIndex = nextIndex }

    /// Whether a request with entries may be sent now.
    func maySend(maxInflight: Int) -> Bool {
        switch state {
        case .probe(let isPaused): !isPaused
        case .replicate(let inflight): inflight.count < maxInflight
        case .snapshot: false
        }
    }

    /// Notes that a request with entries up to `last` has been sent; nil stands for an empty one.
    mutating func sent(through last: LogIndex?) {
        switch state {
        case .probe: state = .probe(isPaused: true)
        case .replicate(var inflight):
            guard let last else { return }
            inflight.append(last)
            state = .replicate(inflight: inflight)
            nextIndex = last.next
        case .snapshot: break
        }
    }

    /// Notes that the follower's log equals the leader's up to `index`. Returns whether that is news.
    mutating func matched(_ index: LogIndex) -> Bool {
        let isNews = index > matchIndex
        switch state {
        case .probe:
            // An old answer says nothing about the probe under way.
            guard isNews || index.next == nextIndex else { return false }
            matchIndex = max(matchIndex, index)
            nextIndex = matchIndex.next
            state = .replicate(inflight: [])
        case .replicate(let inflight):
            matchIndex = max(matchIndex, index)
            nextIndex = max(nextIndex, index.next)
            if let first = inflight.first, first <= index {
                state = .replicate(inflight: inflight.filter { $0 > index })
            }
        case .snapshot(let awaited, _):
            matchIndex = max(matchIndex, index)
            if matchIndex >= awaited {
                nextIndex = matchIndex.next
                state = .replicate(inflight: [])
            }
        }
        return isNews
    }

    /// Notes that the logs differ at `rejected` and can meet at `hint` at best. Returns whether to probe
    /// anew.
    mutating func rejected(at rejected: LogIndex, hint: LogIndex) -> Bool {
        switch state {
        case .replicate:
            guard rejected > matchIndex else { return false }
            nextIndex = matchIndex.next
        case .probe:
            guard rejected > matchIndex, rejected.next == nextIndex else { return false }
            nextIndex = max(matchIndex.next, min(rejected, hint.next))
        case .snapshot: return false
        }
        state = .probe(isPaused: false)
        return true
    }

    /// The follower's disk has lost what came after `index`: begin again there. What was committed by counting the
    /// follower stays committed, since it helps to elect nobody who lacks what it has lost.
    mutating func lost(after index: LogIndex) {
        if case .snapshot = state { return }
        matchIndex = min(matchIndex, index)
        nextIndex = index.next
        state = .probe(isPaused: false)
    }

    mutating func beginSnapshot(_ index: LogIndex) { state = .snapshot(index: index, silence: nil) }

    /// The snapshot was lost, or delivered and forgotten: find out anew where the logs meet. The next
    /// heartbeat probes, so that a failing transfer is retried at that pace only.
    mutating func abandonSnapshot() {
        guard case .snapshot = state else { return }
        nextIndex = matchIndex.next
        state = .probe(isPaused: true)
    }

    mutating func snapshotDelivered() {
        guard case .snapshot(let index, nil) = state else { return }
        state = .snapshot(index: index, silence: 0)
    }

    /// The follower says that it is busy with the snapshot.
    mutating func stillInstalling() {
        guard case .snapshot(let index, .some) = state else { return }
        state = .snapshot(index: index, silence: 0)
    }

    /// One tick has passed. A snapshot that was delivered but brought no sign of life for `patience` ticks is
    /// given up.
    mutating func tick(patience: Int) {
        silentTicks += 1
        guard case .snapshot(let index, let silence?) = state else { return }
        if silence >= patience {
            abandonSnapshot()
        } else {
            state = .snapshot(index: index, silence: silence + 1)
        }
    }
}

/// A follower as the leader sees it, for status displays.
public struct PeerStatus: Hashable, Sendable {
    /// How the leader sends to a follower.
    public enum Flow: String, Hashable, Sendable, Codable {
        /// Looking for where the logs meet.
        case probe
        /// Sending entries as they come.
        case replicate
        /// Waiting for a snapshot to arrive.
        case snapshot
    }

    /// The follower.
    public var id: NodeID
    /// How far its durable log is known to equal the leader's.
    public var matchIndex: LogIndex
    /// How the leader sends to it.
    public var flow: Flow
    /// Whether it votes.
    public var isVoter: Bool
    /// Ticks since it was last heard.
    public var silentTicks: Int
}
