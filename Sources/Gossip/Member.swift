import ClusterModel

// What gossip says about one member. SWIM (Das, Gupta, Motivala, DSN 2002, §4.2) orders statements by
// incarnation, a number that only the member itself may raise; within one incarnation the graver statement
// wins. Here that order is total, so merging statements is taking a maximum: nodes that have heard the same
// statements hold the same belief, in whatever order they heard them.
//
// Belief is all it is. A member that is dead to gossip has lost nothing by that: it keeps its vote, its log
// and its endpoints. Only a decision in the replicated log takes something out of service.

/// How often a member has had to insist that it is alive. Every start of a node must begin with a higher
/// incarnation than its starts before; only the member itself raises it afterwards.
public struct Incarnation: RawRepresentable, Hashable, Comparable, Sendable, Codable,
    CustomStringConvertible
{
    /// The number. Zero stands for "never heard from".
    public var rawValue: UInt64
    /// Wraps a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Held by a member that has never been heard from. No node runs with it.
    public static let unheard = Incarnation(0)
    /// The highest that is believed. Accusations must stay below it, so that every accusation can be refuted.
    public static let greatest = Incarnation(1 << 62)
    /// The incarnation after this one; `greatest` has none after it and stays.
    public var next: Incarnation { self < .greatest ? Incarnation(rawValue + 1) : .greatest }
    /// Orders incarnations by number.
    public static func < (left: Incarnation, right: Incarnation) -> Bool {
        left.rawValue < right.rawValue
    }
    /// The bare number.
    public var description: String { String(rawValue) }
}

/// What this node believes of a member. A hint for routing and for people, never a decision.
public enum MemberState: String, Hashable, Sendable, Codable, CaseIterable {
    /// It answers, to this node or to another.
    case alive
    /// Someone could not reach it, or nobody has heard from it yet; it may still refute.
    case suspect
    /// It did not refute in time. It is still pinged now and then, and is alive again once it answers.
    case dead
    /// It said that it stops.
    case left

    /// The graver of two statements about the same incarnation wins.
    var gravity: Int {
        switch self {
        case .alive: 0
        case .suspect: 1
        case .dead: 2
        case .left: 3
        }
    }
}

/// A member as one node sees it.
public struct Member: Hashable, Sendable, Codable {
    /// The node.
    public var node: NodeID
    /// What is believed of it.
    public var state: MemberState
    /// The incarnation that the belief is about.
    public var incarnation: Incarnation
    /// Puts a member together.
    public init(node: NodeID, state: MemberState, incarnation: Incarnation) {
        self.node = node
        self.state = state
        self.incarnation = incarnation
    }
}

/// A statement about a member, as it travels.
public struct MemberUpdate: Hashable, Sendable, Codable {
    /// The member that the statement is about.
    public var node: NodeID
    /// What is said of it.
    public var state: MemberState
    /// The incarnation that the statement is about.
    public var incarnation: Incarnation
    /// With `suspect`: who could not reach it, in ascending order, at most `GossipLimits.accusers`. The more
    /// there are, the sooner the suspicion becomes a death (Lifeguard §IV-B).
    public var accusers: [NodeID]
    /// Puts a statement together.
    public init(node: NodeID, state: MemberState, incarnation: Incarnation, accusers: [NodeID] = []) {
        self.node = node
        self.state = state
        self.incarnation = incarnation
        self.accusers = accusers
    }

    /// True when this statement outranks what is believed already.
    public func supersedes(_ member: Member) -> Bool {
        guard incarnation == member.incarnation else { return incarnation > member.incarnation }
        return state.gravity > member.state.gravity
    }

    /// True when the incarnation is one that a correct node can have sent.
    var isCredible: Bool {
        guard incarnation > .unheard else { return false }
        return state == .alive ? incarnation <= .greatest : incarnation < .greatest
    }
}

/// A change in what this node believes of a member.
public struct MemberChange: Hashable, Sendable {
    /// The belief before.
    public var previous: Member
    /// The belief now.
    public var current: Member
    /// Puts a change together.
    public init(previous: Member, current: Member) {
        self.previous = previous
        self.current = current
    }
}
