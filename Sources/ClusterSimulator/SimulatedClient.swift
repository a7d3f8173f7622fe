import ClusterModel
import KeyCatalog
import NodeCore

// Clients ask any node for keys, key stores and reads of the catalog, ask again for what they never heard the
// end of, and now and then ask under a request id that was used for something else. What they asked, when,
// and what they were told is the history that the checkers judge.

/// One client; asks one thing at a time.
struct SimulatedClient {
    /// Requests whose end it does not know.
    var open: [ClientRequest.GenerateKey] = []
}

/// One thing that a client asked.
struct ClientOperation {
    enum Kind {
        case createKeyStore(name: String, RequestID)
        case generate(ClientRequest.GenerateKey)
        case read
        case retryLogin(Int)
        case transferLeadership(to: NodeID?)
    }

    var client: Int?
    var kind: Kind
    var invokedAt: VirtualTime
    /// What had been acknowledged to anyone when this was asked: a read must show at least that.
    var floor: LogIndex
    var returnedAt: VirtualTime?
    /// Nil while unknown, and for good when the node died.
    var reply: ClientReply?
}

extension Simulation {
    func clientActs(_ number: Int) {
        guard isFaulty else { return }
        guard let kind = chooseOperation(number) else {
            return plan(after: dice.between(1, 2 * swarm.thinkTime), "client") { $0.clientActs(number) }
        }
        ask(kind, of: dice.below(nodes.count), client: number)
    }

    private func chooseOperation(_ number: Int) -> ClientOperation.Kind? {
        if lastStore == 0 || dice.chance(0.03) {
            // Now and then two clients want the same name.
            if lastStore == 0 || dice.chance(0.7) { lastStore += 1 }
            let name = "store-\(lastStore)"
            return .createKeyStore(
                name: name, freshIdentifier(of: 1, dice.chance(0.5) ? UInt64(lastStore) : nil))
        }
        let choice = dice.below(100)
        if choice < 32 { return .read }
        if choice < 35 {
            let target = dice.below(nodes.count)
            return .transferLeadership(to: dice.chance(0.5) ? nodes[target].id : nil)
        }
        if choice < 60, !clients[number].open.isEmpty {
            return .generate(dice.pick(clients[number].open))
        }
        if choice < 65 {
            let other = dice.pick(clients).open
            guard !other.isEmpty else { return nil }
            var request = dice.pick(other)
            // The same request id with something else behind it: a conflict, or the first of its kind.
            request.algorithm = dice.pick(KeyAlgorithm.allCases)
            return .generate(request)
        }
        let request = ClientRequest.GenerateKey(
            requestID: freshIdentifier(of: 2, nil), keyStore: nil,
            algorithm: dice.pick(KeyAlgorithm.allCases),
            comment: "")
        clients[number].open.append(request)
        return .generate(request)
    }

    func freshIdentifier(of kind: UInt64, _ number: UInt64?) -> Identifier128 {
        lastFresh += 1
        return Identifier128(high: kind, low: number ?? (lastFresh << 16 | UInt64(dice.below(65_536))))
    }

    /// Sends a request to a node; the client goes on when it has an answer or gives up.
    func ask(_ kind: ClientOperation.Kind, of number: Int, client: Int?) {
        let position = operations.count
        operations.append(
            ClientOperation(client: client, kind: kind, invokedAt: now, floor: checker.acknowledged))
        guard nodes[number].node != nil else { return clientOutcome(position, nil) }
        let request: ClientRequest =
            switch kind {
            case .createKeyStore(let name, let id):
                .createKeyStore(name: name, minimumReplicas: nil, requestID: id)
            case .generate(let generate): .generateKey(generate)
            case .read: .readCatalog
            case .retryLogin(let endpoint): .retryLogin(tokens[endpoint].name)
            case .transferLeadership(let target): .transferLeadership(to: target)
            }
        nodes[number].lastRequest += 1
        let id = nodes[number].lastRequest
        nodes[number].clientRequests[id] = position
        note(
            "client \(client.map { "\($0 + 1)" } ?? "-") asks node \(number + 1), request \(id): \(kind.brief)"
        )
        let fresh = freshIdentifier(of: 3, nil)
        let life = nodes[number].life
        heap.push(
            .event(
                .request(request, id: ClientRequestID(id), freshIdentifier: fresh), node: number, life: life),
            at: now)
        guard isFaulty, dice.chance(0.05) else { return }
        plan(after: dice.between(100_000, 10_000_000), "client gives up") { simulation in
            guard simulation.isCurrent(number, life),
                simulation.nodes[number].clientRequests.removeValue(forKey: id) != nil
            else { return }
            simulation.count("client gives up")
            simulation.heap.push(
                .event(.cancelled(ClientRequestID(id)), node: number, life: life), at: simulation.now)
            simulation.clientOutcome(position, nil)
        }
    }

    /// A client has its answer, or knows that none will come.
    func clientOutcome(_ position: Int, _ reply: ClientReply?) {
        operations[position].returnedAt = now
        operations[position].reply = reply
        let operation = operations[position]
        note("answer to \(operation.kind.brief): \(reply?.brief ?? "none")")
        count("\(operation.kind.name): \(reply?.name ?? "unknown")")
        mix(UInt64(position))
        if let reply { checker.answered(operation, reply, self) }
        guard let client = operation.client else { return }
        if case .generate(let request) = operation.kind, reply?.isFinal == true, dice.chance(0.7) {
            clients[client].open.removeAll { $0.requestID == request.requestID }
        }
        plan(after: dice.between(1, 2 * swarm.thinkTime), "client") { $0.clientActs(client) }
    }

    // MARK: The operator

    /// Corrects every node's PIN of an endpoint that has rejected one, and says so to the cluster.
    func operatorLooks() {
        for endpoint in tokens.indices {
            let isRejected = checker.catalog.endpoints[tokens[endpoint].name]?.rejectedBy != nil
            let isStuck = nodes.contains { $0.node != nil && $0.hosts[endpoint].pinState == .rejected }
            guard isRejected || isStuck else { continue }
            guard let number = nodes.indices.first(where: { nodes[$0].node?.isLeader == true }) else {
                continue
            }
            note("the operator corrects the PIN of \(tokens[endpoint].name)")
            count("operator corrects PIN")
            tokens[endpoint].wrongTries = 0
            tokens[endpoint].unknownTries = 0
            for node in nodes.indices {
                nodes[node].hosts[endpoint].pin = tokens[endpoint].pin
                announce(node, endpoint)
            }
            ask(.retryLogin(endpoint), of: number, client: nil)
        }
    }
}

extension ClientOperation.Kind {
    var name: String {
        switch self {
        case .createKeyStore: "create key store"
        case .generate: "generate"
        case .read: "read"
        case .retryLogin: "retry login"
        case .transferLeadership: "transfer"
        }
    }

    var brief: String {
        switch self {
        case .createKeyStore(let name, let id): "create \(name) as \(id)"
        case .generate(let request): "generate \(request.algorithm) as \(request.requestID)"
        case .read: "read"
        case .retryLogin(let endpoint): "retry login on hsm-\(endpoint + 1)"
        case .transferLeadership(let target): "let \(target.map { "node \($0)" } ?? "another node") lead"
        }
    }
}

extension ClientReply {
    var name: String {
        switch self {
        case .keyStore: "key store"
        case .key: "key"
        case .catalog: "catalog"
        case .done: "done"
        case .refused(let refusal): refusal.name
        }
    }

    var brief: String {
        switch self {
        case .keyStore(let store): "key store \(store.name)"
        case .key(let key): "\(key.label) on \(key.verifiedEndpoints)"
        case .catalog(let view): "catalog at \(view.appliedIndex), \(view.keys.count) keys"
        case .done: "done"
        case .refused(let refusal): "\(refusal)"
        }
    }

    /// True when asking again would not tell more.
    var isFinal: Bool {
        switch self {
        case .key, .refused(.generationFailed), .refused(.catalog): true
        default: false
        }
    }
}

extension ClientRefusal {
    var name: String {
        let text = "\(self)"
        return String(text.prefix { $0 != "(" })
    }
}
