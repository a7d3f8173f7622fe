import ClusterModel

// Failure detection: SWIM §3.1 and §4.3 (each period one member, in a shuffled round), Lifeguard §IV-A
// (negative acknowledgements, local health). A ping that is not acknowledged is repeated through other
// members, so one broken path between two nodes accuses nobody.

extension GossipMachine {
    /// The ping of this period.
    struct Probe: Sendable, Hashable {
        let target: NodeID
        let sequence: UInt64
        /// When others are asked, if no acknowledgement has come.
        var directDeadline: Instant
        var isIndirect = false
        var isAcknowledged = false
        /// Who was asked to ping, and who of them answered that they live but the target is silent.
        var asked: [NodeID] = []
        var refusals: [NodeID] = []
    }

    /// A ping made for another member.
    struct Relay: Sendable, Hashable {
        let origin: NodeID
        let originSequence: UInt64
        let target: NodeID
        let sequence: UInt64
        /// When the origin is told that nothing has come; when the relay is forgotten after that.
        var deadline: Instant
        var hasRefused = false
    }

    // MARK: One's own ping

    /// Pings the next member of the round; false when there is none.
    mutating func probeNextMember(at now: Instant, into effects: inout Effects) -> Bool {
        probe = nil
        guard let target = nextProbeTarget() else { return false }
        probeSequence += 1
        probe = Probe(
            target: target, sequence: probeSequence,
            directDeadline: now + settings.pingTimeout * localHealth.multiplier)
        send(
            .ping(sequence: probeSequence, payload: payload(for: target, repeating: true)), to: target,
            into: &effects)
        return true
    }

    /// Asks other members to ping, once the direct ping is overdue, and repeats it, in case it was only lost.
    mutating func askRelays(at now: Instant, into effects: inout Effects) {
        guard var current = probe, !current.isIndirect, !current.isAcknowledged,
            now >= current.directDeadline
        else { return }
        current.isIndirect = true
        let candidates = peers.records.filter {
            $0.member.state == .alive && $0.node != current.target
        }.map(\.node)
        current.asked = sample(candidates, settings.indirectProbes).sorted()
        probe = current
        send(
            .ping(sequence: current.sequence, payload: payload(for: current.target)), to: current.target,
            into: &effects)
        for relay in current.asked {
            send(
                .pingRequest(
                    sequence: current.sequence, target: current.target, payload: payload(for: relay)),
                to: relay, into: &effects)
        }
        // However late this tick was, the relays get their time.
        let indirectTime = (settings.protocolPeriod - settings.pingTimeout) * localHealth.multiplier
        nextPeriodAt = max(nextPeriodAt ?? now, now + indirectTime)
    }

    /// Draws the conclusions of the ping that ends with this period.
    mutating func settleProbe(at now: Instant, into effects: inout Effects) {
        guard let ended = probe else { return }
        probe = nil
        guard !ended.isAcknowledged else { return localHealth.add(-1) }
        // Relays that do not even refuse point at this node's own links.
        localHealth.add(ended.asked.isEmpty ? 1 : ended.asked.count - ended.refusals.count)
        suspect(ended.target, at: now, into: &effects)
    }

    mutating func acknowledged(_ sequence: UInt64, from sender: NodeID, into effects: inout Effects) {
        if let current = probe, current.sequence == sequence,
            current.target == sender || current.asked.contains(sender)
        {
            probe?.isAcknowledged = true
        }
        guard
            let index = relays.firstIndex(where: { $0.sequence == sequence && $0.target == sender })
        else { return }
        let relay = relays.remove(at: index)
        send(
            .acknowledgement(sequence: relay.originSequence, payload: payload(for: relay.origin)),
            to: relay.origin, into: &effects)
    }

    mutating func refused(_ sequence: UInt64, from sender: NodeID) {
        guard let current = probe, current.sequence == sequence, current.asked.contains(sender),
            !current.refusals.contains(sender)
        else { return }
        probe?.refusals.append(sender)
    }

    // MARK: Pings for others

    mutating func relayPing(
        _ sequence: UInt64, to target: NodeID, for origin: NodeID, at now: Instant,
        into effects: inout Effects
    ) {
        guard target != id else {
            return send(
                .acknowledgement(sequence: sequence, payload: payload(for: origin)), to: origin,
                into: &effects)
        }
        // A member has one ping at a time; its newest request replaces an older one.
        relays.removeAll { $0.origin == origin }
        guard peers[target] != nil, target != origin, relays.count < GossipLimits.relays else { return }
        probeSequence += 1
        relays.append(
            Relay(
                origin: origin, originSequence: sequence, target: target, sequence: probeSequence,
                deadline: now + settings.pingTimeout * 0.8))
        send(
            .ping(sequence: probeSequence, payload: payload(for: target)), to: target, into: &effects)
    }

    /// Tells those whose pings are overdue that this node is there, but their target silent.
    mutating func answerForRelays(at now: Instant, into effects: inout Effects) {
        relays.removeAll { $0.hasRefused && now >= $0.deadline }
        for index in relays.indices where !relays[index].hasRefused && now >= relays[index].deadline {
            // An acknowledgement that still comes within the period is passed on.
            relays[index].hasRefused = true
            relays[index].deadline = now + settings.protocolPeriod
            let origin = relays[index].origin
            send(
                .negativeAcknowledgement(
                    sequence: relays[index].originSequence, payload: payload(for: origin)), to: origin,
                into: &effects)
        }
    }

    // MARK: Whose turn it is

    /// Puts `node` at a random place of the round in progress (SWIM §4.3).
    mutating func insertIntoProbeOrder(_ node: NodeID) {
        guard !probeOrder.contains(node) else { return }
        probeOrder.insert(node, at: Int.random(in: 0...probeOrder.count, using: &generator))
    }

    /// Pings `node` soon, so that a suspicion is confirmed or refuted early. In a large cluster only some
    /// members do, lest all of them ping at once.
    mutating func probeSoon(_ node: NodeID) {
        guard urgentProbes.count < GossipLimits.urgentProbes, !urgentProbes.contains(node) else { return }
        let others = max(1, liveCount - 2)
        guard Int.random(in: 0..<others, using: &generator) < 2 * settings.suspicionConfirmations else {
            return
        }
        urgentProbes.append(node)
    }

    private mutating func nextProbeTarget() -> NodeID? {
        while !urgentProbes.isEmpty {
            let node = urgentProbes.removeFirst()
            if peers[node]?.member.state == .suspect { return node }
        }
        // Two rounds at most: what is left of this one, and a fresh one.
        for _ in 0..<2 {
            while let node = probeOrder.popLast() {
                if peers[node]?.isLive == true { return node }
            }
            probeOrder = peers.records.filter(\.isLive).map(\.node)
            probeOrder.shuffle(using: &generator)
        }
        return nil
    }

    /// Pings one dead member, in turn: every few periods, or in every period when nobody else is there.
    mutating func probeDeadMember(evenEarly: Bool, into effects: inout Effects) {
        guard evenEarly || periodCount.isMultiple(of: max(1, settings.deadProbePeriods)) else { return }
        let dead = peers.records.filter { $0.member.state == .dead }.map(\.node)
        guard let target = dead.first(where: { $0 > lastDeadProbed }) ?? dead.first else { return }
        lastDeadProbed = target
        probeSequence += 1
        send(
            .ping(sequence: probeSequence, payload: payload(for: target, repeating: true)), to: target,
            into: &effects)
    }

    /// At most `count` of `nodes`, chosen at random.
    mutating func sample(_ nodes: [NodeID], _ count: Int) -> [NodeID] {
        guard nodes.count > count else { return nodes }
        return Array(nodes.shuffled(using: &generator).prefix(max(0, count)))
    }
}
