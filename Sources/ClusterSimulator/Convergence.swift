import ClusterModel
import KeyCatalog
import NodeCore

// The liveness phase: faults stop, a random majority of the nodes and all endpoints are well from now on, the
// rest of the nodes stay as they are or dead. Within a bound the core has to have a leader, finish every key,
// put every usable key on every endpoint, remove every orphan, and do new work.

extension Simulation {
    /// Links, logins and calls under way need this long, after which the first answer has to be a good one.
    private var settlingTime: VirtualTime { 20_000_000 }

    func checkRegularly() {
        checker.compareAll(self)
        if isFaulty, dice.chance(0.2) { operatorLooks() }
        plan(after: 1_000_000, "check") { $0.checkRegularly() }
    }

    func heal() {
        note("faults stop")
        isFaulty = false
        let majority = nodes.count / 2 + 1
        let size = majority + dice.below(nodes.count - majority + 1)
        var core = Array(nodes.indices)
        while core.count > size { core.remove(at: dice.below(core.count)) }
        note("the core is \(core.map { $0 + 1 })")
        for number in nodes.indices where !core.contains(number) {
            nodes[number].isGone = true
            crash(number, restartAfter: nil)
        }
        for from in nodes.indices {
            for to in nodes.indices where from != to {
                network.cut[network.slot(from, to)] = false
                network.cloggedUntil[network.slot(from, to)] = 0
            }
        }
        for number in core {
            nodes[number].disk.stalledUntil = 0
            resume(number)
            start(number)
            for peer in core where peer > number { tryConnect(number, peer) }
        }
        for endpoint in tokens.indices { bringBack(endpoint) }
    }

    func converge() {
        let start = now
        let bound = options.livenessBound.wholeNanoseconds / 1_000
        let core = nodes.indices.filter { !nodes[$0].isGone }
        // Late effects of the safety phase still come; what they leave behind has to go as well.
        var waiting = "late effects"
        while violation == nil, now - start < bound {
            run(until: now + 500_000)
            if (now - start) / 500_000 % 4 == 0 { operatorLooks() }
            guard violation == nil, now > max(lastLateEffect, start + settlingTime) else { continue }
            checker.compareAll(self)
            guard violation == nil else { return }
            if let reason = whyNotDone(core) {
                waiting = reason
                continue
            }
            return finalRequests(core, by: start + bound + 60_000_000)
        }
        guard violation == nil else { return }
        fail("liveness: after \((now - start) / 1_000_000) s without faults: \(waiting)")
    }

    /// What the core still has to do, or nil.
    private func whyNotDone(_ core: [Int]) -> String? {
        guard let leader = core.first(where: { nodes[$0].node?.isLeader == true }) else {
            return "there is no leader"
        }
        let catalog = checker.catalog
        for number in core where nodes[number].node?.appliedIndex != checker.applied {
            return "node \(number + 1) lags behind"
        }
        if let key = catalog.pendingKeys.first { return "\(key.label) is still pending" }
        for token in tokens {
            guard let endpoint = catalog.endpoints[token.name], endpoint.transportKey != nil else {
                return "\(token.name) is not enrolled"
            }
            if !endpoint.isInService {
                return "\(token.name) is out of service: \(endpoint.reason ?? "")"
            }
            guard endpoint.transportKey != nil, nodes[leader].node?.isReady(token.name) == true else {
                return "the leader cannot use \(token.name)"
            }
            for key in catalog.keysInOrder where key.state == .usable {
                guard key.replicas[token.name]?.isVerified == true,
                    let identity = key.generated?.identity.bytes, token.objects[identity] != nil
                else {
                    return "\(key.label) has no verified replica on \(token.name)"
                }
            }
        }
        if let orphan = checker.unreportedOrphans.first { return "orphan \(orphan) is not reported" }
        if let orphan = checker.orphanSince.keys.min() { return "orphan \(orphan) still stands" }
        if let orphan = catalog.openOrphans.first { return "orphan \(orphan) is not settled" }
        return nil
    }

    private func finalRequests(_ core: [Int], by end: VirtualTime) {
        for number in core {
            if checker.catalog.activeKeyStore == nil {
                expect(of: number, by: end) {
                    .createKeyStore(name: "last", $0.freshIdentifier(of: 1, nil))
                }
            }
            expect(of: number, by: end) {
                .generate(
                    ClientRequest.GenerateKey(
                        requestID: $0.freshIdentifier(of: 2, nil), keyStore: nil, algorithm: .aes256,
                        comment: ""))
            }
            expect(of: number, by: end) { _ in .read }
        }
    }

    /// Asks until the answer is a success. What was wrong before the faults stopped may still be noticed for a
    /// while after (an endpoint goes out of service, its token host logs in again), but not for long.
    private func expect(
        of number: Int, by end: VirtualTime, _ kind: (Simulation) -> ClientOperation.Kind
    ) {
        var last = "nothing"
        while violation == nil, now < end {
            let position = operations.count
            ask(kind(self), of: number, client: nil)
            while violation == nil, now < end, operations[position].returnedAt == nil {
                run(until: now + 50_000)
            }
            switch operations[position].reply {
            case .key, .catalog, .keyStore: return
            case let reply: last = "\(operations[position].kind.brief) with \(reply?.brief ?? "nothing")"
            }
            run(until: now + 500_000)
            operatorLooks()
        }
        guard violation == nil else { return }
        fail("liveness: node \(number + 1) answered \(last)")
    }
}
