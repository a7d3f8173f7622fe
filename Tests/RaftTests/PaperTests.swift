// What the Raft paper (extended version) and Ongaro's dissertation demand, section by section. Longer stories
// are told by the transcripts in Scenarios.

import ClusterModel
import Testing

@testable import Raft

/// One machine alone, to be given events by hand.
private struct Solo {
    var consensus: Consensus
    var effects = Consensus.Effects()

    init(entries terms: [UInt64] = [], term: UInt64? = nil, vote: UInt64? = nil, voters: UInt64 = 3) {
        let entries = terms.enumerated().map { position, term in
            LogEntry(
                term: Term(term), index: LogIndex(UInt64(position + 1)), payload: .command([UInt8(position)]))
        }
        let hardState = HardState(term: Term(term ?? terms.last ?? 0), votedFor: vote.map { NodeID($0) })
        consensus = Consensus(
            id: NodeID(1),
            recovered: RecoveredState(
                hardState: hardState, entries: entries,
                initialConfiguration: VoterConfiguration(voters: (1...voters).map { NodeID($0) })),
            seed: 42)
    }

    mutating func step(_ event: Consensus.Event) {
        effects = Consensus.Effects()
        consensus.step(event, into: &effects)
    }

    mutating func receive(_ message: Message, from sender: UInt64 = 2) {
        step(.received(message, from: NodeID(sender)))
    }

    /// Everything that leaves at once or after the write, with the write confirmed.
    mutating func answers() -> [Message] {
        var result = effects.send.map(\.message)
        for batch in effects.persist {
            result += batch.thenSend.map(\.message)
            step(.persisted(through: batch.token))
        }
        return result
    }

    mutating func lead() {
        while consensus.role.kind == .follower { step(.tick) }
        receive(.preVoteResponse(VoteResponse(term: consensus.term.next, isGranted: true)))
        _ = answers()
        receive(.voteResponse(VoteResponse(term: consensus.term, isGranted: true)))
    }
}

private func append(
    term: UInt64, after previous: (index: UInt64, term: UInt64), _ terms: [UInt64] = [], commit: UInt64 = 0
) -> Message {
    let entries = terms.enumerated().map { position, term in
        LogEntry(
            term: Term(term), index: LogIndex(previous.index + UInt64(position) + 1),
            payload: .command([UInt8(position)]))
    }
    return .appendRequest(
        AppendRequest(
            term: Term(term), previousIndex: LogIndex(previous.index), previousTerm: Term(previous.term),
            entries: entries, commitIndex: LogIndex(commit), readRound: 0))
}

private func vote(term: UInt64, lastIndex: UInt64 = 0, lastTerm: UInt64 = 0) -> Message {
    .voteRequest(
        VoteRequest(
            term: Term(term), lastLogIndex: LogIndex(lastIndex), lastLogTerm: Term(lastTerm),
            isTransfer: false))
}

struct TermTests {
    // Raft §5.1

    @Test(arguments: [Role.Kind.follower, .preCandidate, .candidate, .leader])
    func everyRoleFollowsAHigherTerm(_ kind: Role.Kind) {
        var solo = Solo()
        if kind == .leader {
            solo.lead()
        } else if kind != .follower {
            while solo.consensus.role.kind == .follower { solo.step(.tick) }
            if kind == .candidate {
                solo.receive(.preVoteResponse(VoteResponse(term: Term(1), isGranted: true)))
            }
        }
        #expect(solo.consensus.role.kind == kind)
        solo.receive(append(term: 9, after: (0, 0)))
        #expect(solo.consensus.term == Term(9))
        #expect(solo.consensus.role == .follower(leader: NodeID(2)))
    }

    @Test func aStaleRequestIsRefusedWithThePresentTerm() {
        var solo = Solo(term: 5)
        solo.receive(append(term: 4, after: (0, 0), [4]))
        let refusal = AppendResponse(term: Term(5), outcome: .staleTerm, readRound: 0)
        #expect(solo.answers() == [.appendResponse(refusal)])
        #expect(solo.consensus.lastIndex == .zero)
        solo.receive(vote(term: 4))
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(5), isGranted: false))])
    }

    @Test func absurdNumbersAreIgnored() {
        var solo = Solo(entries: [1])
        solo.receive(append(term: .max, after: (0, 0)))
        solo.receive(append(term: 2, after: (.max / 2, 1), [2]))
        solo.receive(vote(term: .max - 1))
        #expect(solo.effects.isEmpty)
        #expect(solo.consensus.term == Term(1))
    }

    @Test func malformedEntriesAreIgnored() {
        // An entry from the future of its leader, and one that leaves a gap.
        var solo = Solo(entries: [1])
        solo.receive(append(term: 2, after: (1, 1), [3]))
        #expect(solo.consensus.lastIndex == LogIndex(1))
        let gap = LogEntry(term: Term(2), index: LogIndex(7), payload: .noop)
        solo.receive(
            .appendRequest(
                AppendRequest(
                    term: Term(2), previousIndex: LogIndex(1), previousTerm: Term(1), entries: [gap],
                    commitIndex: .zero, readRound: 0)))
        #expect(solo.consensus.lastIndex == LogIndex(1))
    }
}

struct ElectionTests {
    // Raft §5.2, §5.4.1; dissertation §9.6

    @Test func timeoutsAreDrawnUniformlyFromTheRange() {
        var seen: [Int: Int] = [:]
        for seed in 0..<2000 {
            let consensus = Consensus(
                id: NodeID(1),
                recovered: RecoveredState(
                    initialConfiguration: VoterConfiguration(voters: [NodeID(1), NodeID(2)])),
                seed: UInt64(seed))
            seen[consensus.electionTimeout, default: 0] += 1
        }
        #expect(seen.keys.sorted() == Array(10..<20))
        #expect(seen.values.allSatisfy { (120...280).contains($0) })
    }

    @Test func termAndVoteAreDurableBeforeTheVoteIsAskedFor() {
        var solo = Solo()
        while solo.consensus.role.kind == .follower { solo.step(.tick) }
        solo.receive(.preVoteResponse(VoteResponse(term: Term(1), isGranted: true)))
        #expect(solo.effects.send.isEmpty)
        #expect(solo.effects.persist.first?.hardState == HardState(term: Term(1), votedFor: NodeID(1)))
        #expect(solo.effects.persist.first?.thenSend.count == 2)
    }

    @Test func theOwnVoteCountsOnlyWhenItIsDurable() {
        var solo = Solo()
        while solo.consensus.role.kind == .follower { solo.step(.tick) }
        solo.receive(.preVoteResponse(VoteResponse(term: Term(1), isGranted: true)))
        let token = solo.effects.persist[0].token
        solo.receive(.voteResponse(VoteResponse(term: Term(1), isGranted: true)))
        #expect(solo.consensus.role.kind == .candidate)
        solo.step(.persisted(through: token))
        #expect(solo.consensus.isLeader)
    }

    @Test func oneVoteATerm() {
        var solo = Solo()
        solo.receive(vote(term: 1), from: 2)
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(1), isGranted: true))])
        solo.receive(vote(term: 1), from: 3)
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(1), isGranted: false))])
        solo.receive(vote(term: 1), from: 2)
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(1), isGranted: true))])
    }

    @Test func aVoteOutlivesARestart() {
        var solo = Solo(term: 3, vote: 2)
        solo.receive(vote(term: 3), from: 3)
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(3), isGranted: false))])
    }

    @Test(
        arguments: [
            // Last entry's index and term of the candidate; whether a voter with three entries of terms 1, 2,
            // 2 votes for it.
            (3, 2, true), (4, 2, true), (1, 3, true), (2, 2, false), (9, 1, false), (0, 0, false),
        ] as [(UInt64, UInt64, Bool)])
    func onlyAnUpToDateLogGetsTheVote(_ lastIndex: UInt64, _ lastTerm: UInt64, _ isGranted: Bool) {
        var solo = Solo(entries: [1, 2, 2])
        solo.receive(vote(term: 5, lastIndex: lastIndex, lastTerm: lastTerm))
        #expect(solo.answers() == [.voteResponse(VoteResponse(term: Term(5), isGranted: isGranted))])
    }

    @Test func aFollowerThatHearsALeaderIgnoresCandidates() {
        var solo = Solo()
        solo.receive(append(term: 1, after: (0, 0)))
        solo.receive(vote(term: 2), from: 3)
        #expect(solo.effects.isEmpty)
        #expect(solo.consensus.term == Term(1))
    }

    @Test func aPreVoteChangesNothing() {
        var solo = Solo(term: 1)
        let request = VoteRequest(term: Term(7), lastLogIndex: .zero, lastLogTerm: .zero, isTransfer: false)
        solo.receive(.preVoteRequest(request))
        #expect(solo.answers() == [.preVoteResponse(VoteResponse(term: Term(7), isGranted: true))])
        #expect(solo.consensus.term == Term(1))
        #expect(solo.consensus.votedFor == nil)
    }

    @Test func aLostElectionLeavesTheTimerRunning() {
        var solo = Solo()
        while solo.consensus.role.kind == .follower { solo.step(.tick) }
        solo.step(.tick)
        for voter: UInt64 in [2, 3] {
            solo.receive(.preVoteResponse(VoteResponse(term: .zero, isGranted: false)), from: voter)
        }
        #expect(solo.consensus.role == .follower(leader: nil))
        #expect(solo.consensus.electionElapsed == 1)
    }

    @Test func learnersAndStrangersNeverCampaign() {
        for configuration in [
            VoterConfiguration(voters: [NodeID(2)], learners: [NodeID(1)]), VoterConfiguration(voters: []),
        ] {
            var consensus = Consensus(
                id: NodeID(1), recovered: RecoveredState(initialConfiguration: configuration), seed: 1)
            var effects = Consensus.Effects()
            for _ in 0..<200 { consensus.step(.tick, into: &effects) }
            #expect(effects.isEmpty)
        }
    }
}

struct ReplicationTests {
    // Raft §5.3, §5.4.2

    @Test func theLeaderSendsBeforeItsOwnDiskIsDone() {
        var solo = Solo()
        solo.lead()
        solo.step(.proposed([1], token: 8))
        #expect(solo.effects.persist.first?.entries.map(\.index) == [LogIndex(2)])
        #expect(solo.effects.persist.first?.thenSend == [])
        #expect(solo.effects.proposals.first?.outcome == .appended(index: LogIndex(2), term: Term(1)))
    }

    @Test func aFollowerAcknowledgesOnlyWhatIsDurable() {
        var solo = Solo()
        solo.receive(append(term: 1, after: (0, 0), [1]))
        #expect(solo.effects.send.isEmpty)
        // The same entries again, while the first write is under way: there is nothing to write, but the
        // answer has to wait all the same.
        solo.receive(append(term: 1, after: (0, 0), [1]))
        #expect(solo.effects.send.isEmpty)
        #expect(solo.effects.persist.first?.entries == [])
        #expect(solo.effects.persist.first?.thenSend.count == 1)
    }

    @Test func anEntryThatConflictsIsCutOffWithAllAfterIt() {
        var solo = Solo(entries: [1, 1, 2, 2])
        solo.receive(append(term: 3, after: (2, 1), [3]))
        #expect(solo.effects.persist.first?.truncateFrom == LogIndex(3))
        #expect(solo.effects.persist.first?.entries.map(\.term) == [Term(3)])
        #expect(solo.consensus.lastIndex == LogIndex(3))
    }

    @Test func aRequestThatRepeatsAPrefixCutsNothingOff() {
        // Raft figure 2, AppendEntries step 3: only "if an existing entry conflicts".
        var solo = Solo(entries: [1, 1, 1])
        let repeated = LogEntry(term: Term(1), index: LogIndex(1), payload: .command([0]))
        solo.receive(
            .appendRequest(
                AppendRequest(
                    term: Term(1), previousIndex: .zero, previousTerm: .zero, entries: [repeated],
                    commitIndex: LogIndex(3), readRound: 0)))
        #expect(solo.consensus.lastIndex == LogIndex(3))
        // Only what the request vouches for is taken for committed.
        #expect(solo.consensus.commitIndex == LogIndex(1))
    }

    @Test func theHintSkipsTermsThatTheLeaderCannotHave() {
        var solo = Solo(entries: [1, 1, 3, 3, 3])
        solo.receive(append(term: 5, after: (5, 2)))
        let conflict = AppendResponse.Outcome.conflict(
            rejected: LogIndex(5), hintIndex: LogIndex(2), hintTerm: Term(1))
        #expect(
            solo.answers() == [
                .appendResponse(AppendResponse(term: Term(5), outcome: conflict, readRound: 0))
            ])
    }

    @Test func twoLeadersInOneTermCannotBe() {
        var solo = Solo()
        solo.receive(append(term: 1, after: (0, 0), [1]), from: 2)
        solo.receive(append(term: 1, after: (0, 0), [1, 1]), from: 3)
        #expect(solo.consensus.leader == NodeID(2))
        #expect(solo.consensus.lastIndex == LogIndex(1))
    }

    @Test func theLeaderCommitsWhatAMajorityHolds() {
        var solo = Solo()
        solo.lead()
        _ = solo.answers()
        #expect(solo.consensus.commitIndex == .zero)
        let response = AppendResponse(term: Term(1), outcome: .matched(LogIndex(1)), readRound: 0)
        solo.receive(.appendResponse(response))
        #expect(solo.consensus.commitIndex == LogIndex(1))
        #expect(solo.effects.committed.map(\.payload) == [.noop])
    }

    @Test func answersThatClaimTooMuchAreIgnored() {
        var solo = Solo()
        solo.lead()
        _ = solo.answers()
        let response = AppendResponse(term: Term(1), outcome: .matched(LogIndex(99)), readRound: 0)
        solo.receive(.appendResponse(response))
        #expect(solo.consensus.commitIndex == .zero)
    }

    @Test func answersOfStrangersAreIgnored() {
        var solo = Solo()
        solo.lead()
        _ = solo.answers()
        for stranger: UInt64 in 4...9 {
            let response = AppendResponse(term: Term(1), outcome: .matched(LogIndex(1)), readRound: 0)
            solo.receive(.appendResponse(response), from: stranger)
            solo.receive(.voteResponse(VoteResponse(term: Term(77), isGranted: false)), from: stranger)
        }
        #expect(solo.consensus.commitIndex == .zero)
        #expect(solo.consensus.term == Term(1))
    }

    @Test func requestsInFlightAreBounded() {
        let settings = RaftSettings(maxEntriesPerAppend: 1, maxInflightAppends: 3)
        let cluster = SimulatedCluster(3, settings: settings)
        cluster.elect(NodeID(1))
        for number in 0..<20 { cluster.propose(1, "\(number)") }
        #expect(cluster.network.count { $0.to == NodeID(2) } == 3)
        cluster.stabilize()
        #expect(cluster.nodes[NodeID(2)]?.applied == LogIndex(21))
    }

    @Test func commandsThatAreTooLargeAreRefused() {
        var solo = Solo()
        solo.lead()
        let limit = solo.consensus.settings.maxCommandBytes
        solo.step(.proposed([UInt8](repeating: 0, count: limit + 1), token: 1))
        #expect(solo.effects.proposals.first?.outcome == .rejected(.commandTooLarge(limit: limit)))
        solo.step(.proposed([UInt8](repeating: 0, count: limit), token: 2))
        #expect(solo.effects.proposals.first?.outcome == .appended(index: LogIndex(2), term: Term(1)))
    }

    @Test func readsThatWaitAreBounded() {
        let cluster = SimulatedCluster(3, settings: RaftSettings(maxPendingReads: 2))
        cluster.elect(NodeID(1))
        var outcomes: [ReadOutcome] = []
        cluster.tell = { note in if case .read(_, _, let outcome) = note { outcomes.append(outcome) } }
        for token: UInt64 in 1...3 { cluster.step(NodeID(1), .readRequested(token: token)) }
        #expect(outcomes == [.tooManyPending])
        cluster.stabilize()
        #expect(outcomes == [.tooManyPending, .ready(LogIndex(1)), .ready(LogIndex(1))])
    }
}
