// Elections (Raft §5.2, §5.4.1) with PreVote and leases (dissertation §4.2.3, §9.6). A node first asks
// whether it could win; only then does it raise its term. Whoever has heard a leader within the shortest
// election timeout refuses to take part, so a node that merely lost its own link can't unseat a working
// leader. The leader's mirror of that lease is CheckQuorum: it resigns when it has not heard a majority for
// as long.

import ClusterModel

extension Consensus {
    // MARK: Time

    mutating func tick() {
        guard !isLeader else { return tickLeader() }
        electionElapsed += 1
        let isAlone = configuration.voters == [id]
        guard isElectable, electionElapsed >= electionTimeout || isAlone else { return }
        if case .candidate = role, isAlone { return }  // only its own disk is being waited for
        preCampaign()
    }

    private mutating func tickLeader() {
        guard var current = leadership else { return }
        for peer in current.peers.keys.sorted() {
            current.peers[peer]?.tick(patience: settings.electionTicks)
        }
        if let elapsed = current.transfer?.elapsedTicks {
            current.transfer?.elapsedTicks = elapsed + 1
            if elapsed + 1 >= settings.electionTicks { current.transfer = nil }
        }
        current.heartbeatElapsed += 1
        let isHeartbeatDue = current.heartbeatElapsed >= settings.heartbeatTicks
        if isHeartbeatDue { current.heartbeatElapsed = 0 }
        leadership = current

        let hearsQuorum = Quorum.holds(among: configuration.voters) { voter in
            voter == id || (current.peers[voter]?.silentTicks ?? .max) < settings.electionTicks
        }
        guard hearsQuorum else { return becomeFollower(term: term, leader: nil) }
        if isHeartbeatDue { heartbeat() }
    }

    /// Whether the node may campaign. One that a change removes still may until it knows the change to be
    /// committed, since only it may hold the entry that the others need (dissertation §4.2.2). One that is
    /// replacing its log by a snapshot must not lead with the old, one that lacks what it acknowledged not at all.
    var isElectable: Bool {
        let isNeeded = log.configurationIndex > commitIndex && log.previousConfiguration.isVoter(id)
        return (configuration.isVoter(id) || isNeeded) && pendingInstall == nil && lostEnd == nil
            && rejoin == nil && !isImpeded
    }

    /// Whether a leader was heard so recently that nobody else should be helped to replace it.
    private var isLeaseHeld: Bool {
        isLeader || (leader != nil && electionElapsed < settings.electionTicks)
    }

    mutating func resetElectionTimer() {
        electionElapsed = 0
        electionTimeout =
            settings.electionTicks + Int.random(in: 0..<settings.electionTicks, using: &generator)
    }

    // MARK: Changing roles

    /// Follows, in the given term. Keeps the timer of a lost campaign running, so that seeing a higher term
    /// does not postpone the next attempt.
    mutating func becomeFollower(term newTerm: Term, leader newLeader: NodeID?) {
        precondition(newTerm >= term, "terms never decrease")
        if newTerm > term {
            term = newTerm
            votedFor = nil
        }
        if isLeader || newLeader != nil { resetElectionTimer() }
        failReads(leader: newLeader)
        role = .follower(leader: newLeader)
    }

    private mutating func preCampaign() {
        resetElectionTimer()
        role = .preCandidate(Ballot())
        let request = voteRequest(term: term.next, isTransfer: false)
        for voter in configuration.voters where voter != id { send(.preVoteRequest(request), to: voter) }
        recordVote(true, from: id)
    }

    /// Raises the term and asks for votes, once term and own vote are durable (Raft §5.2).
    mutating func campaign(isTransfer: Bool) {
        resetElectionTimer()
        term = term.next
        votedFor = id
        var ballot = Ballot()
        ballot.ownVote = nextToken
        role = .candidate(ballot)
        let request = voteRequest(term: term, isTransfer: isTransfer)
        for voter in configuration.voters where voter != id { sendDurably(.voteRequest(request), to: voter) }
    }

    private func voteRequest(term: Term, isTransfer: Bool) -> VoteRequest {
        VoteRequest(
            term: term, lastLogIndex: log.lastIndex, lastLogTerm: log.lastTerm, isTransfer: isTransfer)
    }

    /// Counts a vote of the present campaign and acts on the outcome.
    mutating func recordVote(_ isGranted: Bool, from voter: NodeID) {
        switch role {
        case .preCandidate(var ballot):
            ballot.record(isGranted, from: voter)
            role = .preCandidate(ballot)
            switch tally(ballot) {
            case .won: campaign(isTransfer: false)
            case .lost: becomeFollower(term: term, leader: nil)
            case .open: break
            }
        case .candidate(var ballot):
            ballot.record(isGranted, from: voter)
            role = .candidate(ballot)
            switch tally(ballot) {
            case .won: becomeLeader()
            case .lost: becomeFollower(term: term, leader: nil)
            case .open: break
            }
        case .follower, .leader: break
        }
    }

    private func tally(_ ballot: Ballot) -> Quorum.Tally {
        Quorum.tally(voters: configuration.voters, granted: ballot.granted, refused: ballot.refused)
    }

    // MARK: Messages

    /// Sorts a message by its term (Raft §5.1), then hands it to its handler. Requests are honoured even from
    /// nodes outside our configuration, which may be older than the sender's (dissertation §4.1); responses
    /// are not.
    mutating func receive(_ message: Message, from sender: NodeID) {
        guard sender != id, message.isPlausible, rejoin != .demotion else { return }
        switch message {
        case .preVoteRequest(let request): return answerPreVote(request, from: sender)
        case .preVoteResponse(let response) where response.isGranted:
            guard case .preCandidate = role, response.term == term.next else { return }
            return recordVote(true, from: sender)
        case .voteRequest(let request):
            if !request.isTransfer, isLeaseHeld, sender != leader { return }
        case .preVoteResponse, .voteResponse, .appendResponse, .snapshotResponse:
            guard configuration.isMember(sender) else { return }
        case .appendRequest, .snapshotRequest, .timeoutNow: break
        }
        if message.term < term { return answerStale(message, from: sender) }
        if message.term > term {
            becomeFollower(term: message.term, leader: nil)
        }
        switch message {
        case .preVoteRequest: break
        case .preVoteResponse: if case .preCandidate = role { recordVote(false, from: sender) }
        case .voteRequest(let request): answerVote(request, from: sender)
        case .voteResponse(let response):
            if case .candidate = role { recordVote(response.isGranted, from: sender) }
        case .appendRequest(let request): takeEntries(request, from: sender)
        case .appendResponse(let response): handle(response, from: sender)
        case .snapshotRequest(let request): takeSnapshot(request, from: sender)
        case .snapshotResponse(let response): handle(response, from: sender)
        case .timeoutNow: timeoutNow(from: sender)
        }
    }

    /// Tells a sender that lives in the past about the present, when it would otherwise go on.
    private mutating func answerStale(_ message: Message, from sender: NodeID) {
        switch message {
        case .voteRequest:
            sendDurably(.voteResponse(VoteResponse(term: term, isGranted: false)), to: sender)
        case .appendRequest(let request):
            let response = AppendResponse(term: term, outcome: .staleTerm, readRound: request.readRound)
            sendDurably(.appendResponse(response), to: sender)
        case .snapshotRequest:
            let response = AppendResponse(term: term, outcome: .staleTerm, readRound: 0)
            sendDurably(.appendResponse(response), to: sender)
        default: break
        }
    }

    /// Says whether the sender could have our vote; changes nothing. The leader itself may ask although we
    /// still protect it: it has resigned and we only don't know yet.
    private mutating func answerPreVote(_ request: VoteRequest, from sender: NodeID) {
        guard rejoin == nil, !isLeaseHeld || (sender == leader && !isLeader) else { return }
        let isFree = request.term > term || (request.term == term && mayVote(for: sender))
        let isGranted =
            isFree && isUpToDate(request)
        let response = VoteResponse(term: isGranted ? request.term : term, isGranted: isGranted)
        sendDurably(.preVoteResponse(response), to: sender)
    }

    /// One vote a term, for whoever's log is at least as up to date (Raft §5.2, §5.4.1).
    private mutating func answerVote(_ request: VoteRequest, from sender: NodeID) {
        guard rejoin == nil else { return }
        let isGranted = mayVote(for: sender) && isUpToDate(request)
        if isGranted {
            votedFor = sender
            resetElectionTimer()
        }
        sendDurably(.voteResponse(VoteResponse(term: term, isGranted: isGranted)), to: sender)
    }

    private func mayVote(for candidate: NodeID) -> Bool {
        votedFor == candidate || (votedFor == nil && leader == nil)
    }
}
