// Messages survive encoding, whatever the encoder: field for field, with configurations normalized.

import ClusterModel
import Foundation
import Testing

@testable import Raft

struct MessageTests {
    private static let configuration = VoterConfiguration(
        voters: [NodeID(1), NodeID(2)], learners: [NodeID(3)])

    private static let all: [Message] = [
        .preVoteRequest(
            VoteRequest(term: Term(1), lastLogIndex: LogIndex(2), lastLogTerm: Term(3), isTransfer: true)),
        .preVoteResponse(VoteResponse(term: Term(1), isGranted: true)),
        .voteRequest(
            VoteRequest(term: Term(1), lastLogIndex: LogIndex(2), lastLogTerm: Term(3), isTransfer: false)),
        .voteResponse(VoteResponse(term: Term(1), isGranted: false)),
        .appendRequest(
            AppendRequest(
                term: Term(9), previousIndex: LogIndex(4), previousTerm: Term(8),
                entries: [
                    LogEntry(term: Term(9), index: LogIndex(5), payload: .noop),
                    LogEntry(term: Term(9), index: LogIndex(6), payload: .command([0, 255])),
                    LogEntry(term: Term(9), index: LogIndex(7), payload: .configuration(configuration)),
                ], commitIndex: LogIndex(3), readRound: 12)),
        .appendResponse(AppendResponse(term: Term(1), outcome: .matched(LogIndex(7)), readRound: 1)),
        .appendResponse(
            AppendResponse(
                term: Term(1),
                outcome: .conflict(rejected: LogIndex(7), hintIndex: LogIndex(5), hintTerm: Term(1)),
                readRound: 1)),
        .appendResponse(AppendResponse(term: Term(1), outcome: .installingSnapshot, readRound: 1)),
        .appendResponse(AppendResponse(term: Term(1), outcome: .staleTerm, readRound: 1)),
        .snapshotRequest(
            SnapshotRequest(
                term: Term(1),
                metadata: SnapshotMetadata(
                    lastIndex: LogIndex(5), lastTerm: Term(1), configuration: configuration))),
        .snapshotResponse(SnapshotResponse(term: Term(1), matchIndex: LogIndex(5))),
        .timeoutNow(TimeoutNow(term: Term(1))),
    ]

    @Test(arguments: all)
    func everyMessageSurvivesEncoding(_ message: Message) throws {
        let data = try JSONEncoder().encode(message)
        #expect(try JSONDecoder().decode(Message.self, from: data) == message)
    }

    @Test func aDecodedConfigurationIsNormalized() throws {
        let sloppy = Data(#"{"voters":[2,1],"learners":[1]}"#.utf8)
        let decoded = try JSONDecoder().decode(VoterConfiguration.self, from: sloppy)
        #expect(decoded == VoterConfiguration(voters: [NodeID(1), NodeID(2)]))
    }
}
