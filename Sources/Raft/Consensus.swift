// The consensus machine of one node (Ongaro & Ousterhout 2014; Ongaro's dissertation 2014): a value that
// takes one event at a time and says what to do about it. It reads no clock, socket or disk. The shell feeds
// it ticks, messages and confirmations of writes, and carries out the effects:
//
//   1. hand `persist` batches to the disk in order, and send each batch's `thenSend` once it is durable;
//   2. transmit `send` at once, in any order relative to the writes;
//   3. apply `committed` in order;
//   4. report durable batches with `.persisted`.
//
// Beyond the paper's core it has PreVote and CheckQuorum (dissertation §6.2, §9.6), ReadIndex (§6.4),
// leadership transfer (§3.10), learners and one-at-a-time membership changes (§4). Known limit, shared with
// every Raft: with five or more voters and lasting partial partitions, if the only node that reaches a
// majority has an outdated log, nobody can be elected until a link heals. With three voters this can't last.

import ClusterModel

/// The consensus machine of one node. A plain value: confine it to one serial queue.
public struct Consensus: Sendable {
    /// This node.
    public let id: NodeID
    /// The limits and timeouts in use.
    public let settings: RaftSettings
    /// What the node is.
    public internal(set) var role: Role = .follower(leader: nil)
    /// The latest term the node has seen.
    public internal(set) var term: Term
    /// Whom the node voted for in that term.
    public internal(set) var votedFor: NodeID?
    /// How far the node knows the log to be committed. What is delivered may lag behind until it is durable
    /// here.
    public internal(set) var commitIndex: LogIndex
    /// How far entries have been delivered in `Effects.committed`.
    public internal(set) var deliveredIndex: LogIndex

    /// How far the log reached before damage cut it short. Until it reaches that far again the node does not campaign,
    /// and votes as if it still did: what it has acknowledged stands.
    public internal(set) var lostEnd: LogPosition?
    /// How far this node, having forgotten its votes, is on the way back. Until then it gives none.
    public internal(set) var rejoin: Rejoin?
    /// True while the disk has no room: no entries are taken and leadership is not sought.
    public internal(set) var isImpeded = false

    var log: Log
    var generator: SeededGenerator
    /// Ticks since the leader was heard, a vote was given, or a campaign began.
    var electionElapsed = 0
    var electionTimeout = 0
    /// A snapshot that the shell is installing. Meanwhile the node takes no entries and does not campaign.
    var pendingInstall: SnapshotMetadata?
    /// The hard state as handed out for writing.
    private var writtenHardState: HardState
    /// Names the next batch.
    private(set) var nextToken = PersistToken(rawValue: 1)
    /// Messages of this step that must not leave before what this step and earlier ones changed is durable.
    var durableReplies: [Envelope] = []
    /// The effects being collected; outside of a step, empty.
    var output = Effects()

    /// Starts a node from what its storage holds.
    /// - Parameters:
    ///   - id: this node.
    ///   - settings: the same on all nodes.
    ///   - recovered: must have no `RecoveredState.problem`.
    ///   - appliedIndex: how far the state machine has applied already; later committed entries are delivered by
    ///     the first step. A snapshot counts as applied.
    ///   - seed: decides the election timeouts; should differ between nodes and lives.
    public init(
        id: NodeID, settings: RaftSettings = RaftSettings(), recovered: RecoveredState,
        appliedIndex: LogIndex = .zero, seed: UInt64
    ) {
        let problem = recovered.problem(appliedIndex: appliedIndex)
        precondition(problem == nil, "recovered state is damaged")
        self.id = id
        self.settings = settings
        term = recovered.hardState.term
        votedFor = recovered.hardState.votedFor
        lostEnd = recovered.hardState.lostEnd
        rejoin = recovered.hardState.rejoin
        log = Log(recovered: recovered)
        let applied = max(appliedIndex, log.baseIndex)
        commitIndex = max(recovered.hardState.commitIndex, applied)
        deliveredIndex = applied
        writtenHardState = recovered.hardState
        generator = SeededGenerator(seed: seed)
        resetElectionTimer()
    }

    // MARK: The one verb

    /// Takes one event and appends what to do about it to `effects`.
    public mutating func step(_ event: Event, into effects: inout Effects) {
        swap(&output, &effects)
        let before = (kind: role.kind, term: term, leader: leader)
        switch event {
        case .tick: tick()
        case .received(let message, let sender): receive(message, from: sender)
        case .proposed(let command, let token): propose(command, token: token)
        case .readRequested(let token): requestRead(token)
        case .persisted(let token): persisted(through: token)
        case .transferRequested(let target): requestTransfer(to: target)
        case .configurationProposed(let configuration, let token): propose(configuration, token: token)
        case .snapshotTaken(let metadata): snapshotTaken(metadata)
        case .snapshotInstalled(let metadata): snapshotInstalled(metadata)
        case .snapshotInstallFailed(let metadata): snapshotInstallFailed(metadata)
        case .snapshotSendFinished(let peer): leadership?.peers[peer]?.snapshotDelivered()
        case .snapshotSendFailed(let peer): leadership?.peers[peer]?.abandonSnapshot()
        case .storageImpeded(let isImpeded): self.isImpeded = isImpeded
        case .demoted(let leader, let term, let index): demoted(by: leader, term: term, index: index)
        }
        noticeRepair()
        handOutBatch()
        deliverCommitted()
        if before != (role.kind, term, leader) {
            output.roleChange = RoleChange(role: role.kind, term: term, leader: leader)
        }
        swap(&output, &effects)
    }

    // MARK: Questions

    /// The leader this node knows in its term; itself when it leads.
    public var leader: NodeID? {
        switch role {
        case .follower(let leader): leader
        case .preCandidate, .candidate: nil
        case .leader: id
        }
    }
    /// Whether this node leads its term. Only a `ReadOutcome.ready` proves that it still does.
    public var isLeader: Bool { role.kind == .leader }
    /// The last entry in the log.
    public var lastIndex: LogIndex { log.lastIndex }
    /// The last entry known durable here.
    public var durableIndex: LogIndex { log.durableIndex }
    /// The configuration in force: the latest in the log, committed or not.
    public var configuration: VoterConfiguration { log.configuration }
    /// The latest snapshot this node knows of.
    public var snapshot: SnapshotMetadata? { log.snapshot }
    /// To whom leadership is being handed, on a leader.
    public var transferTarget: NodeID? { leadership?.transfer?.target }
    /// The followers, ascending, on a leader; empty otherwise.
    public var peers: [PeerStatus] {
        guard case .leader(let leadership) = role else { return [] }
        return configuration.members.compactMap { peer in
            guard let progress = leadership.peers[peer] else { return nil }
            let flow: PeerStatus.Flow =
                switch progress.state {
                case .probe: .probe
                case .replicate: .replicate
                case .snapshot: .snapshot
                }
            return PeerStatus(
                id: peer, matchIndex: progress.matchIndex, flow: flow,
                isVoter: configuration.isVoter(peer), silentTicks: progress.silentTicks)
        }
    }
    /// The entry at a position, when it is in memory.
    public func entry(at index: LogIndex) -> LogEntry? {
        log.range(after: index.previous, through: index).first
    }
    /// The term at a position; nil beyond the log and where it was compacted away.
    public func term(at index: LogIndex) -> Term? { log.term(at: index) }
    /// What a snapshot taken at a delivered position would cover; nil for positions that can't be described.
    public func snapshotMetadata(at index: LogIndex) -> SnapshotMetadata? {
        guard index > .zero, index <= deliveredIndex, let term = log.term(at: index) else { return nil }
        return SnapshotMetadata(
            lastIndex: index, lastTerm: term, configuration: log.configuration(at: index))
    }

    /// The leader's state, to read or change in place. Assigning has no effect on other roles.
    var leadership: Leadership? {
        get {
            guard case .leader(let leadership) = role else { return nil }
            return leadership
        }
        set {
            guard case .leader = role, let newValue else { return }
            role = .leader(newValue)
        }
        // In place: a queue of reads or inflight requests is not copied for every change.
        _modify {
            var taken: Leadership?
            if case .leader(let current) = role {
                taken = current
                role = .follower(leader: nil)
            }
            defer { if let taken { role = .leader(taken) } }
            yield &taken
        }
    }

    // MARK: Durability

    /// Queues a message that depends on what has been changed so far.
    mutating func sendDurably(_ message: Message, to peer: NodeID) {
        durableReplies.append(Envelope(to: peer, message: message))
    }

    /// Queues a message that depends on nothing that may still be volatile.
    mutating func send(_ message: Message, to peer: NodeID) {
        output.send.append(Envelope(to: peer, message: message))
    }

    /// Closes the step's writes. A changed commit index alone is not worth a write: it travels with the next
    /// one. A reply that depends on earlier batches waits in an otherwise empty one.
    private mutating func handOutBatch() {
        let hardState = HardState(
            term: term, votedFor: votedFor, commitIndex: commitIndex, lostEnd: lostEnd, rejoin: rejoin)
        var written = writtenHardState
        written.commitIndex = commitIndex
        let mustWrite = log.hasUnwritten || hardState != written
        guard mustWrite || (!durableReplies.isEmpty && !log.unconfirmed.isEmpty) else {
            output.send += durableReplies
            durableReplies.removeAll()
            return
        }
        let (truncateFrom, entries) = log.takeUnwritten(as: nextToken)
        let isChanged = mustWrite && hardState != writtenHardState
        output.persist.append(
            PersistBatch(
                token: nextToken, hardState: isChanged ? hardState : nil, truncateFrom: truncateFrom,
                entries: entries, thenSend: durableReplies))
        if isChanged { writtenHardState = hardState }
        durableReplies.removeAll()
        nextToken = PersistToken(rawValue: nextToken.rawValue + 1)
    }

    private mutating func persisted(through token: PersistToken) {
        guard token < nextToken else { return }
        log.confirm(through: token)
        if case .candidate(let ballot) = role, let own = ballot.ownVote, own <= token {
            recordVote(true, from: id)
        }
        advanceCommit()
    }

    /// Delivers what is committed and durable here. Waiting for our own disk keeps the state machine from
    /// running ahead of a log that a crash may shorten. Nothing is delivered while a snapshot replaces the
    /// state.
    private mutating func deliverCommitted() {
        let limit = min(commitIndex, log.durableIndex)
        guard deliveredIndex < limit, pendingInstall == nil else { return }
        output.committed += log.range(after: deliveredIndex, through: limit)
        deliveredIndex = limit
    }
}
