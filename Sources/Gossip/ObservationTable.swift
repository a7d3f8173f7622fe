import ClusterModel

// The newest observation of each endpoint by each node. An observation that was not renewed for its lifetime
// is hidden and no longer passed on, but its stamp stays: otherwise a node that forgot it a little later
// would hand it back, and it would circulate forever.

/// What an observation is about.
struct ObservationKey: Sendable, Hashable, Comparable {
    let node: NodeID
    let endpoint: EndpointName

    static func < (left: ObservationKey, right: ObservationKey) -> Bool {
        (left.node, left.endpoint) < (right.node, right.endpoint)
    }
}

extension EndpointObservation {
    var key: ObservationKey { ObservationKey(node: node, endpoint: endpoint) }
}

/// All observations, at most `GossipLimits.endpointsPerNode` of each node.
struct ObservationTable: Sendable, Hashable {
    /// What storing an observation changed.
    enum Outcome {
        /// It was known, or older than what is known.
        case known
        /// Nothing was known of this endpoint and node.
        case added
        /// Only its stamp, latency or queue length is new.
        case renewed
        /// Health or error changed: worth telling at once.
        case changed
    }

    private struct Entry: Sendable, Hashable {
        var observation: EndpointObservation
        var storedAt: Instant
        var isExpired = false
    }

    /// In ascending order of keys.
    private var entries: [Entry] = []
    private var cursor = 0

    /// The observations that have not expired, by node, then endpoint.
    var current: [EndpointObservation] {
        entries.compactMap { $0.isExpired ? nil : $0.observation }
    }

    /// The observation with this key, if it has not expired.
    subscript(key: ObservationKey) -> EndpointObservation? {
        guard let index = index(of: key), !entries[index].isExpired else { return nil }
        return entries[index].observation
    }

    /// When the observation with this key was stored.
    func storedAt(_ key: ObservationKey) -> Instant? { index(of: key).map { entries[$0].storedAt } }

    /// Keeps `observation` if it is newer than what is known.
    mutating func store(_ observation: EndpointObservation, at now: Instant) -> Outcome {
        let entry = Entry(observation: observation, storedAt: now)
        guard let index = index(of: observation.key) else {
            guard makeRoom(for: observation) else { return .known }
            entries.insert(entry, at: position(of: observation.key))
            return .added
        }
        let old = entries[index]
        guard observation.isNewer(than: old.observation) else { return .known }
        entries[index] = entry
        if old.isExpired || observation.reading.differsSignificantly(from: old.observation.reading) {
            return .changed
        }
        return .renewed
    }

    /// Removes everything that `isUnwanted`.
    mutating func removeAll(where isUnwanted: (ObservationKey) -> Bool) {
        entries.removeAll { isUnwanted($0.observation.key) }
        cursor = 0
    }

    /// Hides what was stored before `limit` by nodes other than `owner`; true when something was hidden.
    mutating func expire(storedBefore limit: Instant, except owner: NodeID) -> Bool {
        var hasExpired = false
        for index in entries.indices
        where !entries[index].isExpired && entries[index].storedAt < limit
            && entries[index].observation.node != owner
        {
            entries[index].isExpired = true
            hasExpired = true
        }
        return hasExpired
    }

    /// Sums up the observations of `node` that have not expired.
    func digest(of node: NodeID) -> UInt64 {
        var sum: UInt64 = 0
        for entry in entries where entry.observation.node == node && !entry.isExpired {
            var generator = SeededGenerator(
                seed: entry.observation.incarnation.rawValue &* 0x9E37_79B9_7F4A_7C15
                    &+ entry.observation.sequence)
            sum &+= generator.next()
        }
        return sum
    }

    /// The next observations in a round that visits all, at most `limit` of those that are `eligible`.
    mutating func rotate(
        _ limit: Int, where eligible: (ObservationKey) -> Bool
    ) -> [EndpointObservation] {
        var chosen: [EndpointObservation] = []
        for _ in 0..<entries.count where chosen.count < limit {
            cursor = (cursor + 1) % entries.count
            let entry = entries[cursor]
            if !entry.isExpired, eligible(entry.observation.key) { chosen.append(entry.observation) }
        }
        return chosen
    }

    /// Frees a place for one more endpoint of the same node, giving up its oldest; false when this one is the
    /// oldest.
    private mutating func makeRoom(for observation: EndpointObservation) -> Bool {
        let siblings = entries.indices.filter { entries[$0].observation.node == observation.node }
        guard siblings.count >= GossipLimits.endpointsPerNode else { return true }
        let oldest = siblings.min { entries[$1].observation.isNewer(than: entries[$0].observation) }
        guard let oldest, observation.isNewer(than: entries[oldest].observation) else { return false }
        entries.remove(at: oldest)
        return true
    }

    private func index(of key: ObservationKey) -> Int? {
        let position = position(of: key)
        guard position < entries.count, entries[position].observation.key == key else { return nil }
        return position
    }

    private func position(of key: ObservationKey) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].observation.key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
