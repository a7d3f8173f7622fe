import ClusterModel
import Gossip
import KeyCatalog
import Raft

// A whole node as one pure machine: events in, effects out. It composes consensus, membership, the catalog
// and, on the leader, the work that the cluster owes its endpoints (log in, enrol, generate, copy, repair,
// tidy up). The shell carries out effects and brings back what came of them; the simulator does the same
// with virtual time and faulty parts. Nothing here reads a clock, a socket, a file or a random number.

/// The time at which an event happens, as the shell reads it.
public struct Moment: Hashable, Sendable {
    /// On the monotonic clock: all waiting is measured with it.
    public var now: Instant
    /// Seconds since 1970: only for what people read.
    public var wallClock: Int64
    /// Puts a moment together.
    public init(now: Instant, wallClock: Int64) {
        self.now = now
        self.wallClock = wallClock
    }
}

/// What happens to a node.
public enum NodeEvent: Sendable {
    /// `NodeSettings.tick` has passed.
    case tick
    /// A peer said something.
    case received(PeerMessage, from: NodeID)
    /// A link came up or went down.
    case linkChanged(NodeID, isUp: Bool)
    /// A batch of `NodeEffects.persist` is durable, with all before it.
    case persisted(PersistToken)
    /// A token host's state changed.
    case tokenHost(EndpointName, TokenHostState)
    /// A call of `NodeEffects.calls` ended.
    case answered(CallID, Result<EndpointReply, EndpointFailure>)
    /// A client of this node asks. `freshIdentifier` was never used before.
    case request(ClientRequest, id: ClientRequestID, freshIdentifier: Identifier128)
    /// A client of this node no longer waits.
    case cancelled(ClientRequestID)
    /// What `NodeEffects.takeSnapshot` asked for is done.
    case snapshotTaken(SnapshotMetadata)
    /// What `NodeEffects.installSnapshot` asked for is done.
    case snapshotInstalled(SnapshotMetadata)
}

/// Numbers a client's request within one node's life.
public struct ClientRequestID: Hashable, Comparable, Sendable {
    /// The number.
    public var rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Orders requests by number.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Numbers a call to an endpoint within one node's life.
public struct CallID: Hashable, Comparable, Sendable {
    /// The number.
    public var rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Orders calls by number.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// One call that the shell makes to this node's token host of an endpoint. It ends with exactly one
/// `.answered` event, at the latest when `deadline` has passed.
public struct EndpointCall: Hashable, Sendable {
    /// Numbers the call.
    public var id: CallID
    /// Which endpoint.
    public var endpoint: EndpointName
    /// What is asked.
    public var request: EndpointRequest
    /// How long the caller waits.
    public var deadline: Duration
}

/// The catalog rows that one log entry changed; written with the applied index in one transaction, in order.
public struct AppliedEntry: Hashable, Sendable {
    /// The entry's position.
    public var index: LogIndex
    /// The entry's term.
    public var term: Term
    /// The rows.
    public var changes: [RowChange]
}

/// Something that people should know; the shell logs it.
public struct Notice: Hashable, Sendable {
    /// How urgent it is.
    public enum Level: Hashable, Sendable {
        /// For the curious.
        case info
        /// Something is not as it should be.
        case warning
        /// An operator has to act.
        case alarm
    }

    /// How urgent.
    public var level: Level
    /// One sentence, without secrets.
    public var text: String
    /// Structured fields.
    public var fields: [String: String]
}

/// What a node wants done. The lists are in order; lists are independent of each other.
public struct NodeEffects: Sendable {
    /// Make durable, then send the messages that each batch carries, then report `.persisted`.
    public var persist: [PersistBatch] = []
    /// Messages that may leave at once.
    public var send: [PeerEnvelope] = []
    /// Catalog rows to write.
    public var applied: [AppliedEntry] = []
    /// Once all rows of `applied` up to the snapshot's last entry are synced, forget the log up to it, then report
    /// `.snapshotTaken`.
    public var takeSnapshot: SnapshotMetadata?
    /// Once everything that was handed out before is written, replace all catalog rows, together with the
    /// snapshot's description and in one transaction; then the whole log; then report `.snapshotInstalled`. A start
    /// that finds the rows replaced and the log not must finish that first.
    public var installSnapshot: SnapshotInstallation?
    /// True when `Node.peerRecords` may be another list than before.
    public var peersChanged = false
    /// Calls to make.
    public var calls: [EndpointCall] = []
    /// Answers to this node's clients.
    public var replies: [(id: ClientRequestID, reply: ClientReply)] = []
    /// Things to log.
    public var notices: [Notice] = []
    /// True when role, term or leader changed.
    public var roleChanged = false
    /// Set when the node must not go on: its log holds what this version cannot carry out.
    public var fatal: String?
    /// No effects.
    public init() {}
}

/// A message and where it goes.
public struct PeerEnvelope: Hashable, Sendable {
    /// The receiver.
    public var to: NodeID
    /// The message.
    public var message: PeerMessage
    /// Addresses a message.
    public init(to: NodeID, message: PeerMessage) {
        self.to = to
        self.message = message
    }
}

/// One node of the cluster, without its outside.
public struct Node: Sendable {
    /// What the node was told.
    public let settings: NodeSettings
    /// Consensus.
    public internal(set) var raft: Consensus
    /// Membership and observations.
    public internal(set) var gossip: GossipMachine
    /// The catalog as of `appliedIndex`.
    public internal(set) var catalog: Catalog
    /// The last log entry in `catalog`.
    public internal(set) var appliedIndex: LogIndex
    /// Peers with a link.
    public internal(set) var linkedPeers: Set<NodeID> = []
    /// This node's endpoints.
    public internal(set) var localEndpoints: [EndpointName: LocalEndpoint] = [:]

    /// Tells this life of the node from earlier ones.
    let life: UInt64
    var moment: Moment
    var effects = NodeEffects()
    var raftEffects = Consensus.Effects()
    var isTakingRaftEffects = false
    var stewardRanAt: Instant?
    var gossipEffects = GossipMachine.Effects()
    var ids = Counter()
    var proposals: [UInt64: Purpose] = [:]
    var uncommitted: [LogIndex: UncommittedProposal] = [:]
    var reads: [UInt64: Ticket] = [:]
    var requests: [ClientRequestID: LocalRequest] = [:]
    var loginCalls: [CallID: LoginCall] = [:]
    var steward: Steward?
    /// What is being sent to whom.
    var outgoingSnapshots: [NodeID: OutgoingSnapshot] = [:]
    /// What is arriving.
    var incomingSnapshot: IncomingSnapshot?
    /// What has arrived and is being put in place.
    var arrivedSnapshot: ArrivedSnapshot?
    var isInstallingSnapshot = false
    /// A snapshot that the shell is taking.
    var takingSnapshot: SnapshotMetadata?
    /// Bytes of commands applied since the last snapshot of this life.
    var bytesApplied = 0
    /// The entry of which another node said that it removed this one.
    var removalNotice: LogIndex?
    /// When a node that has lost its votes asked last.
    var askedToRejoinAt: Instant?
    var observationsDue: Instant

    /// A node as it starts: `raft`, `catalog` and `appliedIndex` come from its disk.
    public init(
        settings: NodeSettings, raft: Consensus, catalog: Catalog, appliedIndex: LogIndex,
        incarnation: Incarnation, seed: UInt64, at moment: Moment
    ) {
        self.settings = settings
        self.raft = raft
        self.catalog = catalog
        self.appliedIndex = appliedIndex
        self.moment = moment
        life = incarnation.rawValue
        let members = catalog.membership.map { $0.voters + $0.learners } ?? settings.voters
        gossip = GossipMachine(
            id: settings.id, members: members.isEmpty ? settings.nodes.map(\.id) : members,
            incarnation: incarnation, settings: settings.gossip,
            seed: seed)
        observationsDue = moment.now
        for name in settings.endpoints { localEndpoints[name] = LocalEndpoint() }
    }

    /// Takes one event and appends what has to be done to `effects`.
    public mutating func step(_ event: NodeEvent, at moment: Moment, into effects: inout NodeEffects) {
        self.moment = moment
        switch event {
        case .tick: tick()
        case .received(let message, let peer): receive(message, from: peer)
        case .linkChanged(let peer, let isUp): linkChanged(peer, isUp)
        case .persisted(let token): stepRaft(.persisted(through: token))
        case .tokenHost(let name, let state): tokenHostChanged(name, state)
        case .answered(let call, let result): answered(call, result)
        case .request(let request, let id, let fresh): accept(request, id, fresh)
        case .cancelled(let id): requests[id] = nil
        case .snapshotTaken(let metadata): snapshotTaken(metadata)
        case .snapshotInstalled(let metadata): snapshotInstalled(metadata)
        }
        advance()
        considerSnapshot()
        append(to: &effects)
    }

    private mutating func tick() {
        // Without ticks there are no campaigns.
        if !isRemoved { stepRaft(.tick) }
        stepGossip(.tick)
        publishObservations()
        checkRequests()
        checkSnapshots()
        checkTransfer()
        askToRejoin()
    }

    private mutating func receive(_ message: PeerMessage, from peer: NodeID) {
        guard peer != settings.id, isKnown(peer) else { return }
        switch message {
        case .raft(let message):
            correctRemovedCampaigner(peer, message)
            stepRaft(.received(message, from: peer))
        case .gossip(let message): stepGossip(.received(message, from: peer))
        case .request(let request): serve(request, for: peer)
        case .answer(let answer): takeAnswer(answer, from: peer)
        case .snapshotChunk(let chunk): takeChunk(chunk, from: peer)
        case .snapshotAnswer(let answer): takeSnapshotAnswer(answer, from: peer)
        case .removed(let removal): takeRemoval(removal)
        case .rejoin(let message): take(message, from: peer)
        }
    }

    /// Carries on with whatever the last event made possible.
    private mutating func advance() {
        advanceLogins()
        advanceSteward()
    }

    private mutating func append(to effects: inout NodeEffects) {
        effects.persist += self.effects.persist
        effects.send += self.effects.send
        effects.applied += self.effects.applied
        effects.takeSnapshot = self.effects.takeSnapshot ?? effects.takeSnapshot
        effects.installSnapshot = self.effects.installSnapshot ?? effects.installSnapshot
        effects.calls += self.effects.calls
        effects.replies += self.effects.replies
        effects.notices += self.effects.notices
        effects.peersChanged = effects.peersChanged || self.effects.peersChanged
        effects.roleChanged = effects.roleChanged || self.effects.roleChanged
        effects.fatal = effects.fatal ?? self.effects.fatal
        self.effects = NodeEffects()
    }

    mutating func notice(_ level: Notice.Level, _ text: String, _ fields: [String: String] = [:]) {
        effects.notices.append(Notice(level: level, text: text, fields: fields))
    }

    mutating func stepGossip(_ event: GossipMachine.Event) {
        gossip.step(event, at: moment.now, into: &gossipEffects)
        effects.send += gossipEffects.send.map { PeerEnvelope(to: $0.to, message: .gossip($0.message)) }
        gossipEffects = GossipMachine.Effects()
    }

    mutating func call(_ endpoint: EndpointName, _ request: EndpointRequest) -> CallID {
        let id = CallID(ids.next())
        effects.calls.append(
            EndpointCall(id: id, endpoint: endpoint, request: request, deadline: settings.callDeadline))
        return id
    }

    private mutating func answered(_ id: CallID, _ result: Result<EndpointReply, EndpointFailure>) {
        if let login = loginCalls.removeValue(forKey: id) { return loginAnswered(login, result) }
        stewardAnswered(id, result)
    }
}

/// Gives out numbers, from 1.
struct Counter: Sendable {
    private var last: UInt64 = 0
    mutating func next() -> UInt64 {
        last += 1
        return last
    }
}
