import ClusterModel
import Gossip
import KeyCatalog
import Raft

// Every bound and every time of a node in one place, so that the simulator can draw them and an operator can
// find them. The defaults suit three to five nodes on one network.

/// What a node is told about itself and its cluster. Times are durations on the node's own monotonic clock;
/// Raft counts ticks of `tick`.
public struct NodeSettings: Sendable {
    /// This node.
    public var id: NodeID
    /// The founding voters, this node included; empty on a node that joins a running cluster.
    public var voters: [NodeID]
    /// The endpoints that the configuration names.
    public var endpoints: [EndpointName]
    /// Where the nodes of the configuration file are reached.
    public var nodes: [NodeRecord] = []
    /// How many verified replicas a key needs, unless its key store says otherwise.
    public var minimumReplicas = 2
    /// How many replicas stay wrappable, unless the key store says otherwise.
    public var repairSources = 2
    /// The time between two `.tick` events.
    public var tick = Duration.milliseconds(25)
    /// Election and replication.
    public var raft = RaftSettings()
    /// Membership.
    public var gossip = GossipSettings()
    /// The deadline of one call to an endpoint: also the longest that a call may still take effect.
    public var callDeadline = Duration.seconds(5)
    /// How long a leader tries to finish one key before it gives it up.
    public var generationDeadline = Duration.seconds(20)
    /// How long a client's request may take before it is answered with `pending` or `timedOut`.
    public var requestDeadline = Duration.seconds(28)
    /// How long a request waits for a leader while a majority can be reached.
    public var leaderPatience = Duration.seconds(3)
    /// Once the minimum stands, how long the leader still waits for the other endpoints.
    public var replicaGrace = Duration.seconds(2)
    /// How long the origin of a generated key may be away before another attempt is made elsewhere.
    public var originPatience = Duration.seconds(4)
    /// The time between two scans of an endpoint by the reconciler.
    public var reconcilePeriod = Duration.seconds(10)
    /// How long a majority must see an endpoint fail before the view takes it out.
    public var serviceGrace = Duration.seconds(3)
    /// How long an unanswered permission to try a PIN stands.
    public var loginClaimLife = Duration.seconds(45)
    /// The first and the longest pause between two tries of a failed step on an endpoint.
    public var retryPause = Duration.milliseconds(250)
    /// The longest pause between two tries of a failed step.
    public var longestRetryPause = Duration.seconds(10)
    /// The most requests that wait on this node at once.
    public var pendingRequests = 4_096
    /// How long a change of the members may take.
    public var membershipDeadline = Duration.seconds(10)
    /// The time between two questions of a node that has lost its votes.
    public var rejoinPeriod = Duration.milliseconds(500)
    /// How many entries a learner may lack and still be promoted.
    public var promotionLag: UInt64 = 64
    /// After how many applied entries the log is cut off.
    public var snapshotEntries = 4_096
    /// After how many bytes of applied commands the log is cut off, when that comes first.
    public var snapshotBytes = 16 << 20
    /// About the size of one chunk of a snapshot; a larger row makes a larger chunk.
    public var snapshotChunkBytes = 256 << 10
    /// The largest snapshot that is taken in.
    public var snapshotLimit = 256 << 20
    /// After how long an unanswered chunk is sent again.
    public var snapshotResend = Duration.milliseconds(500)
    /// How long a transfer may go without getting on before it is given up.
    public var snapshotPatience = Duration.seconds(10)
    /// The most copies under way to one endpoint.
    public var copiesPerEndpoint = 4

    /// Settings with defaults for all but the cluster itself.
    public init(id: NodeID, voters: [NodeID], endpoints: [EndpointName]) {
        self.id = id
        self.voters = voters.sorted()
        self.endpoints = endpoints.sorted()
    }
}
