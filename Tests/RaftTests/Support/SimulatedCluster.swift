// Several consensus machines, a network that is a list, and disks that sync on command. All of it is driven
// by the test, so a schedule can be written down (transcripts) or drawn from a seed (torture).

import ClusterModel

@testable import Raft

/// A message on its way.
struct Packet: Equatable {
    var from: NodeID
    var to: NodeID
    var message: Message
}

/// A cluster in one value-driven loop. Confined to one test.
final class SimulatedCluster {
    struct Node {
        var consensus: Consensus?
        var disk = SimulatedDisk()
        /// While held, batches wait for `syncOne`; otherwise they are durable at once.
        var isDiskHeld = false
        /// How far the state machine has applied.
        var applied = LogIndex.zero
        var lives: UInt64 = 0
        var initial: VoterConfiguration
        var installing: SnapshotMetadata?
        var lastSynced: PersistToken?
    }

    let settings: RaftSettings
    let seed: UInt64
    var nodes: [NodeID: Node] = [:]
    var network: [Packet] = []
    /// Links that lose everything, by sender and receiver.
    var cut: Set<Link> = []
    var monitor = SafetyMonitor()
    /// Called with everything worth telling.
    var tell: (Note) -> Void = { _ in }

    struct Link: Hashable {
        var from: NodeID
        var to: NodeID
    }

    enum Note {
        case role(NodeID, RoleChange)
        case applied(NodeID, LogEntry)
        case read(NodeID, UInt64, ReadOutcome)
        case proposal(NodeID, UInt64, ProposalOutcome)
        case wrote(NodeID, PersistBatch)
        case snapshotNeeded(NodeID, SnapshotTransfer)
        case installing(NodeID, SnapshotMetadata)
    }

    init(voters: [NodeID], learners: [NodeID] = [], settings: RaftSettings = RaftSettings(), seed: UInt64 = 1)
    {
        self.settings = settings
        self.seed = seed
        let configuration = VoterConfiguration(voters: voters, learners: learners)
        for id in configuration.members { add(id, initial: configuration) }
    }

    convenience init(_ count: UInt64, settings: RaftSettings = RaftSettings(), seed: UInt64 = 1) {
        self.init(voters: (1...count).map { NodeID($0) }, settings: settings, seed: seed)
    }

    var ids: [NodeID] { nodes.keys.sorted() }
    var running: [Consensus] { ids.compactMap { nodes[$0]?.consensus } }
    var leaders: [Consensus] { running.filter(\.isLeader) }

    func add(_ id: NodeID, initial: VoterConfiguration, disk: SimulatedDisk = SimulatedDisk()) {
        var node = Node(initial: initial)
        node.disk = disk
        nodes[id] = node
        start(id)
    }

    // MARK: Life and death

    func start(_ id: NodeID) {
        guard var node = nodes[id], node.consensus == nil else { return }
        node.lives += 1
        node.applied = max(node.applied, node.disk.snapshot?.lastIndex ?? .zero)
        let recovered = node.disk.recovered(initial: node.initial)
        if let problem = recovered.problem(appliedIndex: node.applied) {
            return monitor.violation("\(id): \(problem)")
        }
        node.consensus = Consensus(
            id: id, settings: settings, recovered: recovered, appliedIndex: node.applied,
            seed: seed &* 1_000_003 &+ id.rawValue &* 7919 &+ node.lives)
        nodes[id] = node
        monitor.nodeRestarted(id)
    }

    /// Loses everything that is not durable. `forgetting` tells how many applied entries the state machine
    /// loses.
    func crash(_ id: NodeID, forgetting: Int = 0) {
        guard var node = nodes[id], node.consensus != nil else { return }
        node.consensus = nil
        node.installing = nil
        node.lastSynced = nil
        node.disk.crash()
        let floor = node.disk.snapshot?.lastIndex ?? .zero
        for _ in 0..<forgetting where node.applied > floor { node.applied = node.applied.previous }
        nodes[id] = node
    }

    /// Damages the disk of a node that is down.
    @discardableResult
    func damage(_ id: NodeID, entries: Set<LogIndex>, losesState: Bool = false, losesVotes: Bool = false)
        -> [RecoveryPlan.Finding]
    {
        guard var node = nodes[id], node.consensus == nil else { return [] }
        let (applied, findings) = node.disk.damage(
            entries: entries, losesState: losesState, losesVotes: losesVotes, applied: node.applied,
            initial: node.initial)
        node.applied = applied
        nodes[id] = node
        return findings
    }

    // MARK: Steps

    func step(_ id: NodeID, _ event: Consensus.Event) {
        guard nodes[id]?.consensus != nil else { return }
        if case .readRequested(let token) = event { monitor.readRequested(token) }
        var effects = Consensus.Effects()
        nodes[id]?.consensus?.step(event, into: &effects)
        guard let consensus = nodes[id]?.consensus else { return }
        monitor.check(consensus)
        carryOut(effects, for: id)
    }

    private func carryOut(_ effects: Consensus.Effects, for id: NodeID) {
        if let change = effects.roleChange { tell(.role(id, change)) }
        for (token, outcome) in effects.proposals { tell(.proposal(id, token, outcome)) }
        for (token, outcome) in effects.reads {
            monitor.readAnswered(token, outcome)
            tell(.read(id, token, outcome))
        }
        for envelope in effects.send { transmit(envelope, from: id) }
        for batch in effects.persist { nodes[id]?.disk.hand(batch) }
        for entry in effects.committed { apply(entry, on: id) }
        for transfer in effects.snapshotNeeded { tell(.snapshotNeeded(id, transfer)) }
        for transfer in effects.snapshotNeeded { sendSnapshot(transfer, from: id) }
        if let metadata = effects.installSnapshot {
            nodes[id]?.installing = metadata
            tell(.installing(id, metadata))
        }
        if nodes[id]?.isDiskHeld == false { sync(id) }
    }

    private func apply(_ entry: LogEntry, on id: NodeID) {
        guard let applied = nodes[id]?.applied else { return }
        if entry.index != applied.next { monitor.violation("\(id) delivers \(entry.index) after \(applied)") }
        if monitor.committed[entry.index] != entry {
            monitor.violation("\(id) delivers an uncommitted entry")
        }
        nodes[id]?.applied = entry.index
        tell(.applied(id, entry))
    }

    // MARK: Disk

    /// Makes all waiting batches durable, and installs a waiting snapshot.
    func sync(_ id: NodeID) {
        while syncOne(id) {}
        install(id)
    }

    /// Makes one batch durable and lets its messages go. Unless told otherwise reports it to the machine; a
    /// later report covers it, too.
    @discardableResult
    func syncOne(_ id: NodeID, isReported: Bool = true) -> Bool {
        guard nodes[id]?.consensus != nil, let batch = nodes[id]?.disk.syncOne() else { return false }
        tell(.wrote(id, batch))
        nodes[id]?.lastSynced = batch.token
        for envelope in batch.thenSend { transmit(envelope, from: id) }
        if isReported { step(id, .persisted(through: batch.token)) }
        return true
    }

    /// Reports the latest durable batch (again).
    func reportSynced(_ id: NodeID) {
        guard let token = nodes[id]?.lastSynced else { return }
        step(id, .persisted(through: token))
    }

    func install(_ id: NodeID) {
        guard let metadata = nodes[id]?.installing, nodes[id]?.disk.waiting.isEmpty == true else { return }
        nodes[id]?.installing = nil
        nodes[id]?.disk.install(metadata)
        nodes[id]?.applied = metadata.lastIndex
        step(id, .snapshotInstalled(metadata))
    }

    /// Gives a waiting snapshot up.
    func failInstall(_ id: NodeID) {
        guard let metadata = nodes[id]?.installing else { return }
        nodes[id]?.installing = nil
        step(id, .snapshotInstallFailed(metadata))
    }

    /// Takes a snapshot of what the node has applied.
    func takeSnapshot(_ id: NodeID) {
        guard let node = nodes[id], let consensus = node.consensus, node.installing == nil,
            let metadata = consensus.snapshotMetadata(at: node.applied),
            metadata.lastIndex > (node.disk.snapshot?.lastIndex ?? .zero)
        else { return }
        nodes[id]?.disk.take(metadata)
        step(id, .snapshotTaken(metadata))
    }

    // MARK: Network

    func transmit(_ envelope: Envelope, from sender: NodeID) {
        guard let disk = nodes[sender]?.disk else { return }
        monitor.check(envelope.message, from: sender, to: envelope.to, disk: disk)
        guard !cut.contains(Link(from: sender, to: envelope.to)) else { return }
        network.append(Packet(from: sender, to: envelope.to, message: envelope.message))
    }

    private func sendSnapshot(_ transfer: SnapshotTransfer, from sender: NodeID) {
        let isLost = cut.contains(Link(from: sender, to: transfer.to)) || nodes[transfer.to]?.consensus == nil
        guard !isLost else { return step(sender, .snapshotSendFailed(to: transfer.to)) }
        transmit(Envelope(to: transfer.to, message: .snapshotRequest(transfer.request)), from: sender)
        step(sender, .snapshotSendFinished(to: transfer.to))
    }

    func deliver(_ packet: Packet) {
        guard !cut.contains(Link(from: packet.from, to: packet.to)) else { return }
        step(packet.to, .received(packet.message, from: packet.from))
    }

    /// Delivers what is on its way, and what that brings about, until nothing is. Returns the number of
    /// messages.
    @discardableResult
    func stabilize(limit: Int = 10_000) -> Int {
        var count = 0
        while count < limit, !network.isEmpty {
            deliver(network.removeFirst())
            count += 1
        }
        return count
    }

    /// Separates the groups from each other; nodes in no group keep all their links.
    func partition(_ groups: [[NodeID]]) {
        for (position, group) in groups.enumerated() {
            for other in groups[(position + 1)...] {
                for left in group {
                    for right in other { sever(left, right) }
                }
            }
        }
    }

    func sever(_ left: NodeID, _ right: NodeID) {
        cut.insert(Link(from: left, to: right))
        cut.insert(Link(from: right, to: left))
    }

    func heal() { cut.removeAll() }

    // MARK: Conveniences

    func tickAll(_ count: Int = 1) {
        for _ in 0..<count {
            for id in ids { step(id, .tick) }
            stabilize()
        }
    }

    /// Ticks the node alone until it asks for pre-votes (again) or leads; then its messages are on their way.
    func timeOut(_ id: NodeID) {
        for _ in 0..<(2 * settings.electionTicks) {
            step(id, .tick)
            guard let node = nodes[id]?.consensus, !node.isLeader else { return }
            if node.role.kind != .follower, node.electionElapsed == 0 { return }
        }
    }

    /// Has the node elected, which takes that the others' leases have run out.
    func elect(_ id: NodeID) {
        for other in ids where other != id {
            for _ in 0..<settings.electionTicks where nodes[other]?.consensus?.role.kind == .follower {
                guard let node = nodes[other]?.consensus, node.electionElapsed + 1 < node.electionTimeout
                else { break }
                step(other, .tick)
            }
        }
        timeOut(id)
        stabilize()
    }

    func consensus(_ id: UInt64) -> Consensus? { nodes[NodeID(id)]?.consensus }
    func propose(_ id: UInt64, _ text: String, token: UInt64 = 0) {
        step(NodeID(id), .proposed(Array(text.utf8), token: token))
    }
}
