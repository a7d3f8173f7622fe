import Foundation
import Testing

// A local cluster whose links run through proxies, with the verbs of the plan and the checks after it.

struct ChaosCluster: Sendable {
    let cluster: LocalCluster
    /// The proxy of each pair of nodes; the lower number dials.
    let proxies: [Pair: LinkProxy]

    struct Pair: Hashable, Sendable {
        let dialer: Int
        let acceptor: Int
        static let all = [
            Pair(dialer: 1, acceptor: 2), Pair(dialer: 1, acceptor: 3), Pair(dialer: 2, acceptor: 3),
        ]
    }

    /// Writes the proxies' ports into the configuration of each dialing node.
    init(_ cluster: LocalCluster) throws {
        self.cluster = cluster
        var proxies: [Pair: LinkProxy] = [:]
        for pair in Pair.all { proxies[pair] = try LinkProxy(to: cluster.basePort + pair.acceptor) }
        self.proxies = proxies
        for (pair, proxy) in proxies {
            let file = cluster.folder(ofNode: pair.dialer).appending(path: "node.yaml")
            let text = try String(contentsOf: file, encoding: .utf8)
            let changed = text.replacingOccurrences(
                of: "id: \(pair.acceptor), address: \"127.0.0.1:\(cluster.basePort + pair.acceptor)\"",
                with: "id: \(pair.acceptor), address: \"127.0.0.1:\(proxy.port)\"")
            guard changed != text else {
                throw CommandError(description: "no peer to redirect in \(file.path)")
            }
            try Data(changed.utf8).write(to: file, options: .atomic)
        }
    }

    func stop() { proxies.values.forEach { $0.stop() } }

    // MARK: A round

    func carryOut(_ round: ChaosRound) async throws {
        for fault in round.faults { try await begin(fault) }
        try await Task.sleep(for: .milliseconds(round.milliseconds))
        for proxy in proxies.values {
            proxy.set(LinkProxy.Weather())
            if round.resetsWhenHealed { proxy.reset() }
        }
        for node in 1...cluster.nodes {
            // Fails when it was killed. A node that stays frozen is noticed by `converge`.
            _ = try? await cluster.resume("node", "\(node)")
            try await cluster.start("node", "\(node)")
        }
    }

    private func begin(_ fault: Fault) async throws {
        switch fault {
        case .killMachine(let victim): try await cluster.kill("node", "\(await number(of: victim))")
        case .killProcess(let victim):
            try await cluster.kill("node", "\(await number(of: victim))", "--process-only")
        case .freeze(let victim):
            // Fails when the round's other fault has killed it.
            _ = try? await cluster.pause("node", "\(await number(of: victim))")
        case .killTokenHosts(let endpoint): try await cluster.kill("tokenhost", cluster.endpoints[endpoint])
        case .isolate(let victim): cut(await number(of: victim), hears: false, speaks: false)
        case .mute(let victim): cut(await number(of: victim), hears: true, speaks: false)
        case .deafen(let victim): cut(await number(of: victim), hears: false, speaks: true)
        case .cutPair(let number):
            proxies[Pair.all[number]]?.change {
                $0.holdsFromDialer = true
                $0.holdsFromAcceptor = true
            }
        case .slowLinks(let milliseconds):
            proxies.values.forEach { $0.change { $0.delayMilliseconds = Int64(milliseconds) } }
        case .dropLinks(let number):
            proxies[Pair.all[number]]?.change { $0.dropsAccepted = true }
            proxies[Pair.all[number]]?.reset()
        case .powerFailure:
            for node in 1...cluster.nodes { try await cluster.kill("node", "\(node)") }
        }
    }

    private func cut(_ node: Int, hears: Bool, speaks: Bool) {
        for (pair, proxy) in proxies where pair.dialer == node || pair.acceptor == node {
            proxy.change { weather in
                let isDialer = pair.dialer == node
                weather.holdsFromDialer = weather.holdsFromDialer || (isDialer ? !speaks : !hears)
                weather.holdsFromAcceptor = weather.holdsFromAcceptor || (isDialer ? !hears : !speaks)
            }
        }
    }

    private func number(of victim: Victim) async -> Int {
        switch victim {
        case .node(let number): number
        case .leader: (try? await cluster.status().leader) ?? 1
        }
    }

    // MARK: Checks

    /// After healing, the cluster has to come back: a leader, all nodes alive, all endpoints in service.
    func converge() async throws {
        for node in 1...cluster.nodes {
            try await eventually("node \(node) sees a whole cluster", within: .seconds(90)) {
                let status = try await cluster.status(at: node)
                return status.leader != nil && status.alive.count == cluster.nodes
                    && status.inService == cluster.endpoints.sorted() ? true : nil
            }
        }
    }

    /// No term has had two leaders, as the nodes' logs tell.
    func checkTerms() {
        var leaders: [String: Int] = [:]
        for node in 1...cluster.nodes {
            for line in cluster.log(ofNode: node).split(separator: "\n")
            where line.contains("role is now leader") {
                guard let term = line.firstMatch(of: #/\bterm=(\d+)/#)?.1 else {
                    Issue.record("a change of role without its term: \(line)")
                    continue
                }
                let other = leaders.updateValue(node, forKey: String(term))
                #expect(other == nil || other == node, "nodes \(other ?? 0) and \(node) led in term \(term)")
            }
        }
        #expect(!leaders.isEmpty)
    }

    /// Every usable key stands on all tokens under one CKA_ID, and no object of an abandoned attempt is left: the
    /// reconciler has destroyed each orphan. The tokens are read by another program.
    ///
    /// Returns how many objects share their CKA_ID with another: an import that is killed right after it overtook
    /// another leaves such a pair. They hold the same key, but the promise is one.
    func checkTokens() async throws -> Int {
        try await eventually("all keys have all replicas", within: .seconds(120)) {
            let keys = try await cluster.masterKeys().filter(\.isUsable)
            return keys.allSatisfy { $0.verified.count == cluster.endpoints.count } ? true : nil
        }
        var doubled = 0
        for endpoint in cluster.endpoints {
            doubled += try await eventually(
                "each key once on \(endpoint), and no orphan", within: .seconds(120)
            ) {
                // Asked anew each time: a generation that its client gave up on may still come to its end.
                let usable = try await cluster.masterKeys().filter(\.isUsable).map(\.label).sorted()
                let objects = try await cluster.keys(on: endpoint)
                let labels = Set(objects.map { [$0.label, $0.id] }).map { $0[0] }.sorted()
                guard labels != usable else { return objects.count - labels.count }
                let missing = Set(usable).subtracting(labels).sorted()
                let extra = labels.filter { label in
                    labels.count { $0 == label } > 1 || !usable.contains(label)
                }
                throw CommandError(
                    description: "\(usable.count) usable; missing \(missing), extra \(extra)")
            }
        }
        let usable = try await cluster.masterKeys().filter(\.isUsable).map(\.label)
        #expect(Set(usable).count == usable.count)
        return doubled
    }
}
