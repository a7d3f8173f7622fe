import ClusterModel

// What members say to each other. Every message carries news along (SWIM §4.1, piggybacking): statements
// about members and observations of endpoints. A message is small and bounded whatever the size of the
// cluster; what did not fit goes with the next one. Pings and acknowledgements also compare notes: a digest
// for each observing node, so that what got lost is noticed and sent again (anti-entropy, as in Demers et
// al., PODC 1987).

/// Bounds of what gossip sends, keeps and believes.
public enum GossipLimits {
    /// The most members, this node included.
    public static let members = 256
    /// The most statements about members in one message.
    public static let updates = 8
    /// Of these, statements that are only repeated (anti-entropy), in pings and acknowledgements.
    public static let repeatedUpdates = 4
    /// The most observations in one message.
    public static let observations = 24
    /// The most digests in one message.
    public static let digests = 16
    /// The most endpoints that are kept of one node.
    public static let endpointsPerNode = 64
    /// The most accusers that a suspicion names.
    public static let accusers = 4
    /// The most pings that a node makes for others at a time.
    public static let relays = 64
    /// The most suspects that jump the queue of members to be pinged.
    public static let urgentProbes = 8
    /// The most bytes of an endpoint's name.
    public static let endpointNameBytes = 128
    /// The most bytes of an observation's error text.
    public static let errorBytes = 160
    /// No message takes more bytes than this when it is encoded as CBOR; a test holds it to that.
    public static let encodedBytes = 16_384
}

/// A message between two members.
public enum GossipMessage: Hashable, Sendable, Codable {
    /// "Are you there?" Answered with an acknowledgement of the same sequence number.
    case ping(sequence: UInt64, payload: GossipPayload)
    /// "I am", or, from a relay, "it is".
    case acknowledgement(sequence: UInt64, payload: GossipPayload)
    /// "Ping `target` for me": answered with an acknowledgement or a negative acknowledgement.
    case pingRequest(sequence: UInt64, target: NodeID, payload: GossipPayload)
    /// "I am here, but the target has not answered me" (Lifeguard §IV-A): tells the asker that its own links
    /// work.
    case negativeAcknowledgement(sequence: UInt64, payload: GossipPayload)
    /// Only news; not answered, unless it asks for observations.
    case news(payload: GossipPayload)

    /// The news that the message carries.
    public var payload: GossipPayload {
        switch self {
        case .ping(_, let payload), .acknowledgement(_, let payload), .pingRequest(_, _, let payload),
            .negativeAcknowledgement(_, let payload), .news(let payload):
            payload
        }
    }
}

/// The news that a message carries along.
public struct GossipPayload: Hashable, Sendable, Codable {
    /// The sender's own incarnation. A message is its sender's statement that it is alive.
    public var incarnation: Incarnation
    /// True when the sender has not had this receiver's own observations yet and asks for all of them.
    public var wantsObservations: Bool
    /// Statements about members, at most `GossipLimits.updates`; a receiver ignores what is beyond.
    public var updates: [MemberUpdate]
    /// Observations of endpoints, at most `GossipLimits.observations`; a receiver ignores what is beyond.
    public var observations: [EndpointObservation]
    /// Digests of what the sender knows, at most `GossipLimits.digests`; a receiver ignores what is beyond.
    public var digests: [ObservationDigest]

    /// Puts a payload together.
    public init(
        incarnation: Incarnation, wantsObservations: Bool = false, updates: [MemberUpdate] = [],
        observations: [EndpointObservation] = [], digests: [ObservationDigest] = []
    ) {
        self.incarnation = incarnation
        self.wantsObservations = wantsObservations
        self.updates = updates
        self.observations = observations
        self.digests = digests
    }
}
