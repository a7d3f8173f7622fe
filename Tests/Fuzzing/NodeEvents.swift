import ClusterModel
import Gossip
import KeyCatalog
import NodeCore
import Raft
import WireFormat

// A whole node whose peers and token hosts say whatever can be decoded, true or not, in any order. What its
// peers send is authenticated, and still must not end the process: a defect in one node would end them all.

enum Target: FuzzTarget {
    static let longestInput = 4096

    static func check(_ input: [UInt8]) {
        var reader = InputReader(input)
        var world = World()
        while !reader.isAtEnd, !world.isHalted { world.step(&reader) }
    }

    static func seeds() throws -> [Seed] {
        // Ticks until this node campaigns, votes for it, what it needs to commit, then clients and endpoints.
        let leading: [UInt8] = [0, 15, 0, 15, 0, 15, 2, 0, 0, 3, 2, 0, 1, 3, 2, 0, 2, 4, 0, 1, 4, 1, 1]
        let serving: [UInt8] = [5, 0, 1, 5, 1, 1, 5, 2, 1, 0, 1, 3, 2, 0, 2]
        let settled: [UInt8] = [6, 0, 1, 0, 1, 3, 2, 0, 2, 2, 1, 2]
        let key: [UInt8] =
            leading + serving + [7, 3, 0] + settled + [7, 0, 1] + (0..<32).flatMap { _ in settled }
        // A heartbeat of the leader of term 1, then a snapshot in two chunks.
        let heartbeat = AppendRequest(
            term: Term(1), previousIndex: .zero, previousTerm: .zero, entries: [], commitIndex: .zero,
            readRound: 0)
        let following = [1, 0, 1] + counted(try CBOREncoder.encode(Message.appendRequest(heartbeat)))
        var seeds = [
            Seed(name: "idle", bytes: [0, 15, 0, 15, 0, 15]), Seed(name: "leader", bytes: leading),
            Seed(name: "key", bytes: key), Seed(name: "snapshot", bytes: key + [9, 0, 15, 9]),
            Seed(name: "install", bytes: following + [10, 0, 0, 10, 1, 0, 3, 9, 0, 15, 3, 9]),
        ]
        for (name, message) in PeerMessageSamples.all where !name.hasPrefix("answer") {
            let (kind, payload) = try message.encoded()
            let step: [UInt8] = [1, 1, UInt8(kind)] + counted(payload) + [3, 0, 8]
            let words = words(in: try CBORValue(decoding: payload))
            if ["raft-append", "gossip-ping"].contains(name) {
                seeds.append(Seed(name: name, bytes: [0, 4] + step + step, words: words))
            } else {
                seeds[0].words += words
            }
        }
        for (name, reply) in TokenHostSamples.replies where ["objects", "proof"].contains(name) {
            let part = try seed("", reply)
            let step: [UInt8] = [6, 0, 0] + counted(part.bytes) + [0, 15, 3]
            seeds.append(Seed(name: "reply-\(name)", bytes: key + step, words: part.words))
        }
        return seeds
    }
}

/// The node and its surroundings, as the input wants them.
private struct World {
    private var node: Node
    private var now = Instant.origin
    private var written: PersistToken?
    private var calls: [EndpointCall] = []
    private var snapshotToTake: SnapshotMetadata?
    private var snapshotToInstall: SnapshotMetadata?
    private var lastRequest: UInt64 = 0
    private(set) var isHalted = false

    init() {
        let voters = [NodeID(1), NodeID(2), NodeID(3)]
        var settings = NodeSettings(id: NodeID(1), voters: voters, endpoints: CatalogScenario.endpoints)
        // So few that snapshots happen within one input.
        settings.snapshotEntries = 8
        settings.snapshotChunkBytes = 512
        let recovered = RecoveredState(initialConfiguration: VoterConfiguration(voters: voters))
        node = Node(
            settings: settings,
            raft: Consensus(id: settings.id, settings: settings.raft, recovered: recovered, seed: 1),
            catalog: Catalog(), appliedIndex: .zero, incarnation: Incarnation(1), seed: 1,
            at: Moment(now: .origin, wallClock: 0))
    }

    mutating func step(_ reader: inout InputReader) {
        switch reader.byte() % 12 {
        case 0:
            for _ in 0...reader.number(below: 16) {
                now = now + node.settings.tick
                take(.tick)
            }
        case 1:
            let peer = peer(&reader)
            let kind = UInt16(reader.byte())
            let payload = reader.string()
            guard let message = try? PeerMessage.decode(kind: kind, payload: payload) else { return }
            take(.received(message, from: peer))
        case 2:
            let peer = peer(&reader)
            take(.received(.raft(helpful(reader.number(below: 4))), from: peer))
        case 3:
            if let written { take(.persisted(written)) }
        case 4: take(.linkChanged(peer(&reader), isUp: reader.chance()))
        case 5: take(.tokenHost(reader.choice(CatalogScenario.endpoints), state(&reader)))
        case 6: answer(&reader)
        case 7: request(&reader)
        case 8: take(.cancelled(ClientRequestID(UInt64(reader.byte()))))
        case 9: snapshotWritten()
        case 10:
            // As the leader of the term that this node is in, so that it listens.
            guard case .snapshotChunk(var chunk) = reader.choice(Self.chunks) else { return }
            chunk.term = node.raft.term
            take(.received(.snapshotChunk(chunk), from: peer(&reader)))
        default:
            let sample = reader.choice(PeerMessageSamples.all).message
            take(.received(sample, from: peer(&reader)))
        }
    }

    private mutating func take(_ event: NodeEvent) {
        guard !isHalted else { return }
        var effects = NodeEffects()
        node.step(event, at: Moment(now: now, wallClock: now.nanoseconds / 1_000_000_000), into: &effects)
        written = effects.persist.last?.token ?? written
        calls += effects.calls
        snapshotToTake = effects.takeSnapshot ?? snapshotToTake
        snapshotToInstall = effects.installSnapshot?.metadata ?? snapshotToInstall
        isHalted = effects.fatal != nil
        let replies = effects.persist.flatMap(\.thenSend).map { PeerMessage.raft($0.message) }
        for message in effects.send.map(\.message) + replies { checkSent(message) }
    }

    /// Whatever it was told, a node says only what others can read.
    private func checkSent(_ message: PeerMessage) {
        guard let (kind, payload) = try? message.encoded() else {
            return hold(false, "a message cannot be written")
        }
        if case .gossip = message {
            hold(payload.count <= GossipLimits.encodedBytes, "a gossip message is too long")
        }
        hold((try? PeerMessage.decode(kind: kind, payload: payload)) == message, "a message cannot be read")
    }

    private static let chunks = PeerMessageSamples.all.map(\.message).filter { message in
        if case .snapshotChunk = message { true } else { false }
    }

    private mutating func snapshotWritten() {
        if let metadata = snapshotToTake {
            snapshotToTake = nil
            take(.snapshotTaken(metadata))
        }
        if let metadata = snapshotToInstall {
            snapshotToInstall = nil
            take(.snapshotInstalled(metadata))
        }
    }

    // MARK: What the others say

    private func peer(_ reader: inout InputReader) -> NodeID {
        reader.choice([NodeID(2), NodeID(3), NodeID(1), NodeID(99)])
    }

    /// What a follower would say that agrees with everything.
    private func helpful(_ kind: Int) -> Message {
        let term = node.raft.term
        switch kind {
        case 0: return .preVoteResponse(VoteResponse(term: term.next, isGranted: true))
        case 1: return .voteResponse(VoteResponse(term: term, isGranted: true))
        case 2:
            return .appendResponse(
                AppendResponse(term: term, outcome: .matched(node.raft.lastIndex), readRound: 1_000))
        default: return .timeoutNow(TimeoutNow(term: term))
        }
    }

    private func state(_ reader: inout InputReader) -> TokenHostState {
        switch reader.number(below: 4) {
        case 0: decoded(reader.string()) ?? .starting
        case 1: .serving(TokenHostSamples.token, pin: .accepted)
        case 2:
            .serving(
                TokenDescription(
                    label: "t", serialNumber: "1", manufacturer: "", model: "", mechanisms: [],
                    isLoggedIn: false), pin: reader.choice([.untried, .accepted, .rejected]))
        default: .failed(TokenHostSamples.failure)
        }
    }

    private mutating func answer(_ reader: inout InputReader) {
        guard !calls.isEmpty else { return }
        let call = calls.remove(at: reader.number(below: min(calls.count, 8)))
        let result: Result<EndpointReply, EndpointFailure> =
            switch reader.number(below: 5) {
            case 0:
                if let reply: EndpointReply = decoded(reader.string()) {
                    .success(reply)
                } else {
                    .failure(TokenHostSamples.failure)
                }
            case 1, 2: .success(honest(call))
            case 3: .success(reader.choice(TokenHostSamples.replies).reply)
            default: .failure(decoded(reader.string()) ?? TokenHostSamples.failure)
            }
        take(.answered(call.id, result))
    }

    private func honest(_ call: EndpointCall) -> EndpointReply {
        switch call.request {
        case .inspect: .token(TokenHostSamples.token)
        case .scan: .objects(objects(on: call.endpoint))
        case .generate, .importKey: .made(adopted: false)
        case .transportKey: .transportKey(CatalogScenario.transportKey)
        case .exportKey:
            .wrapped(WrappedKey(encryptedWrappingKey: [1], encryptedKey: [2], usesSHA256: true))
        case .verify: .proof(CatalogScenario.proof)
        case .destroy: .destroyed(1)
        case .logIn, .forgetRejectedPIN, .restrict: .done
        }
    }

    private func objects(on endpoint: EndpointName) -> [KeyObject] {
        node.catalog.keysInOrder.flatMap { key in
            key.attempts.filter { $0.endpoint == endpoint }.map { attempt in
                KeyObject(
                    label: key.label, identity: attempt.identity.bytes, algorithm: key.algorithm,
                    isSensitive: true, isExtractable: true)
            }
        }
    }

    private mutating func request(_ reader: inout InputReader) {
        let id = CatalogScenario.identifiers[reader.number(below: 4)]
        let request: ClientRequest =
            switch reader.number(below: 6) {
            case 0: .createKeyStore(name: "HSM", minimumReplicas: nil, requestID: id)
            case 1:
                .generateKey(.init(requestID: id, keyStore: nil, algorithm: .aes256, comment: "c"))
            case 2: .readCatalog
            case 3: .retryLogin(reader.choice(CatalogScenario.endpoints))
            case 4: decoded(reader.string()) ?? .readCatalog
            default: .claimLogin(reader.choice(CatalogScenario.endpoints), node: NodeID(2))
            }
        lastRequest += 1
        take(
            .request(
                request, id: ClientRequestID(lastRequest),
                freshIdentifier: Identifier128(high: 0x4000, low: lastRequest + 100)))
    }

    private func decoded<Value: Decodable>(_ bytes: [UInt8]) -> Value? {
        try? CBORDecoder.decode(Value.self, from: bytes)
    }
}
