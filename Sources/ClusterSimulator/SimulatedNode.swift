import ClusterModel
import Gossip
import KeyCatalog
import NodeCore
import Raft

// A node's process: its starts, steps and crashes. Its disk is in SimulatedDisk.swift.

/// One node of the cluster, with its outside. A class, since a copy of it would be dear.
final class SimulatedNode {
    let id: NodeID
    var node: Node?
    /// Counts starts, so that what belongs to an earlier process is recognised.
    var life = 0
    var disk = SimulatedDisk()
    var isPaused = false
    var backlog: [Happening] = []
    /// Percent of true time.
    var clockRate: Int64 = 100
    var clockOrigin: Int64 = 0
    var hosts: [SimulatedHost]
    /// The peers that this node believes to be linked, with the link's generation.
    var linkView: [Int: Int] = [:]
    var clientRequests: [UInt64: Int] = [:]
    var lastRequest: UInt64 = 0
    /// No restart before the end of the run.
    var isGone = false

    init(number: Int, endpoints: Int) {
        id = NodeID(UInt64(number + 1))
        hosts = (0..<endpoints).map { _ in SimulatedHost() }
    }
}

extension Simulation {
    func moment(of number: Int) -> Moment {
        let local = nodes[number].clockOrigin + now * nodes[number].clockRate / 100
        return Moment(
            now: Instant(nanoseconds: local * 1_000), wallClock: 1_800_000_000 + local / 1_000_000)
    }

    private func settings(_ number: Int) -> NodeSettings {
        var settings = NodeSettings(
            id: nodes[number].id, voters: nodes.map(\.id), endpoints: tokens.map(\.name))
        settings.tick = .microseconds(swarm.tick)
        settings.callDeadline = swarm.callDeadline
        settings.generationDeadline = swarm.generationDeadline
        settings.minimumReplicas = swarm.minimumReplicas
        if swarm.snapshotEntries > 0 { settings.snapshotEntries = swarm.snapshotEntries }
        settings.snapshotChunkBytes = swarm.snapshotChunkBytes
        settings.snapshotPatience = swarm.snapshotPatience
        settings.raft.entriesKeptBehindSnapshot = swarm.entriesKept
        return settings
    }

    // MARK: Life and death

    func start(_ number: Int) {
        guard nodes[number].node == nil, !nodes[number].isGone else { return }
        finishInstallation(number)
        let disk = nodes[number].disk
        let recovered = RecoveredState(
            hardState: disk.hardState, entries: disk.log, snapshot: disk.snapshot,
            initialConfiguration: VoterConfiguration(voters: nodes.map(\.id)))
        if let problem = recovered.problem(appliedIndex: disk.catalog.appliedIndex) {
            return fail("node \(nodes[number].id) cannot start from what it wrote: \(problem)")
        }
        let rows = disk.catalog.rows.keys.sorted().compactMap { disk.catalog.rows[$0] }
        let catalog: Catalog
        do {
            catalog = try Catalog(rows: rows)
        } catch {
            return fail("node \(nodes[number].id) cannot read the catalog rows that it wrote: \(error)")
        }
        nodes[number].life += 1
        nodes[number].disk.incarnation += 1
        nodes[number].lastRequest = 0
        nodes[number].linkView = [:]
        nodes[number].isPaused = false
        nodes[number].backlog = []
        let settings = settings(number)
        let raft = Consensus(
            id: settings.id, settings: settings.raft, recovered: recovered,
            appliedIndex: disk.catalog.appliedIndex,
            seed: dice.next())
        nodes[number].node = Node(
            settings: settings, raft: raft, catalog: catalog, appliedIndex: disk.catalog.appliedIndex,
            incarnation: Incarnation(nodes[number].disk.incarnation), seed: dice.next(),
            at: moment(of: number))
        checker.restarted(number, self)
        let life = nodes[number].life
        note(
            "node \(settings.id) starts, life \(life), log from \(disk.firstIndex) to \(disk.lastIndex), rows to \(disk.catalog.appliedIndex)"
        )
        count("start")
        heap.push(.tick(node: number, life: life), at: now + dice.between(1, swarm.tick))
        for peer in nodes.indices where peer != number { tryConnect(number, peer) }
        for endpoint in tokens.indices {
            plan(after: dice.between(1_000, 50_000), "announce") {
                if $0.nodes[number].life == life { $0.announce(number, endpoint) }
            }
        }
    }

    func crash(_ number: Int, restartAfter pause: VirtualTime?) {
        guard nodes[number].node != nil else { return }
        note("node \(nodes[number].id) crashes")
        count("crash")
        loseUnsynced(number)
        nodes[number].node = nil
        nodes[number].isPaused = false
        nodes[number].backlog = []
        for (_, operation) in nodes[number].clientRequests.sorted(by: { $0.key < $1.key }) {
            clientOutcome(operation, nil)
        }
        nodes[number].clientRequests = [:]
        for endpoint in tokens.indices {
            for (_, call) in nodes[number].hosts[endpoint].outstanding {
                if case .logIn = call.request { tokens[endpoint].unknownTries += 1 }
            }
            nodes[number].hosts[endpoint].outstanding = [:]
        }
        for peer in nodes.indices where peer != number { disconnect(number, peer) }
        if let pause { plan(after: pause, "restart") { $0.start(number) } }
    }

    func pause(_ number: Int, for length: VirtualTime) {
        guard nodes[number].node != nil, !nodes[number].isPaused else { return }
        note("node \(nodes[number].id) is paused for \(length / 1_000) ms")
        count("pause")
        nodes[number].isPaused = true
        let life = nodes[number].life
        if length > swarm.linkTimeout {
            plan(after: swarm.linkTimeout, "pause breaks links") { simulation in
                guard simulation.isCurrent(number, life) else { return }
                for peer in simulation.nodes.indices where peer != number {
                    simulation.disconnect(number, peer)
                }
            }
        }
        plan(after: length, "resume") { if $0.isCurrent(number, life) { $0.resume(number) } }
    }

    func resume(_ number: Int) {
        guard nodes[number].isPaused else { return }
        note("node \(nodes[number].id) goes on, \(nodes[number].backlog.count) events waited")
        nodes[number].isPaused = false
        let backlog = nodes[number].backlog
        nodes[number].backlog = []
        for happening in backlog { heap.push(happening, at: now) }
        for peer in nodes.indices where peer != number {
            noticeLink(number, peer)
            tryConnect(number, peer)
        }
    }

    // MARK: Steps

    func step(_ number: Int, _ event: NodeEvent) {
        guard violation == nil else { return }
        var effects = NodeEffects()
        let moment = moment(of: number)
        nodes[number].node?.step(event, at: moment, into: &effects)
        if let bug = options.bug { bug.mangle(&effects, self) }
        checker.stepped(number, effects, self)
        if swarm.crashAtStep > 0, isFaulty {
            stepsUntilCrash -= 1
            if stepsUntilCrash <= 0 {
                stepsUntilCrash = 1 + dice.below(2 * swarm.crashAtStep)
                return crashInStep(number, effects)
            }
        }
        carryOut(number, effects)
    }

    /// The process dies after it has carried out some of the effects.
    private func crashInStep(_ number: Int, _ effects: NodeEffects) {
        var some = NodeEffects()
        let reached = dice.below(5)
        if reached > 0 { some.persist = effects.persist }
        if reached > 1 { some.send = effects.send }
        if reached > 2 {
            some.applied = effects.applied
            some.takeSnapshot = effects.takeSnapshot
            some.installSnapshot = effects.installSnapshot
        }
        if reached > 3 { some.calls = effects.calls }
        carryOut(number, some)
        count("crash in step")
        crash(number, restartAfter: dice.between(50_000, 8_000_000))
    }

    private func carryOut(_ number: Int, _ effects: NodeEffects) {
        if let fatal = effects.fatal { return fail("node \(nodes[number].id) gave up: \(fatal)") }
        handToDisk(number, effects)
        for envelope in effects.send { send(envelope, from: number) }
        for call in effects.calls { make(call, by: number) }
        for (id, reply) in effects.replies {
            guard let operation = nodes[number].clientRequests.removeValue(forKey: id.rawValue) else {
                continue
            }
            clientOutcome(operation, reply)
        }
        if options.isTracing {
            for notice in effects.notices {
                let fields = notice.fields.keys.sorted().map { "\($0)=\(notice.fields[$0] ?? "")" }
                note("node \(nodes[number].id): \(notice.text) \(fields.joined(separator: " "))")
            }
        }
    }
}
