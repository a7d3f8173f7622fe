// The leader's half of log replication (Raft §5.3, §5.4.2). Entries go to followers while the leader's own
// disk still writes them; the leader counts itself like any other voter, by what is durable. Only an entry of
// the leader's own term is committed by counting; earlier ones are committed with it. That is why a new
// leader begins with a no-op (Raft §8).

import ClusterModel

extension Consensus {
    mutating func becomeLeader() {
        let next = log.lastIndex.next
        var peers: [NodeID: Progress] = [:]
        for peer in configuration.members where peer != id { peers[peer] = Progress(nextIndex: next) }
        var current = Leadership(peers: peers)
        for entry in log.range(after: commitIndex, through: log.lastIndex) {
            current.uncommittedBytes += Self.commandBytes(entry)
        }
        role = .leader(current)
        appendAsLeader(.noop)
    }

    // MARK: Proposals

    mutating func propose(_ command: [UInt8], token: UInt64) {
        if let refusal = refusalOfCommand(ofBytes: command.count) {
            output.proposals.append((token, .rejected(refusal)))
            return
        }
        let index = log.lastIndex.next
        output.proposals.append((token, .appended(index: index, term: term)))
        appendAsLeader(.command(command))
    }

    private func refusalOfCommand(ofBytes count: Int) -> ProposalRejection? {
        guard case .leader(let current) = role else { return .notLeader(leader: leader) }
        guard count <= settings.maxCommandBytes else {
            return .commandTooLarge(limit: settings.maxCommandBytes)
        }
        guard current.transfer == nil, configuration.isVoter(id) else { return .transferInProgress }
        let isRoom =
            current.uncommittedBytes == 0 || current.uncommittedBytes + count <= settings.maxUncommittedBytes
        return isRoom ? nil : .tooManyUncommitted
    }

    private static func commandBytes(_ entry: LogEntry) -> Int {
        guard case .command(let bytes) = entry.payload else { return 0 }
        return bytes.count
    }

    /// Appends an entry of this term and sends it on its way.
    mutating func appendAsLeader(_ payload: Payload) {
        let entry = LogEntry(term: term, index: log.lastIndex.next, payload: payload)
        log.append(CollectionOfOne(entry))
        leadership?.uncommittedBytes += Self.commandBytes(entry)
        if case .configuration = payload { configurationChanged() }
        broadcast()
        advanceCommit()
    }

    // MARK: Sending

    /// Sends every follower what it lacks and can take: entries, or at least the new commit index.
    mutating func broadcast() {
        for peer in configuration.members where peer != id { replicate(to: peer) }
    }

    /// Fills the follower's pipeline.
    mutating func replicate(to peer: NodeID) {
        while let progress = leadership?.peers[peer],
            progress.maySend(maxInflight: settings.maxInflightAppends),
            progress.nextIndex <= log.lastIndex || progress.sentCommit < min(commitIndex, progress.matchIndex)
        {
            guard sendAppend(to: peer) else { return }
        }
    }

    /// Sends one request from the follower's next entry on, with no entries when there are none. Returns
    /// whether it could; otherwise the follower needs a snapshot.
    @discardableResult
    private mutating func sendAppend(to peer: NodeID) -> Bool {
        guard var progress = leadership?.peers[peer] else { return false }
        let previous = progress.nextIndex.previous
        guard let previousTerm = log.term(at: previous) else {
            beginSnapshot(to: peer)
            return false
        }
        let entries = log.slice(
            from: progress.nextIndex, maxEntries: settings.maxEntriesPerAppend,
            maxBytes: settings.maxBytesPerAppend)
        progress.sent(through: entries.last?.index)
        progress.sentCommit = commitIndex
        leadership?.peers[peer] = progress
        sendAppend(after: previous, previousTerm, entries, to: peer)
        return true
    }

    private mutating func sendAppend(
        after previous: LogIndex, _ previousTerm: Term, _ entries: [LogEntry], to peer: NodeID
    ) {
        let request = AppendRequest(
            term: term, previousIndex: previous, previousTerm: previousTerm, entries: entries,
            commitIndex: commitIndex, readRound: leadership?.reads.round ?? 0)
        send(.appendRequest(request), to: peer)
    }

    /// Sends every follower a request without entries. It asserts leadership, carries commit index and read
    /// round, and by its position also finds out whether anything that was sent before has been lost.
    mutating func heartbeat() {
        if leadership?.reads.waiting.isEmpty == false { openReadRound() }
        for peer in configuration.members where peer != id {
            guard let progress = leadership?.peers[peer] else { continue }
            let previous = progress.nextIndex.previous
            if case .snapshot = progress.state {
                sendAppend(after: .zero, .zero, [], to: peer)
            } else if let previousTerm = log.term(at: previous) {
                sendAppend(after: previous, previousTerm, [], to: peer)
            } else if progress.silentTicks < settings.electionTicks {
                beginSnapshot(to: peer)
                sendAppend(after: .zero, .zero, [], to: peer)
            } else {
                // A follower that is away gets no snapshot before it answers.
                sendAppend(after: .zero, .zero, [], to: peer)
            }
        }
    }

    // MARK: Answers

    mutating func handle(_ response: AppendResponse, from peer: NodeID) {
        guard var progress = leadership?.peers[peer] else { return }
        progress.silentTicks = 0
        progress.readRound = max(progress.readRound, response.readRound)
        var isNews = false
        switch response.outcome {
        case .matched(let index) where index <= log.lastIndex: isNews = progress.matched(index)
        case .conflict(let rejected, let hintIndex, let hintTerm) where rejected <= log.lastIndex:
            let hint = log.meetingPoint(atOrBefore: hintIndex, term: hintTerm).index
            _ = progress.rejected(at: rejected, hint: hint)
        case .lost(let index): progress.lost(after: min(index, log.lastIndex))
        case .installingSnapshot: progress.stillInstalling()
        case .matched, .conflict, .staleTerm: break
        }
        leadership?.peers[peer] = progress
        if isNews { advanceCommit() }
        replicate(to: peer)
        finishTransfer(to: peer)
        confirmReads()
    }

    // MARK: Committing

    /// Commits what a majority holds durably, if it is of this term (Raft §5.4.2).
    mutating func advanceCommit() {
        guard case .leader(let current) = role else { return }
        let durable = log.durableIndex
        let reached = Quorum.reached(by: configuration.voters) { voter in
            voter == id ? durable : current.peers[voter]?.matchIndex ?? .zero
        }
        guard let reached, reached > commitIndex, log.term(at: reached) == term else { return }
        for entry in log.range(after: commitIndex, through: reached) {
            leadership?.uncommittedBytes -= Self.commandBytes(entry)
        }
        commitIndex = reached
        broadcast()
        resignIfRemoved()
        startReads()
    }
}
