import ClusterModel
import KeyCatalog
import Raft
import WireFormat

// Between consensus and the catalog: what is proposed, what becomes of it, and what committed entries do.

/// Why something was proposed; decides who hears of the outcome.
enum Purpose: Sendable {
    /// A client waits.
    case client(Ticket)
    /// The saga of one key.
    case key(OperationID)
    /// A copy that has proved itself.
    case copy(Steward.CopyKey)
    /// A step of a change of the members.
    case membership
    /// Upkeep, named so that it is not proposed twice.
    case upkeep(String)
}

struct UncommittedProposal: Sendable {
    var term: Term
    var purpose: Purpose
}

extension Node {
    /// True when this node leads.
    public var isLeader: Bool { raft.role.kind == .leader }

    /// How many voters, this node included, can be reached now.
    public var reachableVoters: Int {
        voters.filter { $0 == settings.id || linkedPeers.contains($0) }.count
    }

    /// True when a majority of the voters can be reached.
    public var reachesMajority: Bool { reachableVoters * 2 > voters.count }

    mutating func linkChanged(_ peer: NodeID, _ isUp: Bool) {
        if isUp { linkedPeers.insert(peer) } else { linkedPeers.remove(peer) }
        if !isUp { rerouteRequests(sentTo: peer) }
    }

    mutating func stepRaft(_ event: Consensus.Event) {
        raft.step(event, into: &raftEffects)
        // What follows from a step may step again (a new leader proposes what waited). The outer call takes
        // those effects in turn, so that entries are applied in the order of the log.
        guard !isTakingRaftEffects else { return }
        isTakingRaftEffects = true
        while !raftEffects.isEmpty {
            let done = raftEffects
            raftEffects = Consensus.Effects()
            takeRaftEffects(done)
        }
        isTakingRaftEffects = false
    }

    private mutating func takeRaftEffects(_ done: Consensus.Effects) {
        effects.persist += done.persist
        effects.send += done.send.map { PeerEnvelope(to: $0.to, message: .raft($0.message)) }
        for (token, outcome) in done.proposals { proposalOutcome(token, outcome) }
        for entry in done.committed { apply(entry) }
        for (token, outcome) in done.reads { readOutcome(token, outcome) }
        if let change = done.roleChange { roleChanged(change) }
        for transfer in done.snapshotNeeded { sendSnapshot(transfer) }
        if let metadata = done.installSnapshot { installSnapshot(metadata) }
    }

    private mutating func roleChanged(_ change: RoleChange) {
        effects.roleChanged = true
        notice(
            .info, "role is now \(change.role.rawValue)",
            ["term": "\(change.term)", "leader": change.leader.map { "\($0)" } ?? "none"])
        if isLeader {
            if steward == nil || steward?.term != raft.term {
                steward = Steward(term: raft.term, at: moment.now)
            }
        } else if steward != nil {
            stepDown()
        }
        rerouteRequests()
    }

    /// Forgets what only a leader does. Clients of this node ask the next leader; other nodes' are told to.
    private mutating func stepDown() {
        let orphaned =
            (steward?.membership.map { [$0.ticket] } ?? []) + (steward?.transfer.map { [$0.ticket] } ?? [])
            + (steward?.waiting ?? []).map(\.ticket)
            + (steward?.waiters ?? [:]).sorted { $0.key < $1.key }.flatMap(\.value)
        steward = nil
        for ticket in orphaned { bounce(ticket) }
        for (_, proposal) in uncommitted.sorted(by: { $0.key < $1.key }) { lost(proposal.purpose) }
        uncommitted = [:]
        for (_, purpose) in proposals.sorted(by: { $0.key < $1.key }) { lost(purpose) }
        proposals = [:]
        for (_, ticket) in reads.sorted(by: { $0.key < $1.key }) { bounce(ticket) }
        reads = [:]
    }

    // MARK: Proposing

    mutating func propose(_ command: CatalogCommand, for purpose: Purpose) {
        let token = ids.next()
        proposals[token] = purpose
        // Commands are values of strings, numbers and bytes: encoding them cannot fail.
        guard let bytes = try? CBOREncoder.encode(command) else { return lost(purpose) }
        stepRaft(.proposed(bytes, token: token))
    }

    private mutating func proposalOutcome(_ token: UInt64, _ outcome: ProposalOutcome) {
        guard let purpose = proposals.removeValue(forKey: token) else { return }
        switch outcome {
        case .appended(let index, let term):
            uncommitted[index] = UncommittedProposal(term: term, purpose: purpose)
        case .rejected:
            lost(purpose)
        }
    }

    /// The proposal may or may not be committed later; whoever waits asks again, which is safe.
    private mutating func lost(_ purpose: Purpose) {
        switch purpose {
        case .client(let ticket): bounce(ticket)
        case .key(let operation): steward?.works[operation]?.isProposing = false
        case .copy(let key): copyProposalEnded(key)
        case .upkeep(let name): steward?.upkeep.remove(name)
        case .membership: membershipStepEnded(.done)
        }
    }

    // MARK: Applying

    private mutating func apply(_ entry: LogEntry) {
        guard entry.index > appliedIndex, effects.fatal == nil else { return }
        var changes: [RowChange] = []
        var outcome = CatalogOutcome.done
        if case .command(let bytes) = entry.payload {
            bytesApplied += bytes.count
            do {
                let command = try CBORDecoder.decode(CatalogCommand.self, from: bytes)
                outcome = catalog.apply(command, term: entry.term, index: entry.index, changes: &changes)
                applied(command, outcome)
            } catch {
                // A newer version proposed what this one cannot read. Skipping it would let catalogs differ.
                effects.fatal = "log entry \(entry.index) cannot be read by this version: upgrade this node"
                return
            }
        }
        if case .configuration(let configuration) = entry.payload {
            changes += membershipApplied(configuration, entry.index)
        }
        appliedIndex = entry.index
        effects.applied.append(AppliedEntry(index: entry.index, term: entry.term, changes: changes))
        if let proposal = uncommitted.removeValue(forKey: entry.index) {
            guard proposal.term == entry.term else { return lost(proposal.purpose) }
            settled(proposal.purpose, outcome)
        }
        if let steward, !steward.isReady, entry.term == steward.term { self.steward?.isReady = true }
    }

    private mutating func settled(_ purpose: Purpose, _ outcome: CatalogOutcome) {
        switch purpose {
        case .client(let ticket): commandSettled(ticket, outcome)
        case .key(let operation):
            steward?.works[operation]?.isProposing = false
            if case .refused(let refusal) = outcome {
                notice(
                    .warning, "the catalog refused a step of a key: \(refusal)", ["operation": "\(operation)"]
                )
            }
        case .copy(let key): copyProposalEnded(key)
        case .membership: membershipStepEnded(outcome)
        case .upkeep(let name): steward?.upkeep.remove(name)
        }
    }

    /// Every node hears of every applied command.
    private mutating func applied(_ command: CatalogCommand, _ outcome: CatalogOutcome) {
        steward?.isDirty = true
        switch command {
        case .clearRejection(let name):
            let isRejected = localEndpoints[name]?.pin == .rejected
            localEndpoints[name]?.mustForgetRejection = isRejected
        case .reportLogin(let name, let node, let result) where result == .rejected || result == .revoked:
            notice(
                .alarm,
                "endpoint \(name): the token rejected the PIN that node \(node) has; nobody tries again until "
                    + "the PIN is corrected and 'hsmcluster endpoints retry-login \(name)' is run",
                ["endpoint": "\(name)"])
        case .setService(let name, let isInService, let reason):
            let word = isInService ? "in service" : "out of service"
            notice(
                isInService ? .info : .warning,
                "endpoint \(name) is \(word)\(reason.map { ": \($0)" } ?? "")",
                ["endpoint": "\(name)"])
        case .registerNode, .forgetNode:
            membersChanged()
        case .drainEndpoint(let name), .enableEndpoint(let name), .removeEndpoint(let name, _):
            guard outcome == .done else { return }
            let record = catalog.endpoints[name]
            notice(
                .info, "endpoint \(name): \(record?.withdrawal?.rawValue ?? "enabled") by an operator",
                ["endpoint": "\(name)"])
            stewardEndpointChanged(name)
        case .activateKey, .failKey:
            guard case .key(let key) = outcome else { return }
            keyFinished(key)
        case .reportOrphan(let endpoint, let identity, let label):
            notice(
                .warning, "orphan on \(endpoint): \(label), an object of an attempt that was given up",
                ["endpoint": "\(endpoint)", "identity": Hex.encode(identity.bytes)])
        default:
            break
        }
    }
}
