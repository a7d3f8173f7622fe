import ClusterModel
import Raft

// Handing leadership over on purpose (Ongaro's dissertation §3.10): before a node is stopped, or because an
// operator wants another one to lead. The leader that is asked cannot see the end of it: whoever passed the
// request on learns of a new leader and decides.

/// A transfer that this leader has begun.
struct LeadershipTransfer: Sendable {
    var target: NodeID
    var ticket: Ticket
}

extension Node {
    mutating func transferLeadership(to wanted: NodeID?, for ticket: Ticket) {
        if wanted == settings.id { return answer(ticket, .done) }
        if let wanted, !raft.configuration.isVoter(wanted) {
            return answer(ticket, .refused(.nodeUnknown(wanted)))
        }
        guard let target = wanted ?? bestSuccessor else {
            return answer(ticket, .refused(.transferFailed(to: nil, reason: "no other voter can be reached")))
        }
        guard linkedPeers.contains(target) else {
            return answer(
                ticket, .refused(.transferFailed(to: target, reason: "there is no link to it")))
        }
        guard steward != nil, steward?.transfer == nil else {
            return answer(
                ticket, .refused(.transferFailed(to: target, reason: "another transfer is under way")))
        }
        steward?.transfer = LeadershipTransfer(target: target, ticket: ticket)
        stepRaft(.transferRequested(to: target))
    }

    /// The voter whose log is the most complete among those that can be reached.
    private var bestSuccessor: NodeID? {
        raft.peers.filter { $0.isVoter && linkedPeers.contains($0.id) && $0.flow == .replicate }
            .max { ($0.matchIndex, $1.id) < ($1.matchIndex, $0.id) }?.id
    }

    /// Consensus gives a transfer up that brings no new leader within an election timeout.
    mutating func checkTransfer() {
        guard let transfer = steward?.transfer, raft.transferTarget != transfer.target else { return }
        steward?.transfer = nil
        answer(
            transfer.ticket,
            .refused(.transferFailed(to: transfer.target, reason: "it did not take over in time")))
    }
}
