import ClusterModel

// What to believe of whom: merging statements, suspecting, burying, refuting (SWIM §4.2, Lifeguard §IV-B).

extension GossipMachine {
    mutating func receive(
        _ message: GossipMessage, from sender: NodeID, at now: Instant, into effects: inout Effects
    ) {
        // Only configured members are listened to: whoever else has a valid link is none of gossip's
        // business.
        guard peers[sender] != nil else { return }
        let payload = message.payload
        merge(
            MemberUpdate(node: sender, state: .alive, incarnation: payload.incarnation), from: sender,
            at: now,
            into: &effects)
        for update in payload.updates.prefix(GossipLimits.updates) {
            merge(update, from: sender, at: now, into: &effects)
        }
        for observation in payload.observations.prefix(GossipLimits.observations) {
            merge(observation, from: sender, at: now, into: &effects)
        }
        peers.update(sender) { record in
            record.isBehind = payload.incarnation < record.member.incarnation
            guard record.isAskedForObservations else { return }
            record.isAskedForObservations = false
            record.syncedIncarnation = record.member.incarnation
        }
        switch message {
        case .ping(let sequence, _):
            send(
                .acknowledgement(
                    sequence: sequence,
                    payload: self.payload(for: sender, repeating: true, answering: payload.digests)),
                to: sender, into: &effects)
        case .acknowledgement(let sequence, _):
            acknowledged(sequence, from: sender, into: &effects)
            answerDigests(payload.digests, of: sender, into: &effects)
        case .negativeAcknowledgement(let sequence, _): refused(sequence, from: sender)
        case .pingRequest(let sequence, let target, _):
            relayPing(sequence, to: target, for: sender, at: now, into: &effects)
        case .news: break
        }
        if payload.wantsObservations { sendOwnObservations(to: sender, at: now, into: &effects) }
    }

    /// Takes a statement into account that `sender` passed on.
    mutating func merge(
        _ update: MemberUpdate, from sender: NodeID, at now: Instant, into effects: inout Effects
    ) {
        guard update.isCredible else { return }
        guard update.node != id else { return refute(update, at: now, into: &effects) }
        guard let record = peers[update.node] else { return }
        guard update.supersedes(record.member) else {
            if update.state == .suspect, record.member.state == .suspect,
                update.incarnation == record.member.incarnation
            {
                confirm(update.node, by: update.accusers)
            }
            return
        }
        switch update.state {
        case .alive, .left: believe(update, suspicion: nil, into: &effects)
        case .suspect:
            beginSuspicion(
                update, by: update.accusers.isEmpty ? [sender] : update.accusers, at: now, into: &effects)
            probeSoon(update.node)
        case .dead: considerDeath(update, of: record, at: now, into: &effects)
        }
    }

    /// A death notice is believed of a member that has been suspected for a while, and confirms a suspicion
    /// otherwise.
    private mutating func considerDeath(
        _ update: MemberUpdate, of record: MemberRecord, at now: Instant, into effects: inout Effects
    ) {
        // Of a member that is gone already, only the incarnation is news.
        guard record.isLive else { return believe(update, suspicion: nil, into: &effects) }
        if record.member.incarnation == update.incarnation, let suspicion = record.suspicion {
            if suspicion.believesDeath(at: now) {
                return believe(update, suspicion: nil, into: &effects)
            }
            return peers.update(update.node) { $0.suspicion?.confirmDeath() }
        }
        var suspected = update
        suspected.state = .suspect
        beginSuspicion(suspected, by: [], at: now, into: &effects)
        peers.update(update.node) { $0.suspicion?.confirmDeath() }
        probeSoon(update.node)
    }

    /// This node's own ping has failed.
    mutating func suspect(_ node: NodeID, at now: Instant, into effects: inout Effects) {
        guard let record = peers[node] else { return }
        switch record.member.state {
        case .alive:
            beginSuspicion(
                MemberUpdate(node: node, state: .suspect, incarnation: record.member.incarnation), by: [id],
                at: now, into: &effects)
        case .suspect: confirm(node, by: [id])
        case .dead, .left: break
        }
    }

    mutating func buryOverdueSuspects(at now: Instant, into effects: inout Effects) {
        for record in peers.records {
            guard let suspicion = record.suspicion, now >= suspicion.deadline else { continue }
            believe(
                MemberUpdate(node: record.node, state: .dead, incarnation: record.member.incarnation),
                suspicion: nil, into: &effects)
        }
    }

    private mutating func beginSuspicion(
        _ update: MemberUpdate, by accusers: [NodeID], at now: Instant, into effects: inout Effects
    ) {
        var suspicion = Suspicion(startedAt: now, memberCount: liveCount, settings: settings)
        for accuser in accusers.prefix(GossipLimits.accusers) where mayAccuse(accuser, update.node) {
            _ = suspicion.accuse(by: accuser)
        }
        believe(update, suspicion: suspicion, into: &effects)
    }

    private mutating func confirm(_ node: NodeID, by accusers: [NodeID]) {
        var isNews = false
        for accuser in accusers.prefix(GossipLimits.accusers) where mayAccuse(accuser, node) {
            peers.update(node) { record in
                if record.suspicion?.accuse(by: accuser) == true { isNews = true }
            }
        }
        if isNews { announce(node) }
    }

    private func mayAccuse(_ accuser: NodeID, _ node: NodeID) -> Bool {
        accuser != node && (accuser == id || peers[accuser] != nil)
    }

    /// The only place where a belief changes.
    private mutating func believe(
        _ update: MemberUpdate, suspicion: Suspicion?, into effects: inout Effects
    ) {
        guard let record = peers[update.node] else { return }
        let previous = record.member
        let current = Member(node: update.node, state: update.state, incarnation: update.incarnation)
        peers.update(update.node) {
            $0.member = current
            $0.suspicion = suspicion
        }
        let wasLive = previous.state == .alive || previous.state == .suspect
        if !wasLive, current.state == .alive || current.state == .suspect {
            insertIntoProbeOrder(update.node)
        }
        effects.memberChanges.append(MemberChange(previous: previous, current: current))
        if current.incarnation > .unheard { announce(update.node) }
    }

    /// Somebody says something else of this node than that it lives in this incarnation. Either they could
    /// not reach it, or they remember an earlier life that claimed a higher incarnation than this one started
    /// with.
    private mutating func refute(
        _ update: MemberUpdate, at now: Instant, into effects: inout Effects
    ) {
        let isAccusation = update.state != .alive
        guard update.incarnation > incarnation || (isAccusation && update.incarnation == incarnation)
        else { return }
        if isAccusation { localHealth.add(1) }
        let isEarlierLife = update.incarnation > incarnation
        incarnation = update.incarnation.next
        announce(id)
        if isEarlierLife { restampReadings(at: now, into: &effects) }
    }
}
