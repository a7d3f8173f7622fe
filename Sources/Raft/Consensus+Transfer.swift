// Handing leadership over on purpose (dissertation §3.10). The leader takes no new proposals, brings the
// target's log up to date, and tells it to campaign at once. That campaign skips PreVote and says that the
// leader wants it, since otherwise the leader's own lease would block it (compare canonical/raft#205). When
// nothing comes of it within an election timeout, the leader carries on.

import ClusterModel

extension Consensus {
    mutating func requestTransfer(to target: NodeID) {
        guard let current = leadership, target != id, configuration.isVoter(target),
            current.transfer?.target != target
        else { return }
        leadership?.transfer = Leadership.Transfer(target: target)
        replicate(to: target)
        finishTransfer(to: target)
    }

    /// Tells the target to campaign if its log is complete. Repeated with its every answer, in case the
    /// message was lost; once it campaigns, its term is above ours.
    mutating func finishTransfer(to peer: NodeID) {
        guard let current = leadership, current.transfer?.target == peer,
            current.peers[peer]?.matchIndex == log.lastIndex
        else { return }
        send(.timeoutNow(TimeoutNow(term: term)), to: peer)
    }

    mutating func timeoutNow(from sender: NodeID) {
        guard isElectable, leader == nil || leader == sender else { return }
        switch role {
        case .follower, .preCandidate: campaign(isTransfer: true)
        case .candidate, .leader: break
        }
    }
}
