// Watches a whole cluster from outside, as no node can, and checks Raft's guarantees (Raft figure 3) after
// every step: election safety, leader completeness, state machine safety, log matching; and what the paper
// takes for granted: nothing is promised before it is durable, terms and commit indexes never go back, reads
// see what was committed before they were asked.

import ClusterModel

@testable import Raft

/// Collects violations of Raft's guarantees.
struct SafetyMonitor {
    private(set) var violations: [String] = []
    /// Everything that any node ever took for committed.
    private(set) var committed: [LogIndex: LogEntry] = [:]
    /// In which term each was. A leader that is elected late, in an earlier term, need not have it.
    private var committedIn: [LogIndex: Term] = [:]
    private(set) var highestCommitted = LogIndex.zero
    private(set) var leaders: [Term: NodeID] = [:]
    private var votes: [VoteCast: NodeID] = [:]
    private var readFloors: [UInt64: LogIndex] = [:]
    private var lastCommit: [NodeID: LogIndex] = [:]
    private var lastTerm: [NodeID: Term] = [:]
    private(set) var answeredReads = 0

    private struct VoteCast: Hashable {
        var term: Term
        var voter: NodeID
    }

    mutating func violation(_ text: String) { violations.append(text) }

    mutating func nodeRestarted(_ node: NodeID) {
        lastCommit[node] = nil
        lastTerm[node] = nil
    }

    /// After a step of the node.
    mutating func check(_ node: Consensus) {
        if let last = lastTerm[node.id], node.term < last {
            violation("\(node.id): term fell to \(node.term)")
        }
        lastTerm[node.id] = node.term
        let before = lastCommit[node.id] ?? .zero
        if node.commitIndex < before { violation("\(node.id): commit fell to \(node.commitIndex)") }
        if node.commitIndex > node.lastIndex { violation("\(node.id): commit beyond log") }
        if before < node.commitIndex { noteCommitted(node, after: before) }
        lastCommit[node.id] = node.commitIndex
        guard node.isLeader, leaders[node.term] != node.id else { return }
        if let other = leaders[node.term] {
            violation("term \(node.term) has leaders \(other) and \(node.id)")
        }
        leaders[node.term] = node.id
        for (index, entry) in committed where index > node.log.baseIndex && node.entry(at: index) != entry {
            if let commitTerm = committedIn[index], commitTerm >= node.term { continue }
            violation("leader \(node.id) of term \(node.term) lacks committed entry \(index)")
        }
    }

    private mutating func noteCommitted(_ node: Consensus, after: LogIndex) {
        let start = max(after, node.log.baseIndex)
        for entry in node.log.range(after: start, through: node.commitIndex) {
            if let known = committed[entry.index], known != entry {
                violation("\(node.id) commits another entry at \(entry.index)")
            }
            committed[entry.index] = entry
            committedIn[entry.index] = min(committedIn[entry.index] ?? node.term, node.term)
        }
        highestCommitted = max(highestCommitted, node.commitIndex)
    }

    /// When a message leaves a node.
    mutating func check(_ message: Message, from sender: NodeID, to receiver: NodeID, disk: SimulatedDisk) {
        switch message {
        case .preVoteRequest: return
        case .preVoteResponse(let response) where response.isGranted: return
        case .voteRequest(let request):
            if disk.hardState.votedFor != sender { violation("\(sender): campaigns without a durable vote") }
            noteVote(request.term, from: sender, for: sender)
        case .voteResponse(let response) where response.isGranted:
            if disk.hardState.votedFor != receiver || disk.hardState.term != response.term {
                violation("\(sender): grants a vote that isn't durable")
            }
            noteVote(response.term, from: sender, for: receiver)
        case .appendResponse(let response):
            if case .matched(let index) = response.outcome, index > disk.lastIndex {
                violation("\(sender): acknowledges \(index), durable are \(disk.lastIndex)")
            }
        default: break
        }
        if message.term > disk.hardState.term { violation("\(sender): speaks in a term that isn't durable") }
    }

    private mutating func noteVote(_ term: Term, from voter: NodeID, for candidate: NodeID) {
        let cast = VoteCast(term: term, voter: voter)
        if let other = votes[cast], other != candidate { violation("\(voter) votes twice in term \(term)") }
        votes[cast] = candidate
    }

    mutating func readRequested(_ token: UInt64) { readFloors[token] = highestCommitted }

    mutating func readAnswered(_ token: UInt64, _ outcome: ReadOutcome) {
        guard let floor = readFloors.removeValue(forKey: token) else {
            return violation("read \(token) answered twice")
        }
        guard case .ready(let index) = outcome else { return }
        answeredReads += 1
        if index < floor { violation("stale read \(token): \(index), committed were \(floor)") }
    }

    /// Log matching: where two logs hold the same index and term, they are equal up to there.
    mutating func checkLogMatching(_ nodes: [Consensus]) {
        for (position, left) in nodes.enumerated() {
            for right in nodes[(position + 1)...] {
                var index = min(left.lastIndex, right.lastIndex)
                let floor = max(left.log.baseIndex, right.log.baseIndex)
                while index > floor, left.term(at: index) != right.term(at: index) { index = index.previous }
                guard index > floor else { continue }
                if left.log.range(after: floor, through: index)
                    != right.log.range(after: floor, through: index)
                {
                    violation("logs of \(left.id) and \(right.id) differ below \(index)")
                }
            }
        }
    }
}
