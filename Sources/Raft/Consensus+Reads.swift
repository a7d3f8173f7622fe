// Linearizable reads without log entries (ReadIndex, dissertation §6.4). The leader notes its commit index,
// makes sure with a round of heartbeats that it still led after the request came, and only then lets the read
// run. Before it has committed an entry of its own term its commit index may be behind its predecessor's
// (etcd-io/etcd#7331), so reads wait for that. A round is numbered within the term and answers count only in
// it: an answer to an earlier leadership can't confirm this one (compare etcd-io/etcd#20418).

import ClusterModel

/// Reads between request and confirmation. One round is under way at a time; reads that come meanwhile share
/// the next one.
struct ReadQueue: Hashable, Sendable {
    /// The latest round started.
    var round: UInt64 = 0
    /// Reads that no round covers yet.
    var waiting: [UInt64] = []
    /// Reads that a round covers, in order of rounds.
    var confirming: [Confirming] = []

    struct Confirming: Hashable, Sendable {
        var token: UInt64
        var round: UInt64
        var index: LogIndex
    }

    var count: Int { waiting.count + confirming.count }
}

extension Consensus {
    mutating func requestRead(_ token: UInt64) {
        guard case .leader(let current) = role else {
            output.reads.append((token, .notLeader(leader: leader)))
            return
        }
        guard current.reads.count < settings.maxPendingReads else {
            output.reads.append((token, .tooManyPending))
            return
        }
        leadership?.reads.waiting.append(token)
        startReads()
    }

    /// Starts a round for the waiting reads unless one is under way.
    mutating func startReads() {
        guard let reads = leadership?.reads, !reads.waiting.isEmpty, reads.confirming.isEmpty,
            hasCommittedInTerm
        else { return }
        heartbeat()
        confirmReads()
    }

    /// Whether this leader's commit index is at least its predecessors'.
    var hasCommittedInTerm: Bool { log.term(at: commitIndex) == term }

    /// Puts the waiting reads into a new round; the heartbeats that follow carry it.
    mutating func openReadRound() {
        guard hasCommittedInTerm, var reads = leadership?.reads else { return }
        reads.round += 1
        for token in reads.waiting {
            reads.confirming.append(
                ReadQueue.Confirming(token: token, round: reads.round, index: commitIndex))
        }
        reads.waiting = []
        leadership?.reads = reads
    }

    /// Lets those reads run whose round a majority has answered.
    mutating func confirmReads() {
        guard case .leader(let current) = role, !current.reads.confirming.isEmpty else { return }
        let reached = Quorum.reached(by: configuration.voters) { voter in
            voter == id ? current.reads.round : current.peers[voter]?.readRound ?? 0
        }
        guard let reached else { return }
        let done = current.reads.confirming.prefix { $0.round <= reached }
        guard !done.isEmpty else { return }
        for read in done { output.reads.append((read.token, .ready(read.index))) }
        leadership?.reads.confirming.removeFirst(done.count)
        startReads()
    }

    /// Answers all reads of a leadership that ends.
    mutating func failReads(leader newLeader: NodeID?) {
        guard let reads = leadership?.reads else { return }
        for token in reads.confirming.map(\.token) + reads.waiting {
            output.reads.append((token, .notLeader(leader: newLeader)))
        }
    }
}
