import ClusterModel
import Gossip
import KeyCatalog
import NodeCore
import Raft

// One run: whole nodes (the very code of the daemon's pure floors) in virtual time, with everything around
// them replaced by faulty parts. First a safety phase, in which things go wrong and no promise may be broken;
// then a liveness phase, in which a random majority is healed for good and has to finish all work (the idea
// is that of TigerBeetle's VOPR). Everything follows from the seed.

/// What to run.
public struct SimulationOptions: Sendable {
    /// Decides everything.
    public var seed: UInt64
    /// The length of the safety phase, in virtual time; nil lets the seed draw it.
    public var safetyPhase: Duration?
    /// How long the healed core may take to finish all work.
    public var livenessBound = Duration.seconds(240)
    /// Whether the report holds a readable trace.
    public var isTracing = false
    /// A bug to plant, so that the checkers are checked.
    public var bug: PlantedBug?

    /// A run of the seed with defaults.
    public init(seed: UInt64) { self.seed = seed }
}

/// What came of a run.
public struct SimulationReport: Sendable {
    /// The run's seed.
    public var seed: UInt64
    /// A promise that was broken, in one sentence; nil when none was.
    public var violation: String?
    /// Depends on every happening of the run, in order.
    public var traceHash: UInt64
    /// How much virtual time passed.
    public var virtualTime: Duration
    /// How many things happened.
    public var happenings: Int
    /// How often each kind of operation, fault and outcome occurred.
    public var coverage: [String: Int]
    /// Readable lines, when asked for.
    public var trace: [String]
}

/// One run of a simulated cluster.
public final class Simulation {
    let options: SimulationOptions
    var swarm: Swarm
    var dice: Dice
    var now: VirtualTime = 0
    var heap = EventHeap()
    var nodes: [SimulatedNode] = []
    var tokens: [SimulatedToken] = []
    var network: SimulatedNetwork
    var clients: [SimulatedClient] = []
    var operations: [ClientOperation] = []
    var checker: Checker
    var coverage: [String: Int] = [:]
    var trace: [String] = []
    var traceHash: UInt64 = 0xCBF2_9CE4_8422_2325
    var happenings = 0
    var violation: String?
    /// False once faults have stopped for good.
    var isFaulty = true
    /// When the last effect comes that a call of the safety phase may still have.
    var lastLateEffect: VirtualTime = 0
    var lastFresh: UInt64 = 0
    var lastStore = 0
    var stepsUntilCrash = 0
    var wireSample = 0

    /// Prepares a run.
    public init(_ options: SimulationOptions) {
        self.options = options
        dice = Dice(seed: options.seed &* 0x2545_F491_4F6C_DD1D &+ 1)
        swarm = Swarm(&dice)
        if let length = options.safetyPhase { swarm.safetyPhase = length.wholeNanoseconds / 1_000 }
        network = SimulatedNetwork(nodes: swarm.nodes)
        checker = Checker(nodes: swarm.nodes)
        stepsUntilCrash = swarm.crashAtStep
    }

    /// Runs both phases, until the end or the first violation.
    public func run() -> SimulationReport {
        setUp()
        run(until: swarm.safetyPhase)
        if violation == nil { heal() }
        if violation == nil { converge() }
        return SimulationReport(
            seed: options.seed, violation: violation, traceHash: traceHash,
            virtualTime: .microseconds(now), happenings: happenings, coverage: coverage, trace: trace)
    }

    private func setUp() {
        note("swarm \(swarm)")
        for number in 0..<swarm.endpoints {
            tokens.append(SimulatedToken(number: number))
        }
        for number in 0..<swarm.nodes {
            let node = SimulatedNode(number: number, endpoints: swarm.endpoints)
            node.clockRate = 100 + dice.between(-swarm.clockDriftPercent, swarm.clockDriftPercent)
            node.clockOrigin = dice.between(0, 1_000_000_000_000)
            for endpoint in 0..<swarm.endpoints where dice.chance(swarm.wrongPIN) {
                node.hosts[endpoint].pin = 99
            }
            nodes.append(node)
        }
        for number in 0..<swarm.nodes {
            plan(after: dice.between(0, 500_000), "start") { $0.start(number) }
        }
        for number in 0..<swarm.clients {
            clients.append(SimulatedClient())
            plan(after: dice.between(0, min(3_000_000, swarm.safetyPhase / 2)), "client") {
                $0.clientActs(number)
            }
        }
        if !swarm.strikes.isEmpty { planStrike() }
        plan(after: 1_000_000, "check") { $0.checkRegularly() }
    }

    // MARK: Time

    func plan(after delay: VirtualTime, _ name: String, _ action: @escaping (Simulation) -> Void) {
        heap.push(.action(name, action), at: now + delay)
    }

    func run(until end: VirtualTime) {
        while violation == nil, let next = heap.nextTime, next <= end, let item = heap.pop() {
            now = item.time
            happenings += 1
            happen(item.happening)
        }
        if violation == nil { now = max(now, end) }
    }

    private func happen(_ happening: Happening) {
        if let number = happening.node, nodes[number].isPaused {
            nodes[number].backlog.append(happening)
            return
        }
        switch happening {
        case .tick(let node, let life):
            guard isCurrent(node, life) else { return }
            mix(1, node)
            heap.push(happening, at: now + tickLength(node))
            step(node, .tick)
        case .event(let event, let node, let life):
            guard isCurrent(node, life) else { return }
            mix(2, node)
            step(node, event)
        case .message(let message, let from, let to, let generation):
            guard nodes[to].node != nil else { return }
            guard !swarm.isStream || network.generation(from, to) == generation else { return }
            mix(3, from &* 16 &+ to)
            var message = message
            if options.bug == .answersToAnyLife, case .answer(var answer) = message {
                answer.life = nodes[to].disk.incarnation
                message = .answer(answer)
            }
            step(to, .received(message, from: NodeID(UInt64(from + 1))))
        case .logWritten(let node, let life):
            guard isCurrent(node, life) else { return }
            mix(4, node)
            logWritten(node)
        case .rowsWritten(let node, let life):
            guard isCurrent(node, life) else { return }
            mix(5, node)
            rowsWritten(node)
        case .action(let name, let action):
            mix(6, name.utf8.count)
            action(self)
        }
    }

    func isCurrent(_ node: Int, _ life: Int) -> Bool {
        nodes[node].life == life && nodes[node].node != nil
    }

    private func tickLength(_ node: Int) -> VirtualTime {
        // Timers fire late, never early by the node's own clock.
        swarm.tick * 100 / nodes[node].clockRate + dice.between(0, swarm.tick / 20)
    }

    // MARK: Records

    private func mix(_ kind: Int, _ detail: Int) {
        mix(UInt64(bitPattern: now))
        mix(UInt64(truncatingIfNeeded: kind &* 1_000 &+ detail))
    }

    func mix(_ value: UInt64) { traceHash = (traceHash ^ value) &* 0x0000_0100_0000_01B3 }

    func count(_ name: String) { coverage[name, default: 0] += 1 }

    func note(_ text: @autoclosure () -> String) {
        guard options.isTracing else { return }
        let micros = String(now % 1_000_000 + 1_000_000).dropFirst()
        trace.append("\(now / 1_000_000).\(micros) \(text())")
    }

    func fail(_ text: String) {
        guard violation == nil else { return }
        violation = text
        note("VIOLATION: \(text)")
    }
}
