import ClusterModel

// The other members, in ascending order of their numbers: iteration must not depend on hash seeds, and a
// search in a sorted array of a few members beats a dictionary.

/// What this node keeps of one other member.
struct MemberRecord: Sendable, Hashable {
    /// The belief.
    var member: Member
    /// Present exactly while the member is suspect.
    var suspicion: Suspicion?
    /// The incarnation whose observations this node has asked for and heard an answer to.
    var syncedIncarnation: Incarnation?
    /// True when the question has been sent and nothing has come since.
    var isAskedForObservations = false
    /// True when its last message claimed a lower incarnation than it is known to have had: it has forgotten.
    var isBehind = false
    /// When this node last sent all its own observations there.
    var answeredAt: Instant?

    var node: NodeID { member.node }
    var isLive: Bool { member.state == .alive || member.state == .suspect }
    var needsObservations: Bool { syncedIncarnation != member.incarnation }

    /// The belief as a statement; nil for a member that was never heard from, of which there is nothing to
    /// say.
    var update: MemberUpdate? {
        guard member.incarnation > .unheard else { return nil }
        return MemberUpdate(
            node: node, state: member.state, incarnation: member.incarnation,
            accusers: suspicion?.accusers ?? [])
    }

    /// A configured member that nobody has heard from.
    init(unheard node: NodeID, suspicion: Suspicion) {
        member = Member(node: node, state: .suspect, incarnation: .unheard)
        self.suspicion = suspicion
    }
}

/// All other members.
struct MemberTable: Sendable, Hashable {
    private(set) var records: [MemberRecord] = []
    private var cursor = 0

    /// The record of `node`, if it is a member.
    subscript(node: NodeID) -> MemberRecord? {
        let position = position(of: node)
        guard position < records.count, records[position].node == node else { return nil }
        return records[position]
    }

    /// Changes the record of `node` in place; does nothing when it is no member.
    mutating func update(_ node: NodeID, _ change: (inout MemberRecord) -> Void) {
        let position = position(of: node)
        guard position < records.count, records[position].node == node else { return }
        change(&records[position])
    }

    /// Changes every record in place, in ascending order.
    mutating func updateAll(_ change: (inout MemberRecord) -> Void) {
        for index in records.indices { change(&records[index]) }
    }

    /// Adds a member that is not there yet.
    mutating func insert(_ record: MemberRecord) {
        records.insert(record, at: position(of: record.node))
    }

    /// Removes all members but those in `nodes`, which must be in ascending order.
    mutating func retain(_ nodes: [NodeID]) {
        records.removeAll { !nodes.contains($0.node) }
        cursor = 0
    }

    /// The next records in a round that visits all, at most `limit` of those that are `eligible`.
    mutating func rotate(_ limit: Int, where eligible: (MemberRecord) -> Bool) -> [MemberRecord] {
        var chosen: [MemberRecord] = []
        for _ in 0..<records.count where chosen.count < limit {
            cursor = (cursor + 1) % records.count
            if eligible(records[cursor]) { chosen.append(records[cursor]) }
        }
        return chosen
    }

    private func position(of node: NodeID) -> Int {
        var low = 0
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if records[middle].node < node { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
