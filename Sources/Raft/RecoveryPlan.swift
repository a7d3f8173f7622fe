// What a node may still stand for when part of what its disk held cannot be read (compare "Protocol-Aware Recovery
// for Consensus-Based Storage", FAST 2018). A write that a crash tore is never seen here: it was not acknowledged, and
// the store has rolled it back. What is missing between the log's ends was acknowledged, so it is never passed over:
// either the state machine holds what it led to, or the peers have to send it again, and until then the node vouches
// for nothing that it lacks.

import ClusterModel

/// What can still be read of a node's durable state.
public struct SurvivingState: Hashable, Sendable {
    /// Term, vote and commit index; nil when they were lost, or may be older than what was acknowledged.
    public var hardState: HardState?
    /// The snapshot in place of the log's beginning.
    public var snapshot: SnapshotMetadata?
    /// Where the log ended, readable or not.
    public var end: LogPosition
    /// The readable entries after the snapshot, ascending; what is missing is damaged.
    public var entries: [LogEntry]
    /// Which prefix of the log the state machine's state is the result of; nil when that state is damaged.
    public var applied: SnapshotMetadata?
    /// Who votes when nothing in the log says so.
    public var initialConfiguration: VoterConfiguration
    /// Puts it together.
    public init(
        hardState: HardState?, snapshot: SnapshotMetadata?, end: LogPosition, entries: [LogEntry],
        applied: SnapshotMetadata?, initialConfiguration: VoterConfiguration
    ) {
        self.hardState = hardState
        self.snapshot = snapshot
        self.end = end
        self.entries = entries
        self.applied = applied
        self.initialConfiguration = initialConfiguration
    }
}

/// From what a node starts after damage, and what has to be written before it does.
public struct RecoveryPlan: Hashable, Sendable {
    /// One thing that was found and how it is made good.
    public enum Finding: Hashable, Sendable {
        /// The entry is damaged; the state machine holds what it led to, so the log begins after it.
        case coveredByState(LogIndex)
        /// Entries from here to the old end are cut off, for the leader to send them again.
        case cut(from: LogIndex, oldEnd: LogPosition)
        /// The state machine's state is damaged; the log is complete and is applied anew.
        case stateRebuilt
        /// The state machine's state is damaged and the log does not reach back to its beginning: the leader has to
        /// send a snapshot.
        case stateLost(oldEnd: LogPosition)
        /// Term and vote are lost: the node has to be demoted and promoted again by the others.
        case votesLost
    }

    /// What consensus starts from; the log on disk has to become this.
    public var state: RecoveredState
    /// Whether the state machine starts from nothing.
    public var discardsState: Bool
    /// What was found; empty when nothing is damaged.
    public var findings: [Finding]

    /// Decides what a node with this left of its state may do.
    public init(_ found: SurvivingState) {
        guard let hardState = found.hardState, (found.applied?.lastIndex ?? .zero) <= found.end.index else {
            // A state machine ahead of its log means that the log is older than what was acknowledged.
            self = Self.startingOver()
            return
        }
        var state = RecoveredState(
            hardState: hardState, entries: found.entries, snapshot: found.snapshot,
            initialConfiguration: found.initialConfiguration)
        let base = found.snapshot?.lastIndex ?? .zero
        var findings: [Finding] = []
        var discardsState = false
        var applied = found.applied
        if found.applied == nil || (found.applied?.lastIndex ?? .zero) < base {
            discardsState = true
            applied = nil
            guard base == .zero else {
                state.snapshot = nil
                state.entries = []
                state.forget(after: .zero, oldEnd: found.end)
                self.init(state: state, discardsState: true, findings: [.stateLost(oldEnd: found.end)])
                return
            }
            findings.append(.stateRebuilt)
        }
        if let damaged = Self.firstMissing(in: found.entries, after: base, through: found.end.index) {
            if let applied, applied.lastIndex >= damaged {
                state.snapshot = applied
                state.entries.removeAll { $0.index <= applied.lastIndex }
                findings.append(.coveredByState(damaged))
            }
            let start = state.snapshot?.lastIndex ?? .zero
            if let cut = Self.firstMissing(in: state.entries, after: start, through: found.end.index) {
                state.entries.removeAll { $0.index >= cut }
                state.forget(after: cut.previous, oldEnd: found.end)
                findings.append(.cut(from: cut, oldEnd: found.end))
            }
        }
        self.init(state: state, discardsState: discardsState, findings: findings)
    }

    private init(state: RecoveredState, discardsState: Bool, findings: [Finding]) {
        self.state = state
        self.discardsState = discardsState
        self.findings = findings
    }

    /// For a node that does not know what it has promised. Where it stands with the others, they have to tell it:
    /// a list of voters of its own would only be out of date.
    public static func startingOver() -> RecoveryPlan {
        RecoveryPlan(
            state: RecoveredState(
                hardState: HardState(rejoin: .demotion), initialConfiguration: VoterConfiguration(voters: [])),
            discardsState: true, findings: [.votesLost])
    }

    private static func firstMissing(
        in entries: [LogEntry], after base: LogIndex, through end: LogIndex
    ) -> LogIndex? {
        var expected = base.next
        for entry in entries where entry.index >= expected {
            guard entry.index == expected else { return expected }
            expected = expected.next
        }
        return expected <= end ? expected : nil
    }
}

extension RecoveredState {
    /// Notes that the log now ends at `index`, and where it ended before.
    fileprivate mutating func forget(after index: LogIndex, oldEnd: LogPosition) {
        hardState.commitIndex = min(hardState.commitIndex, index)
        hardState.lostEnd = max(oldEnd, hardState.lostEnd ?? oldEnd)
    }
}

extension RecoveryPlan.Finding: CustomStringConvertible {
    /// One sentence for people.
    public var description: String {
        switch self {
        case .coveredByState(let index):
            "log entry \(index) is damaged; the catalog holds what it led to, so the log now begins after that"
        case .cut(let index, let end):
            "the log is damaged from entry \(index) on and ended at entry \(end.index) of term \(end.term); "
                + "this node does not stand for election until the leader has sent the rest again"
        case .stateRebuilt: "the catalog is damaged; it is built again from the log"
        case .stateLost(let end):
            "the catalog is damaged and the log, which ended at entry \(end.index) of term \(end.term), does not "
                + "reach back to its beginning; this node does not stand for election until a leader has sent both"
        case .votesLost:
            "this node has lost what it voted for; it takes no part until the others have made it a learner"
        }
    }
}
