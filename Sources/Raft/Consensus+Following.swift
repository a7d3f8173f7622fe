// The follower's half of log replication (Raft §5.3, figure 2 "AppendEntries RPC"). The follower cuts its log
// only where an entry really conflicts: a late request that repeats a prefix must not remove what came after.
// What it acknowledges is durable; the acknowledgement waits for the write.

import ClusterModel

extension Consensus {
    mutating func takeEntries(_ request: AppendRequest, from sender: NodeID) {
        guard follow(sender), Self.isWellFormed(request) else { return }
        // Heartbeats are still answered, which keeps the leader from sending at full speed.
        if isImpeded, !request.entries.isEmpty { return }
        let outcome: AppendResponse.Outcome =
            pendingInstall == nil ? append(request) : .installingSnapshot
        let response = AppendResponse(term: term, outcome: outcome, readRound: request.readRound)
        sendDurably(.appendResponse(response), to: sender)
    }

    /// Accepts the sender as this term's leader. Refuses only what can't be: a second leader in one term.
    mutating func follow(_ sender: NodeID) -> Bool {
        guard !isLeader, leader == nil || leader == sender else { return false }
        becomeFollower(term: term, leader: sender)
        return true
    }

    private static func isWellFormed(_ request: AppendRequest) -> Bool {
        var index = request.previousIndex
        var term = request.previousTerm
        for entry in request.entries {
            guard entry.index == index.next, entry.term >= term, entry.term <= request.term else {
                return false
            }
            index = entry.index
            term = entry.term
        }
        return true
    }

    private mutating func append(_ request: AppendRequest) -> AppendResponse.Outcome {
        // Committed entries are the same everywhere; a request that starts among them is trimmed to the rest.
        let trimmed = min(request.previousIndex.distance(to: commitIndex), request.entries.count)
        let entries = request.entries.dropFirst(trimmed)
        if request.previousIndex < commitIndex {
            guard !entries.isEmpty else { return .matched(commitIndex) }
        } else if isUnderRepair, request.previousIndex > log.lastIndex {
            return .lost(after: log.lastIndex)
        } else if log.term(at: request.previousIndex) != request.previousTerm {
            let hint = log.meetingPoint(
                atOrBefore: request.previousIndex, term: request.previousTerm)
            return .conflict(
                rejected: request.previousIndex, hintIndex: hint.index, hintTerm: hint.term)
        }
        let known = entries.prefix { log.term(at: $0.index) == $0.term }
        let fresh = entries.dropFirst(known.count)
        if let first = fresh.first {
            if first.index <= log.lastIndex { log.truncate(from: first.index) }
            log.append(fresh)
        }
        let matched = request.previousIndex.advanced(by: request.entries.count)
        commitIndex = max(commitIndex, min(request.commitIndex, matched))
        return .matched(matched)
    }
}
