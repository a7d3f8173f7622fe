import ClusterModel

// What is done to the cluster, drawn from a seed before anything runs: the same seed gives the same plan. Only
// who leads at that moment, and how the machine schedules, differ from run to run.

/// Whom a fault hits.
enum Victim: Hashable, Sendable {
    case leader
    case node(Int)
}

/// One thing that goes wrong, until the round ends.
enum Fault: Hashable, Sendable {
    /// kill -9 of the node and its token hosts, as when a machine dies.
    case killMachine(Victim)
    /// kill -9 of the node alone.
    case killProcess(Victim)
    /// SIGSTOP, later SIGCONT.
    case freeze(Victim)
    /// kill -9 of an endpoint's token hosts on all nodes.
    case killTokenHosts(Int)
    /// All links of the node are cut.
    case isolate(Victim)
    /// Nothing that the node says arrives; it hears everything.
    case mute(Victim)
    /// It hears nothing; what it says arrives.
    case deafen(Victim)
    /// One link of three is cut: two nodes still see each other through the third only.
    case cutPair(Int)
    /// Everything arrives late, in milliseconds.
    case slowLinks(Int)
    /// All connections are reset, and new ones closed as soon as they are accepted.
    case dropLinks(Int)
    /// kill -9 of all nodes, as when the power fails.
    case powerFailure
}

struct ChaosRound: Hashable, Sendable {
    var faults: [Fault]
    /// How long they last.
    var milliseconds: Int
    /// Whether held bytes are thrown away with their connections when the links heal.
    var resetsWhenHealed: Bool
}

enum ChaosPlan {
    static func rounds(_ count: Int, seed: UInt64) -> [ChaosRound] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in round(&generator) }
    }

    private static func round(_ generator: inout SeededGenerator) -> ChaosRound {
        var faults = [fault(&generator)]
        // A second fault meets the first in a third of the rounds.
        if Int.random(in: 0..<3, using: &generator) == 0 { faults.append(fault(&generator)) }
        return ChaosRound(
            faults: faults, milliseconds: Int.random(in: 300...3500, using: &generator),
            resetsWhenHealed: Bool.random(using: &generator))
    }

    private static func fault(_ generator: inout SeededGenerator) -> Fault {
        // Leaders are hit as often as all others together.
        let victim: Victim =
            Bool.random(using: &generator) ? .leader : .node(Int.random(in: 1...3, using: &generator))
        let number = Int.random(in: 0..<3, using: &generator)
        switch Int.random(in: 0..<21, using: &generator) {
        case 0..<4: return .killMachine(victim)
        case 4..<6: return .killProcess(victim)
        case 6..<9: return .freeze(victim)
        case 9..<10: return .killTokenHosts(number)
        case 10..<13: return .isolate(victim)
        case 13..<15: return .mute(victim)
        case 15..<17: return .deafen(victim)
        case 17..<18: return .cutPair(number)
        case 18..<19: return .slowLinks([20, 80, 300][number])
        case 19..<20: return .dropLinks(number)
        default: return .powerFailure
        }
    }
}
