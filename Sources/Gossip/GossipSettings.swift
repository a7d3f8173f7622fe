// The time constants of gossip. They trade the time to notice a crash against the risk of suspecting a member
// that is only slow; the defaults suit three to seven nodes in one data centre. Names follow SWIM §4 and
// Lifeguard (Dadgar, Phillips, Currey, DSN 2018).

/// The time constants of gossip.
public struct GossipSettings: Hashable, Sendable {
    /// The time between two pings of a healthy node; each goes to another member.
    public var protocolPeriod = Duration.milliseconds(500)
    /// How long a ping waits for its acknowledgement before others are asked to ping. Well below the period.
    public var pingTimeout = Duration.milliseconds(150)
    /// How many members are asked to ping for us.
    public var indirectProbes = 3
    /// The shortest suspicion, in protocol periods, for up to ten members; grows with the logarithm of their
    /// number.
    public var suspicionMinimumPeriods = 3
    /// The longest suspicion, in protocol periods: that of a single accuser.
    public var suspicionMaximumPeriods = 9
    /// How many more accusers shrink a suspicion to the minimum; at most `GossipLimits.accusers` − 1.
    public var suspicionConfirmations = 3
    /// How far the local health multiplier may slow this node's own pings down (0 turns it off).
    public var localHealthMaximum = 8
    /// The shortest time between two rounds of news.
    public var newsInterval = Duration.milliseconds(100)
    /// How many members get each round of news.
    public var newsFanout = 6
    /// A statement is sent this often times the binary logarithm of the number of members (SWIM §4.1).
    public var retransmissionFactor = 3
    /// Every so many periods one dead member is pinged, so that a healed partition is noticed.
    public var deadProbePeriods = 4
    /// An observation that did not change is stamped anew after this time, so that others see it is current.
    public var observationRefresh = Duration.seconds(10)
    /// An observation that was not stamped anew for this time is forgotten. Several times the refresh.
    public var observationLifetime = Duration.seconds(60)

    /// The defaults.
    public init() {}

    /// Checks that the constants fit together.
    /// - Throws: the first problem found.
    public func validate() throws(GossipSettingsError) {
        guard protocolPeriod > .zero, newsInterval > .zero, pingTimeout > .zero else {
            throw .durationNotPositive
        }
        guard pingTimeout * 2 <= protocolPeriod else { throw .pingTimeoutTooLong }
        guard suspicionMinimumPeriods >= 1, suspicionMaximumPeriods >= suspicionMinimumPeriods else {
            throw .suspicionRangeEmpty
        }
        guard (0..<GossipLimits.accusers).contains(suspicionConfirmations) else {
            throw .tooManyConfirmations
        }
        guard indirectProbes >= 0, localHealthMaximum >= 0, newsFanout >= 1, retransmissionFactor >= 1,
            deadProbePeriods >= 1
        else { throw .countTooSmall }
        guard observationLifetime >= observationRefresh * 2, observationRefresh > .zero else {
            throw .observationLifetimeTooShort
        }
    }
}

/// Why settings do not fit together.
public enum GossipSettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A duration is zero or negative.
    case durationNotPositive
    /// The ping timeout takes more than half of the protocol period.
    case pingTimeoutTooLong
    /// The suspicion's minimum is below 1 or above its maximum.
    case suspicionRangeEmpty
    /// More confirmations than a message can name accusers.
    case tooManyConfirmations
    /// A count is below its least useful value.
    case countTooSmall
    /// An observation would be forgotten before it is refreshed.
    case observationLifetimeTooShort

    /// What to change.
    public var description: String {
        switch self {
        case .durationNotPositive:
            "gossip: protocol period, ping timeout and news interval must be longer than zero"
        case .pingTimeoutTooLong:
            "gossip: set the ping timeout to at most half of the protocol period"
        case .suspicionRangeEmpty:
            "gossip: set the suspicion minimum to at least 1 and not above the maximum"
        case .tooManyConfirmations:
            "gossip: set the suspicion confirmations to 0 to \(GossipLimits.accusers - 1)"
        case .countTooSmall:
            "gossip: fanout, retransmission factor and dead probe periods must be at least 1, other counts 0"
        case .observationLifetimeTooShort:
            "gossip: set the observation lifetime to at least twice the observation refresh"
        }
    }
}
