// Changes of the voter set, one voter at a time (dissertation §4.1, §4.2). A configuration takes force when
// it is appended, on every node, and falls back when its entry is cut off: so two leaders of adjacent
// configurations always share a voter. The leader first commits an entry of its own term; without that, two
// changes by two leaders could miss each other (Ongaro, "bug in single-server membership changes", raft-dev
// 2015). A leader that is not in the new configuration goes on, uncounted, until the change is committed,
// then names the best-informed voter its successor.

import ClusterModel

extension Consensus {
    mutating func propose(_ configuration: VoterConfiguration, token: UInt64) {
        if let refusal = refusal(of: configuration) {
            output.proposals.append((token, .rejected(refusal)))
            return
        }
        output.proposals.append((token, .appended(index: log.lastIndex.next, term: term)))
        appendAsLeader(.configuration(configuration))
    }

    private func refusal(of proposed: VoterConfiguration) -> ProposalRejection? {
        guard case .leader(let current) = role else { return .notLeader(leader: leader) }
        guard current.transfer == nil, configuration.isVoter(id) else { return .transferInProgress }
        guard log.configurationIndex <= commitIndex else { return .configurationChangeInProgress }
        guard hasCommittedInTerm else { return .currentTermNotCommitted }
        let changed = Set(proposed.voters).symmetricDifference(configuration.voters)
        guard !proposed.voters.isEmpty, changed.count <= 1 else { return .configurationInvalid }
        return nil
    }

    /// Adjusts the leader's list of followers to the configuration that it has just appended. That entry is
    /// the first thing that a new follower is asked about.
    mutating func configurationChanged() {
        guard var current = leadership else { return }
        let members = configuration.members.filter { $0 != id }
        for peer in members where current.peers[peer] == nil {
            current.peers[peer] = Progress(nextIndex: log.lastIndex)
        }
        for peer in current.peers.keys.sorted() where !members.contains(peer) {
            current.peers[peer] = nil
        }
        leadership = current
    }

    /// Ends a leadership whose own removal has been committed. The commit index has been sent before, so the
    /// successor's log is not behind.
    mutating func resignIfRemoved() {
        guard let current = leadership, !configuration.isVoter(id), log.configurationIndex <= commitIndex
        else {
            return
        }
        let successor = configuration.voters.max { left, right in
            (current.peers[left]?.matchIndex ?? .zero) < (current.peers[right]?.matchIndex ?? .zero)
        }
        if let successor { send(.timeoutNow(TimeoutNow(term: term)), to: successor) }
        becomeFollower(term: term, leader: nil)
    }
}
