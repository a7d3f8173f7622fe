// A cluster under random attack, wholly decided by one seed: messages are lost, delayed, repeated and
// reordered; links are cut one way or both; nodes stop for a while, or crash and forget what was not synced;
// disks lag; voters come and go. The rates are themselves drawn from the seed, so that some runs are stormy
// in one respect only (swarm testing: Groce et al., ISSTA 2012). Afterwards everything heals, and the cluster
// must agree and go on.

import ClusterModel

@testable import Raft

/// One seeded run.
final class Torture {
    struct Rates {
        var loss = 0.0
        var repetition = 0.0
        var maxDelay = 0
        var crash = 0.0
        var diskLag = 0.0
        var cut = 0.0
        var pause = 0.0
        var snapshot = 0.0
        var transfer = 0.0
        var configuration = 0.0
        var proposal = 0.0
        var read = 0.0
        var damage = 0.0
    }

    /// What happened, to prove that the generator has no blind spot.
    struct Coverage {
        var elections = 0
        var committed = 0
        var reads = 0
        var crashes = 0
        var truncations = 0
        var snapshotsInstalled = 0
        var configurations = 0
        var transfers = 0
        var pauses = 0
        var damages = 0
        var losses = 0

        mutating func add(_ other: Coverage) {
            elections += other.elections
            committed += other.committed
            reads += other.reads
            crashes += other.crashes
            truncations += other.truncations
            snapshotsInstalled += other.snapshotsInstalled
            configurations += other.configurations
            transfers += other.transfers
            pauses += other.pauses
            damages += other.damages
            losses += other.losses
        }
    }

    let cluster: SimulatedCluster
    private(set) var coverage = Coverage()
    private let rates: Rates
    private var random: SeededGenerator
    private var now = 0
    private var onTheWay: [(due: Int, packet: Packet)] = []
    private var nextToken: UInt64 = 1
    /// Processes that are stopped, and until when. They neither tick nor receive nor write; the world goes
    /// on.
    private var stopped: [NodeID: Int] = [:]

    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var settings = RaftSettings(
            heartbeatTicks: Int.random(in: 1...2, using: &random),
            electionTicks: Int.random(in: 4...10, using: &random))
        settings.maxEntriesPerAppend = Int.random(in: 1...8, using: &random)
        settings.maxInflightAppends = Int.random(in: 1...6, using: &random)
        settings.entriesKeptBehindSnapshot = Int.random(in: 0...4, using: &random)
        settings.maxUncommittedBytes = 400
        let size = [1, 2, 3, 3, 3, 3, 5].randomElement(using: &random) ?? 3
        cluster = SimulatedCluster(UInt64(size), settings: settings, seed: seed)
        func rate(_ most: Double, in share: Double) -> Double {
            guard Double.random(in: 0..<1, using: &random) < share else { return 0 }
            return Double.random(in: 0..<most, using: &random)
        }
        var rates = Rates()
        rates.loss = rate(0.3, in: 0.6)
        rates.repetition = rate(0.2, in: 0.5)
        rates.maxDelay = Bool.random(using: &random) ? Int.random(in: 1...12, using: &random) : 1
        rates.crash = rate(0.02, in: 0.6)
        rates.diskLag = rate(0.9, in: 0.6)
        rates.cut = rate(0.05, in: 0.6)
        rates.pause = rate(0.02, in: 0.5)
        rates.snapshot = rate(0.05, in: 0.6)
        rates.transfer = rate(0.03, in: 0.4)
        rates.configuration = rate(0.25, in: 0.4)
        rates.proposal = 0.05 + rate(0.6, in: 0.8)
        rates.read = rate(0.3, in: 0.7)
        // With fewer voters, or while they change, a damaged disk is one failure too many to go on.
        if size >= 3, rates.configuration == 0, Bool.random(using: &random) {
            rates.damage = 0.9
            rates.crash = max(rates.crash, 0.01)
        }
        self.rates = rates
        self.random = random
        for id in cluster.ids { cluster.nodes[id]?.isDiskHeld = rates.diskLag > 0 }
        cluster.tell = { [unowned self] note in observe(note) }
    }

    private func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &random) < probability
    }

    private func observe(_ note: SimulatedCluster.Note) {
        switch note {
        case .role(_, let change) where change.role == .leader: coverage.elections += 1
        case .wrote(_, let batch) where batch.truncateFrom != nil: coverage.truncations += 1
        case .installing: coverage.snapshotsInstalled += 1
        case .applied(_, let entry):
            if case .configuration = entry.payload { coverage.configurations += 1 }
        default: break
        }
    }

    // MARK: The storm

    func run(ticks: Int) {
        for _ in 0..<ticks where cluster.monitor.violations.isEmpty {
            oneTick()
            if now % 50 == 0 { cluster.monitor.checkLogMatching(cluster.running) }
        }
        cluster.monitor.checkLogMatching(cluster.running)
        coverage.committed += cluster.monitor.committed.count
        coverage.reads += cluster.monitor.answeredReads
    }

    private func oneTick() {
        now += 1
        stopAndWake()
        for id in cluster.ids where stopped[id] == nil && !chance(0.05) { cluster.step(id, .tick) }
        disturb()
        useCluster()
        syncDisks()
        moveMessages()
    }

    /// A process that wakes acts on what it believes before anybody can tell it better.
    private func stopAndWake() {
        for id in cluster.ids {
            if let until = stopped[id] {
                guard until <= now else { continue }
                stopped[id] = nil
                nextToken += 1
                cluster.step(id, .readRequested(token: nextToken))
                cluster.step(id, .proposed(Array("\(nextToken)".utf8), token: nextToken))
            } else if chance(rates.pause) {
                coverage.pauses += 1
                stopped[id] = now + Int.random(in: 5...40, using: &random)
            }
        }
    }

    private func disturb() {
        for id in cluster.ids {
            if cluster.nodes[id]?.consensus == nil {
                if chance(0.1) { cluster.start(id) }
            } else if chance(rates.crash) {
                coverage.crashes += 1
                stopped[id] = nil
                cluster.crash(id, forgetting: Int.random(in: 0...3, using: &random))
                if chance(rates.damage) { damage(id) }
            }
            if stopped[id] == nil, chance(rates.snapshot) { cluster.takeSnapshot(id) }
        }
        guard chance(rates.cut) else { return }
        if chance(0.4) { return cluster.heal() }
        let shuffled = cluster.ids.shuffled(using: &random)
        if chance(0.4) {
            let size = Int.random(in: 0...shuffled.count, using: &random)
            cluster.partition([Array(shuffled.prefix(size)), Array(shuffled.dropFirst(size))])
        } else if shuffled.count > 1 {
            cluster.cut.insert(SimulatedCluster.Link(from: shuffled[0], to: shuffled[1]))
            if chance(0.5) { cluster.cut.insert(SimulatedCluster.Link(from: shuffled[1], to: shuffled[0])) }
        }
    }

    /// One disk at a time has unreadable entries, or an unreadable state.
    private func damage(_ id: NodeID) {
        let others = cluster.ids.filter { $0 != id }
        guard let disk = cluster.nodes[id]?.disk,
            others.allSatisfy({ other in
                cluster.nodes[other]?.disk.hardState.lostEnd == nil
                    && cluster.nodes[other]?.consensus?.isUnderRepair != true
            })
        else { return }
        let bad = Set(disk.entries.map(\.index).filter { _ in chance(0.2) })
        let findings = cluster.damage(id, entries: bad, losesState: chance(0.2))
        coverage.damages += findings.isEmpty ? 0 : 1
        if cluster.nodes[id]?.disk.hardState.lostEnd != nil { coverage.losses += 1 }
    }

    private func useCluster() {
        guard let id = cluster.ids.randomElement(using: &random) else { return }
        let target = cluster.leaders.randomElement(using: &random)?.id ?? id
        guard stopped[target] == nil else { return }
        nextToken += 1
        if chance(rates.proposal) {
            cluster.step(target, .proposed(Array("\(nextToken)".utf8), token: nextToken))
        }
        if chance(rates.read) { cluster.step(target, .readRequested(token: nextToken)) }
        if chance(rates.transfer), target != id {
            coverage.transfers += 1
            cluster.step(target, .transferRequested(to: id))
        }
        if chance(rates.configuration) { changeConfiguration(through: target) }
    }

    private func changeConfiguration(through leader: NodeID) {
        guard let present = cluster.nodes[leader]?.consensus?.configuration else { return }
        let largest: UInt64 = 6
        let id = NodeID(UInt64.random(in: 1...largest, using: &random))
        if cluster.nodes[id] == nil {
            cluster.add(id, initial: VoterConfiguration(voters: []))
            cluster.nodes[id]?.isDiskHeld = rates.diskLag > 0
        }
        let wanted =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: present.addingVoter(id)
            case 1: present.addingLearner(id)
            default: present.removing(id)
            }
        cluster.step(leader, .configurationProposed(wanted, token: nextToken))
    }

    private func syncDisks() {
        for id in cluster.ids where rates.diskLag > 0 && stopped[id] == nil && !chance(rates.diskLag) {
            while !chance(0.3), cluster.syncOne(id, isReported: chance(0.7)) {}
            if chance(0.5) { cluster.reportSynced(id) }
            if chance(0.2) { cluster.install(id) } else if chance(0.05) { cluster.failInstall(id) }
        }
    }

    private func moveMessages() {
        accept()
        onTheWay.shuffle(using: &random)
        let due = onTheWay.filter { $0.due <= now }
        onTheWay.removeAll { $0.due <= now }
        for (_, packet) in due {
            if let until = stopped[packet.to] {
                onTheWay.append((until, packet))
            } else {
                cluster.deliver(packet)
                accept()
            }
        }
    }

    private func accept() {
        for packet in cluster.network {
            if chance(rates.loss) { continue }
            repeat {
                let delay = rates.maxDelay > 1 ? Int.random(in: 1...rates.maxDelay, using: &random) : 1
                onTheWay.append((now + delay, packet))
            } while chance(rates.repetition)
        }
        cluster.network.removeAll()
    }

    // MARK: The calm

    /// Heals everything and demands that the cluster elects one leader and brings all its members to one
    /// state. Returns what is wrong, or nil.
    func recover() -> String? {
        cluster.heal()
        for (_, packet) in onTheWay { cluster.network.append(packet) }
        onTheWay.removeAll()
        stopped.removeAll()
        for id in cluster.ids {
            cluster.nodes[id]?.isDiskHeld = false
            cluster.start(id)
            cluster.sync(id)
            cluster.reportSynced(id)
        }
        cluster.tickAll(20 * cluster.settings.electionTicks)
        guard let leader = cluster.leaders.max(by: { $0.term < $1.term }) else { return "no leader" }
        cluster.step(leader.id, .proposed([1], token: 1_000_000))
        cluster.stabilize()
        cluster.tickAll(4 * cluster.settings.electionTicks)
        guard let last = cluster.nodes[leader.id]?.consensus else { return "leader is gone" }
        guard last.isLeader, last.commitIndex == last.lastIndex else { return "leader does not commit" }
        for member in last.configuration.members {
            guard let node = cluster.nodes[member]?.consensus else { return "\(member) is not there" }
            guard node.deliveredIndex == last.lastIndex else {
                return "\(member) delivered \(node.deliveredIndex) of \(last.lastIndex)"
            }
        }
        return nil
    }
}
