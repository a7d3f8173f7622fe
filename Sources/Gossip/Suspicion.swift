import ClusterModel

// How long a member stays suspected before it counts as dead. Lifeguard (§IV-B) starts with a long time and
// shortens it with each independent accuser, by a logarithm: one slow accuser cannot kill anybody quickly,
// several agreeing ones can. The local health multiplier (§IV-A) is the other half: a node that finds its own
// acknowledgements missing blames itself first and gives the others more time.

/// A running suspicion.
struct Suspicion: Sendable, Hashable {
    /// When this node began to suspect.
    var startedAt: Instant
    /// Who accuses, in ascending order; the first one counts as the accusation, the others as confirmations.
    private(set) var accusers: [NodeID] = []
    /// How long it lasts, with the confirmations so far.
    private var timeout: Duration
    /// How many confirmations shorten it all the way.
    let expectedConfirmations: Int
    /// The shortest and the longest time.
    let minimum: Duration
    let maximum: Duration

    /// A suspicion among `memberCount` members that are not dead, this node and the suspect included.
    init(startedAt: Instant, memberCount: Int, settings: GossipSettings) {
        self.startedAt = startedAt
        let scale = max(1, binaryLogarithm(Double(memberCount)) / Self.binaryLogarithmOfTen)
        minimum = settings.protocolPeriod * (Double(settings.suspicionMinimumPeriods) * scale)
        maximum = settings.protocolPeriod * (Double(settings.suspicionMaximumPeriods) * scale)
        // In a small cluster fewer members exist who could confirm.
        expectedConfirmations = max(0, min(settings.suspicionConfirmations, memberCount - 2))
        timeout = expectedConfirmations == 0 ? minimum : maximum
    }

    /// When the suspect counts as dead.
    var deadline: Instant { startedAt + timeout }

    /// True when a report of the death is to be believed. A report about a member that nobody suspected a
    /// moment ago usually comes out of a healed partition: it gets a chance to refute first.
    func believesDeath(at now: Instant) -> Bool { now - startedAt >= minimum / 2 }

    /// Counts another accuser; false when it counted already or enough are known.
    mutating func accuse(by accuser: NodeID) -> Bool {
        guard accusers.count < min(expectedConfirmations + 1, GossipLimits.accusers) else { return false }
        guard !accusers.contains(accuser) else { return false }
        accusers.append(accuser)
        accusers.sort()
        let confirmations = accusers.count - 1
        guard confirmations > 0 else { return true }
        let share =
            binaryLogarithm(Double(confirmations + 1)) / binaryLogarithm(Double(expectedConfirmations + 1))
        timeout = min(timeout, max(minimum, maximum - (maximum - minimum) * share))
        return true
    }

    /// Somebody has declared the member dead: all the confirmation that there can be.
    mutating func confirmDeath() { timeout = minimum }

    private static let binaryLogarithmOfTen = 3.321_928_094_887_362
}

/// How much this node trusts its own links (Lifeguard's local health multiplier): 0 is full trust.
struct LocalHealth: Sendable, Hashable {
    private(set) var score = 0
    let maximum: Int

    /// What to multiply the node's own periods and timeouts by.
    var multiplier: Int { score + 1 }

    /// Raises (positive) or lowers (negative) the score within its bounds.
    mutating func add(_ delta: Int) { score = max(0, min(maximum, score + delta)) }
}

/// The binary logarithm of a number of at least 1, to 2⁻³⁰. Written out because the standard library has none
/// and the pure targets use no C library.
func binaryLogarithm(_ number: Double) -> Double {
    guard number > 1 else { return 0 }
    var result = Double(number.exponent)
    var mantissa = number.significand
    var bit = 0.5
    for _ in 0..<30 {
        mantissa *= mantissa
        if mantissa >= 2 {
            mantissa /= 2
            result += bit
        }
        bit /= 2
    }
    return result
}
