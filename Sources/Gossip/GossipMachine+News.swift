import ClusterModel

// Passing news on. SWIM (§4.1) lets news ride on pings; like memberlist this machine also sends news by
// itself, in rounds, when something changed, so that three to seven nodes know within one period. What got
// lost is made good with the pings: statements are repeated in turn, observations are compared by digests. In
// the end all know all.

extension GossipMachine {
    /// True when something should not wait for a ping to carry it.
    var hasUrgentNews: Bool { updateQueue.hasUrgent || observationQueue.hasUrgent }

    /// The earliest time of the next round of news; nil when there has been none.
    var newsDueAt: Instant? { lastNewsAt.map { $0 + settings.newsInterval } }

    /// Tells the others what is believed of `node`.
    mutating func announce(_ node: NodeID) {
        updateQueue.add(node, budget: retransmissions, isUrgent: true)
    }

    mutating func sendNews(at now: Instant, into effects: inout Effects) {
        lastNewsAt = now
        let live = peers.records.filter(\.isLive).map(\.node)
        var hasSent = false
        for peer in sample(live, settings.newsFanout) {
            let payload = payload(for: peer)
            guard !payload.updates.isEmpty || !payload.observations.isEmpty else { continue }
            hasSent = true
            send(.news(payload: payload), to: peer, into: &effects)
        }
        // What nobody may be told (a member's own observations to itself) must not cause rounds for ever.
        guard !hasSent else { return }
        updateQueue.becomePatient()
        observationQueue.becomePatient()
    }

    /// The news for `peer`. `repeating` adds what was told before, and digests; `answering` adds observations
    /// where the peer's digests differ from this node's. Carries just the observations that are `given`, if
    /// any are.
    mutating func payload(
        for peer: NodeID, repeating: Bool = false, answering digests: [ObservationDigest] = [],
        given: [EndpointObservation]? = nil
    ) -> GossipPayload {
        var payload = GossipPayload(incarnation: incarnation, observations: given ?? [])
        fillUpdates(of: &payload, for: peer, repeating: repeating)
        if given == nil { fillObservations(of: &payload, for: peer, answering: digests) }
        if repeating { payload.digests = nextDigests() }
        if peers[peer]?.needsObservations == true {
            payload.wantsObservations = true
            peers.update(peer) { $0.isAskedForObservations = true }
        }
        return payload
    }

    private mutating func fillUpdates(
        of payload: inout GossipPayload, for peer: NodeID, repeating: Bool
    ) {
        // A member that is doubted hears so first, so that it can refute (Lifeguard §IV-C, the buddy system);
        // likewise one that has forgotten its incarnation.
        if let record = peers[peer], record.member.state != .alive || record.isBehind,
            let update = record.update
        {
            payload.updates.append(update)
        }
        if hasLeft { payload.updates.append(statement(about: id)) }
        let due = updateQueue.take(GossipLimits.updates - payload.updates.count) { $0 != peer }
        payload.updates += due.compactMap { $0 == id ? statement(about: id) : peers[$0]?.update }
        guard repeating else { return }
        let room = min(GossipLimits.repeatedUpdates, GossipLimits.updates - payload.updates.count)
        let more = peers.rotate(room) {
            $0.node != peer && $0.update != nil && !due.contains($0.node)
        }
        payload.updates += more.compactMap(\.update)
    }

    private mutating func fillObservations(
        of payload: inout GossipPayload, for peer: NodeID, answering digests: [ObservationDigest]
    ) {
        let due = observationQueue.take(GossipLimits.observations) { $0.node != peer }
        payload.observations = due.compactMap { table[$0] }
        let differing = differingNodes(digests)
        guard !differing.isEmpty else { return }
        payload.observations += table.rotate(GossipLimits.observations - payload.observations.count) {
            $0.node != peer && differing.contains($0.node) && !due.contains($0)
        }
    }

    /// Digests of as many members as fit, the next ones first.
    private mutating func nextDigests() -> [ObservationDigest] {
        let all = [id] + configured
        let count = min(all.count, GossipLimits.digests)
        let chosen = (0..<count).map { all[(digestCursor + $0) % all.count] }
        digestCursor = (digestCursor + count) % all.count
        return chosen.map { ObservationDigest(node: $0, value: table.digest(of: $0)) }
    }

    /// The nodes of whose observations the sender of `digests` knows others than this node.
    private func differingNodes(_ digests: [ObservationDigest]) -> Set<NodeID> {
        Set(
            digests.prefix(GossipLimits.digests).filter { table.digest(of: $0.node) != $0.value }.map(\.node))
    }

    /// The second half of an exchange of digests: whoever pinged has read those in the acknowledgement.
    mutating func answerDigests(
        _ digests: [ObservationDigest], of peer: NodeID, into effects: inout Effects
    ) {
        guard !digests.isEmpty else { return }
        let payload = payload(for: peer, answering: digests)
        guard !payload.observations.isEmpty else { return }
        send(.news(payload: payload), to: peer, into: &effects)
    }

    private func statement(about own: NodeID) -> MemberUpdate {
        MemberUpdate(node: own, state: hasLeft ? .left : .alive, incarnation: incarnation)
    }

    /// λ·⌈log₂(n+1)⌉ for n members.
    private var retransmissions: Int {
        let count = peers.records.count + 1
        return settings.retransmissionFactor * (Int.bitWidth - count.leadingZeroBitCount)
    }

    mutating func send(_ message: GossipMessage, to peer: NodeID, into effects: inout Effects) {
        effects.send.append(Envelope(to: peer, message: message))
    }
}

// MARK: - Observations

extension GossipMachine {
    mutating func observe(
        _ values: [EndpointReading], at now: Instant, into effects: inout Effects
    ) {
        var observed: Set<EndpointName> = []
        readings = values.filter {
            (1...GossipLimits.endpointNameBytes).contains($0.endpoint.rawValue.utf8.count)
                && observed.count < GossipLimits.endpointsPerNode && observed.insert($0.endpoint).inserted
        }
        let forgotten = table.current.contains { $0.node == id && !observed.contains($0.endpoint) }
        if forgotten {
            let own = id
            table.removeAll { $0.node == own && !observed.contains($0.endpoint) }
            effects.observationsChanged = true
        }
        stampReadings(at: now, into: &effects)
    }

    /// Publishes what is worth it: a changed health or error at once, changed numbers once a period, the
    /// unchanged as often as it takes to look current.
    mutating func stampReadings(at now: Instant, into effects: inout Effects) {
        for reading in readings {
            let key = ObservationKey(node: id, endpoint: reading.endpoint)
            guard let old = table[key], let stampedAt = table.storedAt(key) else {
                stamp(reading, isSignificant: true, at: now, into: &effects)
                continue
            }
            if reading.differsSignificantly(from: old.reading) {
                stamp(reading, isSignificant: true, at: now, into: &effects)
            } else if now - stampedAt
                >= (reading != old.reading ? settings.protocolPeriod : settings.observationRefresh)
            {
                stamp(reading, isSignificant: false, at: now, into: &effects)
            }
        }
    }

    private mutating func stamp(
        _ reading: EndpointReading, isSignificant: Bool, at now: Instant, into effects: inout Effects
    ) {
        observationSequence += 1
        let observation = EndpointObservation(
            reading, node: id, incarnation: incarnation, sequence: observationSequence)
        _ = table.store(observation, at: now)
        let once = min(settings.newsFanout, peers.records.count)
        observationQueue.add(
            observation.key, budget: isSignificant ? max(once, retransmissions) : once, isUrgent: true)
        effects.observationsChanged = true
    }

    /// Takes an observation into account that `sender` passed on.
    mutating func merge(
        _ received: EndpointObservation, from sender: NodeID, at now: Instant, into effects: inout Effects
    ) {
        guard let observation = received.bounded else { return }
        guard observation.node != id else { return outlive(observation, at: now, into: &effects) }
        guard peers[observation.node] != nil else { return }
        switch table.store(observation, at: now) {
        case .known: return
        case .added, .renewed:
            // Its node tells everybody itself; one copy more covers a broken path.
            observationQueue.add(observation.key, budget: 1, isUrgent: false)
        case .changed: observationQueue.add(observation.key, budget: retransmissions, isUrgent: true)
        }
        effects.observationsChanged = true
    }

    /// An observation in this node's name that it never made comes from an earlier life; it must not outlast
    /// this one.
    private mutating func outlive(
        _ observation: EndpointObservation, at now: Instant, into effects: inout Effects
    ) {
        guard (observation.incarnation, observation.sequence) > (incarnation, observationSequence) else {
            return
        }
        incarnation = observation.incarnation.next
        announce(id)
        restampReadings(at: now, into: &effects)
    }

    /// Publishes everything anew, with stamps of the incarnation that has just begun.
    mutating func restampReadings(at now: Instant, into effects: inout Effects) {
        for reading in readings { stamp(reading, isSignificant: true, at: now, into: &effects) }
    }

    /// Answers a member that has asked for this node's own observations: all of them, in as few messages as
    /// it takes.
    mutating func sendOwnObservations(to peer: NodeID, at now: Instant, into effects: inout Effects) {
        let own = table.current.filter { $0.node == id }
        guard !own.isEmpty, let record = peers[peer] else { return }
        if let last = record.answeredAt, now - last < settings.newsInterval { return }
        peers.update(peer) { $0.answeredAt = now }
        for start in stride(from: 0, to: own.count, by: GossipLimits.observations) {
            let slice = Array(own[start..<min(start + GossipLimits.observations, own.count)])
            send(.news(payload: payload(for: peer, given: slice)), to: peer, into: &effects)
        }
    }
}
