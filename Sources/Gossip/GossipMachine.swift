import ClusterModel

// SWIM (Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
// Protocol", DSN 2002) with Lifeguard (Dadgar, Phillips, Currey, "Local Health Awareness for More Accurate
// Failure Detection", DSN 2018) as a pure machine: time, randomness and messages come in as values, messages
// to send and changed beliefs come out. The same seed and the same events give the same effects, bit for bit.
//
// Where it departs from the papers:
// - Statements form a total order (see Member.swift); a death notice does not override a higher incarnation.
// - A death notice about a member that nobody suspected starts a confirmed suspicion first, so that the two
//   halves of a healed partition do not bury each other's living members for a moment.
// - A suspicion names its accusers, so confirmations merge like sets and need no counting of messages.
// - Members come from the configuration: messages of, and statements about, other nodes are ignored.
// - Dead members stay on the list and are pinged now and then.
// - A tick that comes much too late means that this process slept: nobody is blamed for that time.

/// The gossip of one node. A value: confine it to one queue or actor.
///
/// **A member that is dead to gossip decides nothing by itself.** States and observations are hints, for
/// routing and for people; they differ between nodes and may be wrong. Taking a node or an endpoint out of
/// service is a decision of the replicated log.
public struct GossipMachine: Sendable, Hashable {
    /// Something that happens to the machine.
    public enum Event: Hashable, Sendable {
        /// Time has passed. Send one at `nextDeadline`; earlier or more often does no harm.
        case tick
        /// A message came from a node whose identity the link has established.
        case received(GossipMessage, from: NodeID)
        /// What this node finds of all its endpoints now. An endpoint that is missing is no longer observed.
        case observed([EndpointReading])
        /// The configured nodes are now these (this one is always included).
        case membersChanged([NodeID])
        /// This node is about to stop for good or for long: tell the others, then fall silent.
        case leave
    }

    /// A message and where it goes.
    public struct Envelope: Hashable, Sendable {
        /// The receiver.
        public var to: NodeID
        /// The message.
        public var message: GossipMessage
        /// Puts an envelope together.
        public init(to: NodeID, message: GossipMessage) {
            self.to = to
            self.message = message
        }
    }

    /// What the shell has to do, and what it may want to know. Steps add to it; the shell empties it.
    public struct Effects: Hashable, Sendable {
        /// Messages to send, in this order. May be dropped when a link is down; never retry them later.
        public var send: [Envelope] = []
        /// Changed beliefs, in order. Not about this node itself.
        public var memberChanges: [MemberChange] = []
        /// True when `observations` is not what it was, stamps included.
        public var observationsChanged = false
        /// No effects.
        public init() {}
    }

    /// This node.
    public let id: NodeID
    /// The time constants.
    public let settings: GossipSettings
    /// This node's incarnation; rises when it has to refute somebody.
    public internal(set) var incarnation: Incarnation
    /// How much slower this node acts because its own links or its own scheduling look bad: 0 is healthy.
    public var localHealthScore: Int { localHealth.score }

    /// When the next tick is due; nil once this node has left. Look again after every step.
    public private(set) var nextDeadline: Instant? = .origin

    var hasLeft = false
    var generator: SeededGenerator
    var configured: [NodeID]
    var peers = MemberTable()
    var localHealth: LocalHealth

    var probe: Probe?
    var probeOrder: [NodeID] = []
    var urgentProbes: [NodeID] = []
    var relays: [Relay] = []
    var probeSequence: UInt64 = 0
    var periodCount = 0
    var nextPeriodAt: Instant?
    var lastDeadProbed = NodeID(0)

    var updateQueue = Dissemination<NodeID>()
    var observationQueue = Dissemination<ObservationKey>()
    var lastNewsAt: Instant?

    var table = ObservationTable()
    var readings: [EndpointReading] = []
    var observationSequence: UInt64 = 0
    var digestCursor = 0

    /// A machine that has not begun.
    /// - Parameters:
    ///   - id: This node.
    ///   - members: The configured nodes, with or without this one; at most `GossipLimits.members` count.
    ///   - incarnation: Must be higher than at every earlier start of this node: for instance a counter kept
    ///     on disk, or the wall clock's seconds. At least 1. If it is not, the others correct it, a little
    ///     later.
    ///   - settings: Should have passed `validate()`.
    ///   - seed: Decides all random choices.
    public init(
        id: NodeID, members: [NodeID], incarnation: Incarnation, settings: GossipSettings = GossipSettings(),
        seed: UInt64
    ) {
        self.id = id
        self.settings = settings
        self.incarnation = min(max(incarnation, Incarnation(1)), .greatest)
        generator = SeededGenerator(seed: seed)
        configured = Self.normalized(members, without: id)
        localHealth = LocalHealth(maximum: settings.localHealthMaximum)
    }

    /// All configured members, this one included, in ascending order. Before the first step only this one.
    public var members: [Member] {
        var all = peers.records.map(\.member)
        let own = Member(node: id, state: hasLeft ? .left : .alive, incarnation: incarnation)
        all.insert(own, at: all.firstIndex { $0.node > id } ?? all.endIndex)
        return all
    }

    /// The newest observation of each endpoint by each node, ordered by node, then endpoint. Those of members
    /// that are not alive are included until they expire: look at `members` too.
    public var observations: [EndpointObservation] { table.current }

    /// Takes one event at the time `now`, which must not go backwards, and adds to `effects`.
    public mutating func step(_ event: Event, at now: Instant, into effects: inout Effects) {
        guard !hasLeft else { return }
        if nextPeriodAt == nil { begin(at: now) }
        switch event {
        case .tick: tick(at: now, into: &effects)
        case .received(let message, from: let sender):
            receive(message, from: sender, at: now, into: &effects)
        case .observed(let readings): observe(readings, at: now, into: &effects)
        case .membersChanged(let nodes): changeMembers(to: nodes, at: now, into: &effects)
        case .leave: leave(into: &effects)
        }
        nextDeadline = hasLeft ? nil : max(now, earliestDeadline(from: now))
    }

    private func earliestDeadline(from now: Instant) -> Instant {
        var next = nextPeriodAt ?? now
        if let probe, !probe.isIndirect, !probe.isAcknowledged { next = min(next, probe.directDeadline) }
        for record in peers.records {
            if let suspicion = record.suspicion { next = min(next, suspicion.deadline) }
        }
        for relay in relays { next = min(next, relay.deadline) }
        if hasUrgentNews { next = min(next, newsDueAt ?? now) }
        return next
    }
}

// MARK: - Beginning, ticking, leaving

extension GossipMachine {
    private mutating func begin(at now: Instant) {
        // Nodes that start together must not ping in step.
        let jitter = UInt64.random(
            in: 0...UInt64(max(0, settings.protocolPeriod.wholeNanoseconds)), using: &generator)
        nextPeriodAt = now + .nanoseconds(Int64(jitter))
        for node in configured { insertPeer(node, at: now) }
        announce(id)
    }

    private mutating func tick(at now: Instant, into effects: inout Effects) {
        forgiveLateness(at: now)
        askRelays(at: now, into: &effects)
        buryOverdueSuspects(at: now, into: &effects)
        answerForRelays(at: now, into: &effects)
        if let nextPeriodAt, now >= nextPeriodAt { beginPeriod(at: now, into: &effects) }
        if hasUrgentNews, newsDueAt.map({ now >= $0 }) ?? true { sendNews(at: now, into: &effects) }
    }

    /// A process that was stopped, or starved of processor time, finds all its deadlines missed at once, and
    /// the acknowledgements that it waits for may lie unread in its queue. The lost time is added to every
    /// deadline.
    private mutating func forgiveLateness(at now: Instant) {
        guard let due = nextDeadline, due > .origin, let periodAt = nextPeriodAt else { return }
        let lateness = now - due
        guard lateness > settings.protocolPeriod else { return }
        let grace = lateness + settings.pingTimeout
        localHealth.add(1)
        nextPeriodAt = periodAt + grace
        if let deadline = probe?.directDeadline { probe?.directDeadline = deadline + grace }
        peers.updateAll { record in
            guard let suspicion = record.suspicion else { return }
            record.suspicion?.startedAt = suspicion.startedAt + grace
        }
        relays.removeAll()
    }

    private mutating func beginPeriod(at now: Instant, into effects: inout Effects) {
        settleProbe(at: now, into: &effects)
        periodCount += 1
        stampReadings(at: now, into: &effects)
        if table.expire(
            storedBefore: Instant(
                nanoseconds: now.nanoseconds - settings.observationLifetime.wholeNanoseconds), except: id)
        {
            effects.observationsChanged = true
        }
        let isProbing = probeNextMember(at: now, into: &effects)
        probeDeadMember(evenEarly: !isProbing, into: &effects)
        // A node without anyone to ping has nobody to wrong: it may look for the dead at full speed.
        nextPeriodAt = now + settings.protocolPeriod * (isProbing ? localHealth.multiplier : 1)
    }

    private mutating func leave(into effects: inout Effects) {
        hasLeft = true
        for record in peers.records where record.isLive {
            send(.news(payload: payload(for: record.node)), to: record.node, into: &effects)
        }
    }
}

// MARK: - Configuration

extension GossipMachine {
    private mutating func changeMembers(
        to nodes: [NodeID], at now: Instant, into effects: inout Effects
    ) {
        configured = Self.normalized(nodes, without: id)
        digestCursor = 0
        peers.retain(configured)
        let kept = configured
        let own = id
        table.removeAll { $0.node != own && !kept.contains($0.node) }
        updateQueue.removeAll { $0 != own && !kept.contains($0) }
        observationQueue.removeAll { $0.node != own && !kept.contains($0.node) }
        probeOrder.removeAll { !kept.contains($0) }
        urgentProbes.removeAll { !kept.contains($0) }
        relays.removeAll { !kept.contains($0.origin) || !kept.contains($0.target) }
        if let target = probe?.target, !kept.contains(target) { probe = nil }
        for node in configured where peers[node] == nil { insertPeer(node, at: now) }
        announce(id)
        effects.observationsChanged = true
    }

    /// A new member counts as suspect until it is heard from: nobody is called alive unseen.
    private mutating func insertPeer(_ node: NodeID, at now: Instant) {
        let suspicion = Suspicion(startedAt: now, memberCount: configured.count + 1, settings: settings)
        peers.insert(MemberRecord(unheard: node, suspicion: suspicion))
        insertIntoProbeOrder(node)
    }

    /// How many members are not dead, this one included.
    var liveCount: Int { 1 + peers.records.count { $0.isLive } }

    private static func normalized(_ members: [NodeID], without id: NodeID) -> [NodeID] {
        let distinct = Set(members).subtracting([id, NodeID(0)]).sorted()
        return Array(distinct.prefix(GossipLimits.members - 1))
    }
}
