import ClusterModel
import Gossip
import KeyCatalog
import Raft

// Who belongs to the cluster (Ongaro's dissertation §4). The leader changes the voters one at a time, each change
// an entry of consensus; a client's request may take several entries, and each step looks at what stands already,
// so that the next leader can go on with a request that is asked of it again. A node that is removed gets no
// entries any more, not even the one that removes it, so the others tell it: at once, and whenever it campaigns.

/// A change that a client asks for.
enum MembershipTask: Hashable, Sendable {
    case add(NodeRecord)
    case promote(NodeID)
    case remove(NodeID)

    var node: NodeID {
        switch self {
        case .add(let record): record.id
        case .promote(let node), .remove(let node): node
        }
    }
}

/// A change that this leader works on.
struct MembershipChange: Sendable {
    var task: MembershipTask
    var ticket: Ticket
    var since: Instant
    /// True while a step of it is on its way through the log.
    var isProposing = false
    /// True when this leader has taken a step of it.
    var hasBegun = false
}

extension Node {
    // MARK: Who is who

    /// The voters of the configuration in force, ascending; empty on a node that has not joined yet.
    public var voters: [NodeID] { raft.configuration.voters }

    /// All nodes that this node exchanges messages with: those of its configuration file, those that were
    /// registered, those of the configuration in force.
    public var knownNodes: [NodeID] {
        Set(settings.voters).union(settings.nodes.map(\.id)).union(catalog.nodes.keys)
            .union(raft.configuration.members).union([settings.id]).sorted()
    }

    /// Where the other nodes are reached. What was agreed on goes before what the configuration file says.
    public var peerRecords: [NodeRecord] {
        var records: [NodeID: NodeRecord] = [:]
        for record in settings.nodes { records[record.id] = record }
        for record in catalog.nodes.values { records[record.id] = record }
        return records.values.filter { $0.id != settings.id }.sorted { $0.id < $1.id }
    }

    /// True when this node was a member and is none any more. It does not campaign.
    public var isRemoved: Bool {
        removalNotice != nil || catalog.membership.map { !$0.contains(settings.id) } ?? false
    }

    func isKnown(_ peer: NodeID) -> Bool {
        settings.voters.contains(peer) || catalog.nodes[peer] != nil || raft.configuration.isMember(peer)
            || settings.nodes.contains { $0.id == peer }
    }

    // MARK: Following changes

    /// A configuration entry has been applied.
    mutating func membershipApplied(_ configuration: VoterConfiguration, _ index: LogIndex) -> [RowChange] {
        var changes: [RowChange] = []
        let before = catalog.membership.map { $0.voters + $0.learners } ?? settings.voters
        let membership = Membership(
            voters: configuration.voters, learners: configuration.learners, index: index)
        catalog.apply(membership, changes: &changes)
        notice(
            .info, "the members are now \(membership.summary)", ["index": "\(index)"])
        membersChanged()
        if isLeader {
            for node in before where !membership.contains(node) && node != settings.id { tellRemoved(node) }
        }
        return changes
    }

    /// The catalog's idea of the members, or of where they are, is another one than before.
    mutating func membersChanged() {
        effects.peersChanged = true
        if let notice = removalNotice, let membership = catalog.membership, membership.index > notice,
            membership.contains(settings.id)
        {
            removalNotice = nil
        }
        let members = catalog.membership.map { $0.voters + $0.learners } ?? settings.voters
        stepGossip(.membersChanged(members.isEmpty ? settings.nodes.map(\.id) : members))
        if isRemoved {
            effects.roleChanged = true
            notice(.warning, "this node was removed from the cluster and takes no part any more")
        }
    }

    private mutating func tellRemoved(_ node: NodeID) {
        guard let membership = catalog.membership else { return }
        let removal = RemovalNotice(index: membership.index)
        effects.send.append(PeerEnvelope(to: node, message: .removed(removal)))
    }

    /// A node that campaigns although it was removed does not know it.
    mutating func correctRemovedCampaigner(_ peer: NodeID, _ message: Message) {
        guard let membership = catalog.membership, !membership.contains(peer),
            !raft.configuration.isMember(peer)
        else { return }
        switch message {
        case .preVoteRequest, .voteRequest: tellRemoved(peer)
        default: break
        }
    }

    /// Believes it unless this node knows of a later configuration that contains it.
    mutating func takeRemoval(_ removal: RemovalNotice) {
        guard removal.index > catalog.membership?.index ?? .zero, !isRemoved else { return }
        var index = max(min(removal.index, raft.lastIndex), appliedIndex).next
        while index <= raft.lastIndex {
            if case .configuration(let later)? = raft.entry(at: index)?.payload, later.isMember(settings.id) {
                return
            }
            index = index.next
        }
        removalNotice = removal.index
        membersChanged()
        rerouteRequests()
    }

    // MARK: On the leader

    mutating func change(_ task: MembershipTask, for ticket: Ticket) {
        guard let steward else { return bounce(ticket) }
        if let current = steward.membership {
            return answer(ticket, .refused(.membershipBusy(current.task.node)))
        }
        self.steward?.membership = MembershipChange(task: task, ticket: ticket, since: moment.now)
        self.steward?.isDirty = true
    }

    mutating func advanceMembership() {
        guard let change = steward?.membership else { return forgetStrangers() }
        guard !change.isProposing else { return }
        guard moment.now - change.since <= settings.membershipDeadline else {
            return end(.refused(.timedOut))
        }
        // The members of old come from configuration files; later ones must be able to look them up.
        for record in settings.nodes
        where raft.configuration.isMember(record.id) && catalog.nodes[record.id] == nil {
            return proposeStep(.registerNode(record), isOwn: false)
        }
        switch change.task {
        case .add(let record): advance(adding: record)
        case .promote(let node): advance(promoting: node)
        case .remove(let node): advance(removing: node)
        }
    }

    /// A change that another leader began may have left a record of a node that is no member.
    private mutating func forgetStrangers() {
        guard catalog.membership != nil, isCommitted else { return }
        for node in catalog.nodes.keys.sorted() where !raft.configuration.isMember(node) {
            proposeUpkeep("forget node \(node)", .forgetNode(node))
        }
    }

    private mutating func advance(adding record: NodeRecord) {
        if catalog.nodes[record.id] != record {
            proposeStep(.registerNode(record))
        } else if !raft.configuration.isMember(record.id) {
            proposeStep(raft.configuration.addingLearner(record.id))
        } else if isCommitted {
            end(.done)
        }
    }

    private mutating func advance(promoting node: NodeID) {
        guard raft.configuration.isMember(node) else { return end(.refused(.nodeUnknown(node))) }
        guard !raft.configuration.isVoter(node) else {
            if isCommitted { end(.done) }
            return
        }
        let progress = raft.peers.first { $0.id == node }
        let behind =
            raft.lastIndex.rawValue - min(raft.lastIndex.rawValue, progress?.matchIndex.rawValue ?? 0)
        guard linkedPeers.contains(node), behind <= settings.promotionLag else {
            return end(.refused(.nodeLagging(node, behind: behind)))
        }
        let proposed = raft.configuration.addingVoter(node)
        if let refusal = quorumRefusal(of: proposed) { return end(.refused(refusal)) }
        proposeStep(proposed)
    }

    private mutating func advance(removing node: NodeID) {
        guard raft.configuration.isMember(node) else {
            guard isCommitted else { return }
            guard catalog.nodes[node] != nil else {
                let was = catalog.membership?.former?.contains(node) == true
                let isDone = was || steward?.membership?.hasBegun == true
                return end(isDone ? .done : .refused(.nodeUnknown(node)))
            }
            return proposeStep(.forgetNode(node))
        }
        let proposed = raft.configuration.removing(node)
        if let refusal = quorumRefusal(of: proposed) { return end(.refused(refusal)) }
        proposeStep(proposed)
    }

    /// A change must not leave the cluster without a majority that can be reached.
    func quorumRefusal(of proposed: VoterConfiguration) -> ClientRefusal? {
        let reachable = proposed.voters.filter { $0 == settings.id || linkedPeers.contains($0) }.count
        guard reachable * 2 <= proposed.voters.count else { return nil }
        return .quorumAtRisk(reachable: reachable, voters: proposed.voters.count)
    }

    /// Whether the configuration in force is the one that the catalog has seen committed.
    var isCommitted: Bool {
        guard let membership = catalog.membership else { return true }
        return membership.voters == raft.configuration.voters
            && membership.learners == raft.configuration.learners
    }

    private mutating func proposeStep(_ command: CatalogCommand, isOwn: Bool = true) {
        steward?.membership?.isProposing = true
        if isOwn { steward?.membership?.hasBegun = true }
        propose(command, for: .membership)
    }

    private mutating func proposeStep(_ configuration: VoterConfiguration) {
        steward?.membership?.isProposing = true
        steward?.membership?.hasBegun = true
        let token = ids.next()
        proposals[token] = .membership
        stepRaft(.configurationProposed(configuration, token: token))
    }

    /// A step has been applied, or lost; what stands now decides what is next.
    mutating func membershipStepEnded(_ outcome: CatalogOutcome) {
        steward?.membership?.isProposing = false
        steward?.isDirty = true
        if case .refused(let refusal) = outcome { end(.refused(.catalog(refusal))) }
    }

    private mutating func end(_ reply: ClientReply) {
        guard let change = steward?.membership else { return }
        steward?.membership = nil
        answer(change.ticket, reply)
    }
}

extension Membership {
    /// `1, 2, 3 and learner 4`, for people.
    var summary: String {
        let names = voters.map(\.description).joined(separator: ", ")
        guard !learners.isEmpty else { return names }
        return names + " and, learning, " + learners.map(\.description).joined(separator: ", ")
    }
}

/// "You are no member any more", from one who knows.
public struct RemovalNotice: Hashable, Sendable, Codable {
    /// The committed configuration entry that lacks the receiver.
    public var index: LogIndex
    /// Names the entry.
    public init(index: LogIndex) { self.index = index }
}
