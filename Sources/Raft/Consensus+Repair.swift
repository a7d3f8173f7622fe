// A node whose disk has lost what it had promised (compare "Protocol-Aware Recovery for Consensus-Based Storage",
// FAST 2018, and TigerBeetle's repair). Two losses are told apart.
//
// The log is shorter than what was acknowledged, but term, vote and the log's old end are known. The node follows
// and is repaired like any follower that lags. It does not campaign, and gives its vote only to candidates whose log
// is at least as up to date as its own was: exactly the votes that it would have given without the damage. So every
// majority that elects a leader still has a member that vouches for each committed entry. The loss is made good once
// the durable log is at least as up to date as the old one: an entry of a later term stands behind all that was
// committed before that term (leader completeness), one of the same term is of the same leader's log.
//
// Term and vote are lost as well. Then every answer could break a promise: a second vote in a term, or an
// acknowledgement to a leader whom a forgotten vote has deposed. Such a node says nothing at all until a leader has
// committed a configuration in which it does not vote, and votes again once a later one lets it. A majority of that
// first configuration has its entry in the log; whoever wins an election in a later term than the entry's has it,
// too, and does not count the forgotten votes; and the node gives no vote in that term or an earlier one. Everything
// committed up to that entry stands on a majority without the node, and is in its log again before it votes.

import ClusterModel

extension Consensus {
    /// Whether what the node lost to damage has not been made good yet.
    public var isUnderRepair: Bool { lostEnd != nil || rejoin != nil }

    /// Whether a candidate's log is at least as up to date as ours is, or was before it was damaged.
    func isUpToDate(_ request: VoteRequest) -> Bool {
        let candidate = LogPosition(index: request.lastLogIndex, term: request.lastLogTerm)
        return candidate >= max(log.end, lostEnd ?? log.end)
    }

    mutating func demoted(by leader: NodeID, term: Term, index: LogIndex) {
        guard rejoin == .demotion, term >= self.term else { return }
        becomeFollower(term: term, leader: nil)
        // The forgotten vote in this term may have been another's.
        votedFor = leader
        rejoin = .promotion(after: index)
    }

    /// Notes that what was lost is in the durable log again.
    mutating func noticeRepair() {
        guard isUnderRepair, let end = log.durableEnd else { return }
        if let lost = lostEnd, end >= lost { lostEnd = nil }
        guard case .promotion(let index) = rejoin, log.configurationIndex > index,
            log.configurationIndex <= end.index, configuration.isVoter(id)
        else { return }
        rejoin = nil
        // Not in this term, either.
        votedFor = votedFor ?? leader ?? id
    }
}
