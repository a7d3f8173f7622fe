import ClusterModel

// How one node finds one endpoint: reachable or not, how fast, how busy. Each node sees an endpoint over its
// own network path and its own token host, so observations are kept per (endpoint, node) and never merged
// here; the leader weighs them. A stamp (incarnation, sequence) made by the observing node orders them: the
// newest wins, however it travelled.

/// How an endpoint looks from one node.
public enum EndpointHealth: String, Hashable, Sendable, CaseIterable {
    /// A value that a newer version sent and this one does not know.
    case unknown
    /// Its token host is being started.
    case starting
    /// It serves, logged in.
    case ready
    /// It answers, but has no session or memory to spare: busy, not broken.
    case busy
    /// It answers, but nobody has logged in yet.
    case notLoggedIn
    /// The PIN was rejected, or could not be read. It is not tried again by itself.
    case credentialError
    /// The module works, but holds no token that matches the selector.
    case tokenMissing
    /// The module could not be loaded.
    case moduleUnavailable
    /// No answer, or answers that say the device is gone.
    case unreachable
}

extension EndpointHealth: Codable {
    /// Reads a raw value; one that this version does not know becomes `unknown`.
    public init(from decoder: any Decoder) throws {
        self = EndpointHealth(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .unknown
    }

    /// Writes the raw value.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// What this node has just found out about one endpoint; the machine adds the stamp.
public struct EndpointReading: Hashable, Sendable {
    /// The endpoint.
    public var endpoint: EndpointName
    /// How it looks.
    public var health: EndpointHealth
    /// A typical call's time in microseconds; 0 when none was measured.
    public var latencyMicroseconds: UInt32
    /// Requests that wait for a session.
    public var queueDepth: UInt32
    /// The last error in one sentence, without secrets; cut to `GossipLimits.errorBytes` bytes of UTF-8.
    public var lastError: String?

    /// Puts a reading together.
    public init(
        endpoint: EndpointName, health: EndpointHealth, latencyMicroseconds: UInt32 = 0,
        queueDepth: UInt32 = 0, lastError: String? = nil
    ) {
        self.endpoint = endpoint
        self.health = health
        self.latencyMicroseconds = latencyMicroseconds
        self.queueDepth = queueDepth
        self.lastError = lastError.map { $0.prefix(utf8Bytes: GossipLimits.errorBytes) }
    }
}

/// One node's view of one endpoint, as it travels.
public struct EndpointObservation: Hashable, Sendable, Codable {
    /// The node that observed.
    public var node: NodeID
    /// The node's incarnation when it observed.
    public var incarnation: Incarnation
    /// Counts the node's observations of all endpoints; rises within an incarnation.
    public var sequence: UInt64
    /// The endpoint observed.
    public var endpoint: EndpointName
    /// How it looks.
    public var health: EndpointHealth
    /// A typical call's time in microseconds; 0 when none was measured.
    public var latencyMicroseconds: UInt32
    /// Requests that wait for a session.
    public var queueDepth: UInt32
    /// The last error in one sentence, without secrets; at most `GossipLimits.errorBytes` bytes of UTF-8.
    public var lastError: String?

    /// Stamps a reading.
    public init(
        _ reading: EndpointReading, node: NodeID, incarnation: Incarnation, sequence: UInt64
    ) {
        self.node = node
        self.incarnation = incarnation
        self.sequence = sequence
        endpoint = reading.endpoint
        health = reading.health
        latencyMicroseconds = reading.latencyMicroseconds
        queueDepth = reading.queueDepth
        lastError = reading.lastError
    }

    /// The observation without its stamp.
    public var reading: EndpointReading {
        EndpointReading(
            endpoint: endpoint, health: health, latencyMicroseconds: latencyMicroseconds,
            queueDepth: queueDepth, lastError: lastError)
    }

    /// True when this observation was made after `other`, which must be of the same node and endpoint.
    public func isNewer(than other: EndpointObservation) -> Bool {
        (incarnation, sequence) > (other.incarnation, other.sequence)
    }

    /// The same observation, with text cut to what the bounds allow; nil when it cannot be kept at all.
    var bounded: EndpointObservation? {
        let name = endpoint.rawValue.utf8.count
        guard name > 0, name <= GossipLimits.endpointNameBytes else { return nil }
        guard incarnation > .unheard, incarnation <= .greatest else { return nil }
        var copy = self
        copy.lastError = lastError.map { $0.prefix(utf8Bytes: GossipLimits.errorBytes) }
        return copy
    }
}

/// Sums up which observations of one node somebody knows. Two who know the same have the same digest.
public struct ObservationDigest: Hashable, Sendable, Codable {
    /// The node that observed.
    public var node: NodeID
    /// The sum of the scrambled stamps, in any order; 0 when none is known.
    public var value: UInt64
    /// Puts a digest together.
    public init(node: NodeID, value: UInt64) {
        self.node = node
        self.value = value
    }
}

extension EndpointReading {
    /// True when the difference should be told at once; latency and queue length can wait for their turn.
    func differsSignificantly(from other: EndpointReading) -> Bool {
        health != other.health || lastError != other.lastError
    }
}

extension String {
    /// The longest prefix of whole characters that takes at most `limit` bytes of UTF-8.
    func prefix(utf8Bytes limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var room = limit
        return String(
            prefix { character in
                room -= character.utf8.count
                return room >= 0
            })
    }
}
