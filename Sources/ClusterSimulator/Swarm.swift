import ClusterModel
import Gossip
import NodeCore

// Swarm testing (Groce et al., "Swarm Testing", ISSTA 2012; TigerBeetle's simulator does it too): every seed
// draws its own cluster and its own few faults with their rates. A run in which everything goes wrong at once
// explores less than many runs in each of which some things go wrong often.

/// What one seed's run is like. Rates are probabilities; times are microseconds.
struct Swarm {
    var nodes = 3
    var endpoints = 3
    var clients = 3
    var minimumReplicas = 2
    var tick: VirtualTime = 25_000

    /// How long faults come. Many short runs find more than few long ones; some bugs need the long ones.
    var safetyPhase: VirtualTime = 60_000_000

    // Network.
    var delay: ClosedRange<VirtualTime> = 200...1_500
    var isStream = true
    var loss = 0.0
    var duplication = 0.0
    var linkTimeout: VirtualTime = 3_000_000

    // Disk.
    var writeTime: ClosedRange<VirtualTime> = 100...2_000
    var rowsTime: ClosedRange<VirtualTime> = 500...20_000
    var diskStall = 0.0
    /// How often a crash takes what the catalog has not synced.
    var powerCut = 0.0

    // Snapshots; no limit of entries means the nodes' own.
    var snapshotEntries = 0
    var entriesKept = 1_024
    var snapshotChunkBytes = 256 << 10
    var snapshotPatience = Duration.seconds(10)
    var crashInInstall = 0.0

    // Processes.
    var crashAtStep = 0
    var clockDriftPercent: Int64 = 0

    // Endpoints.
    var callTime: ClosedRange<VirtualTime> = 1_000...30_000
    var callFault = 0.0
    var callFaults: [CallFault] = []
    /// How long after its deadline a call may still take effect.
    var lateness: VirtualTime = 60_000_000
    var invisibility: VirtualTime = 0
    var wrongPIN = 0.0

    // What strikes, and how often.
    var strikes: [Strike] = []
    var strikePause: VirtualTime = 5_000_000
    var thinkTime: VirtualTime = 2_000_000

    var callDeadline = Duration.seconds(5)
    var generationDeadline = Duration.seconds(20)

    init() {}

    init(_ dice: inout Dice) {
        safetyPhase = dice.pick([3, 4, 5, 6, 8, 8, 10, 12, 15, 20, 20, 60]) * 1_000_000
        nodes = dice.pick([1, 3, 3, 3, 3, 5, 5])
        endpoints = dice.pick([1, 2, 3, 3, 4])
        clients = 1 + dice.below(4)
        minimumReplicas = 1 + dice.below(min(endpoints, 3))
        tick = dice.pick([25_000, 50_000, 50_000, 100_000])
        delay = dice.pick([100...300, 200...1_500, 1_000...20_000, 200...60_000])
        isStream = dice.chance(0.5)
        if !isStream {
            loss = dice.pick([0, 0, 0.01, 0.1, 0.3])
            duplication = dice.pick([0, 0, 0.02, 0.2])
        }
        linkTimeout = dice.between(1_500_000, 6_000_000)
        writeTime = dice.pick([50...300, 100...2_000, 1_000...30_000])
        rowsTime = dice.pick([500...20_000, 1_000...1_000_000])
        diskStall = dice.pick([0, 0, 0.002, 0.02])
        powerCut = dice.pick([0, 0.5, 1])
        snapshotEntries = dice.pick([0, 3, 10, 30])
        entriesKept = dice.pick([0, 0, 5, 50])
        snapshotChunkBytes = dice.pick([200, 2_000, 256 << 10])
        snapshotPatience = dice.pick([.seconds(10), .seconds(2)])
        crashInInstall = dice.pick([0, 0.2])
        crashAtStep = dice.pick([0, 0, 20_000, 3_000])
        clockDriftPercent = dice.pick([0, 2, 10])
        callTime = dice.pick([500...5_000, 1_000...30_000, 5_000...400_000])
        callFault = dice.pick([0, 0.02, 0.1, 0.3])
        callFaults = CallFault.allCases.filter { _ in dice.chance(0.5) }
        lateness = dice.pick([1_000_000, 5_000_000, 60_000_000])
        invisibility = dice.pick([0, 0, 0, 300_000, 3_000_000])
        wrongPIN = dice.pick([0, 0, 0.1, 0.3])
        strikes = Strike.allCases.filter { _ in dice.chance(0.4) }
        strikePause = dice.pick([500_000, 1_000_000, 4_000_000, 10_000_000])
        thinkTime = dice.pick([200_000, 600_000, 2_000_000, 5_000_000])
        callDeadline = dice.pick([.seconds(5), .seconds(5), .seconds(2)])
        generationDeadline = dice.pick([.seconds(20), .seconds(20), .seconds(8)])
    }
}

/// What can become of a call to an endpoint.
enum CallFault: String, CaseIterable {
    /// Nothing happens, no answer comes.
    case hang
    /// It happens; the answer is lost.
    case replyLost
    /// It happens long after the caller has given up.
    case lateEffect
    /// Nothing happens; the device reports an error.
    case deviceError
    /// It happens; the device reports an error.
    case errorAfterEffect
    /// All sessions are busy.
    case busy
}

/// What strikes a running cluster.
enum Strike: String, CaseIterable {
    case crash
    case crashAll
    case pause
    case isolateNode
    case splitCluster
    case cutOneWay
    case cutOnePair
    case clogLink
    case resetLink
    case tokenAway
    case tokenReplaced
    case killTokenHost
    case diskStall
}
