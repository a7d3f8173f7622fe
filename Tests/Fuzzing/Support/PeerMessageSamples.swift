import ClusterModel
import Gossip
import KeyCatalog
import Raft

@testable import NodeCore

// One message of every kind and case.

enum PeerMessageSamples {
    static let all: [(name: String, message: PeerMessage)] =
        raft.map { ("raft-\($0)", .raft($1)) } + gossip.map { ("gossip-\($0)", .gossip($1)) }
        + requests.map { ("request-\($0)", .request(forwarded($1))) }
        + others + answers.map { ("answer-\($0)", .answer(ForwardedAnswer(life: 1, sequence: 2, reply: $1))) }

    private static let configuration = VoterConfiguration(voters: [NodeID(1), NodeID(2), NodeID(3)])

    private static var raft: [(String, Message)] {
        let vote = VoteRequest(
            term: Term(2), lastLogIndex: LogIndex(3), lastLogTerm: Term(1), isTransfer: false)
        let grant = VoteResponse(term: Term(2), isGranted: true)
        let entries = [Payload.noop, .command([1, 2, 3]), .configuration(configuration)].enumerated().map {
            LogEntry(term: Term(1), index: LogIndex(UInt64($0.offset + 1)), payload: $0.element)
        }
        let append = AppendRequest(
            term: Term(2), previousIndex: .zero, previousTerm: .zero, entries: entries,
            commitIndex: LogIndex(2), readRound: 1)
        let outcomes: [(String, AppendResponse.Outcome)] = [
            ("matched", .matched(LogIndex(3))),
            ("conflict", .conflict(rejected: LogIndex(3), hintIndex: LogIndex(1), hintTerm: Term(1))),
            ("installing", .installingSnapshot), ("stale", .staleTerm),
        ]
        let snapshot = SnapshotMetadata(
            lastIndex: LogIndex(3), lastTerm: Term(1), configuration: configuration)
        return [
            ("pre-vote", .preVoteRequest(vote)), ("pre-vote-answer", .preVoteResponse(grant)),
            ("vote", .voteRequest(vote)), ("vote-answer", .voteResponse(grant)),
            ("append", .appendRequest(append)),
            ("snapshot", .snapshotRequest(SnapshotRequest(term: Term(2), metadata: snapshot))),
            ("snapshot-answer", .snapshotResponse(SnapshotResponse(term: Term(2), matchIndex: LogIndex(3)))),
            ("timeout-now", .timeoutNow(TimeoutNow(term: Term(2)))),
        ]
            + outcomes.map { name, outcome in
                (name, .appendResponse(AppendResponse(term: Term(2), outcome: outcome, readRound: 1)))
            }
    }

    private static var gossip: [(String, GossipMessage)] {
        let reading = EndpointReading(
            endpoint: CatalogScenario.endpoints[0], health: .unreachable, latencyMicroseconds: 900,
            queueDepth: 1, lastError: "C_Login: CKR_PIN_INCORRECT")
        let payload = GossipPayload(
            incarnation: Incarnation(4), wantsObservations: true,
            updates: [
                MemberUpdate(
                    node: NodeID(3), state: .suspect, incarnation: Incarnation(2), accusers: [NodeID(1)])
            ],
            observations: [
                EndpointObservation(reading, node: NodeID(2), incarnation: Incarnation(4), sequence: 5)
            ],
            digests: [ObservationDigest(node: NodeID(2), value: 77)])
        let bare = GossipPayload(incarnation: Incarnation(4))
        return [
            ("ping", .ping(sequence: 1, payload: payload)),
            ("acknowledgement", .acknowledgement(sequence: 1, payload: bare)),
            ("ping-request", .pingRequest(sequence: 2, target: NodeID(3), payload: bare)),
            ("negative", .negativeAcknowledgement(sequence: 2, payload: bare)),
            ("news", .news(payload: payload)),
        ]
    }

    private static var others: [(name: String, message: PeerMessage)] {
        let metadata = SnapshotMetadata(
            lastIndex: LogIndex(900), lastTerm: Term(1), configuration: configuration)
        let rows = CatalogScenario.catalog.allRows
        let chunks = [rows.prefix(2), rows.dropFirst(2)].enumerated().map { number, rows in
            SnapshotChunk(
                term: Term(1), transfer: 1, metadata: metadata, number: UInt64(number), isLast: number == 1,
                rows: Array(rows))
        }
        let outcomes: [SnapshotAnswer.Outcome] = [.wants(1), .complete, .refused("too long")]
        let answers = outcomes.map { SnapshotAnswer(term: Term(1), transfer: 1, outcome: $0) }
        return chunks.map { ("chunk-\($0.number)", .snapshotChunk($0)) }
            + answers.enumerated().map { ("chunk-answer-\($0.offset)", .snapshotAnswer($0.element)) }
            + [("removed", .removed(RemovalNotice(index: LogIndex(2))))]
    }

    private static var requests: [(String, ClientRequest)] {
        let (name, id) = (CatalogScenario.endpoints[0], CatalogScenario.identifiers[0])
        return [
            ("store", .createKeyStore(name: "HSM", minimumReplicas: 2, requestID: id)),
            ("key", .generateKey(.init(requestID: id, keyStore: nil, algorithm: .aes128, comment: "c"))),
            ("read", .readCatalog), ("retry", .retryLogin(name)),
            ("claim", .claimLogin(name, node: NodeID(2))),
            ("login", .reportLogin(name, node: NodeID(2), outcome: .revoked)),
            ("transfer", .transferLeadership(to: NodeID(2))), ("add", .addNode(CatalogScenario.record(4))),
            ("promote", .promoteNode(NodeID(4))), ("remove", .removeNode(NodeID(3))),
        ]
    }

    private static var answers: [(String, ClientReply?)] {
        let catalog = CatalogScenario.catalog
        let refusals: [(String, ClientRefusal)] = [
            ("no-quorum", .noQuorum(reachable: 1, voters: 3)),
            ("too-few", .notEnoughEndpoints(inService: CatalogScenario.endpoints, needed: 4)),
            ("refused", .catalog(.notEnoughReplicas(verified: 1, needed: 2))),
            ("given-up", .generationFailed(label: "CMS MK 4099", reason: "r")),
        ]
        return [
            ("none", nil), ("done", .done),
            ("catalog", .catalog(CatalogView(catalog, appliedIndex: LogIndex(27)))),
            ("store", catalog.activeKeyStore.map { .keyStore($0) }),
            ("key", catalog.keysInOrder.first.map { .key($0) }),
        ] + refusals.map { ($0, .refused($1)) }
    }

    private static func forwarded(_ request: ClientRequest) -> ForwardedRequest {
        ForwardedRequest(
            life: 1, sequence: 2, request: request, freshIdentifier: CatalogScenario.identifiers[1],
            askedAt: 1_700_000_000)
    }
}
