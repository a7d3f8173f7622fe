import ClusterModel
import Gossip
import KeyCatalog
import NodeCore
import Raft

// Several whole nodes in virtual time, with endpoints that are shared between them as real HSMs are. Small on
// purpose: enough to show the generation saga under crashes and faults.

/// One modelled HSM: what stands on it, whoever put it there.
struct ModelToken {
    struct Object {
        var specification: KeySpecification
        /// What the key is; equal secrets give equal proofs.
        var secret: UInt64
    }

    var objects: [[UInt8]: Object] = [:]
    var foreignLabels: [String] = []
    var acceptsPIN = true
    var loginAttempts = 0
    var isAway = false
    /// Requests that never get an answer, by name; the effect still happens when `effectHappens`.
    var hanging: Set<String> = []
    var effectHappens = true
    var nextSecret: UInt64 = 1
}

struct ModelNode {
    var node: Node
    var disk = ModelDisk()
    var isUp = true
    var pins: [EndpointName: PINState] = [:]
    var loggedIn: Set<EndpointName> = []
    var replies: [UInt64: ClientReply] = [:]
    var notices: [Notice] = []
    var incarnation: UInt64 = 1
}

final class TestCluster {
    var nodes: [NodeID: ModelNode] = [:]
    var tokens: [EndpointName: ModelToken] = [:]
    var now: Int64 = 0
    var seed: UInt64
    var nextRequest: UInt64 = 0
    var cut: Set<[NodeID]> = []
    /// Messages for which this says true are lost.
    var loses: ((PeerEnvelope) -> Bool)?
    /// Changes what the nodes are told; takes effect with their next start.
    var adjust: (inout NodeSettings) -> Void
    private var founders: [NodeID] = []
    /// Nodes that have lost what they knew of the voters.
    var forgetful: Set<NodeID> = []
    private var queue: [Int64: [(to: NodeID, incarnation: UInt64, event: NodeEvent)]] = [:]

    static let endpointNames = ["hsm-a", "hsm-b", "hsm-c"].map { EndpointName($0) }

    init(
        nodes count: UInt64 = 3, seed: UInt64 = 1, acceptsPIN: Bool = true,
        adjust: @escaping (inout NodeSettings) -> Void = { _ in }
    ) {
        self.seed = seed
        self.adjust = adjust
        for name in Self.endpointNames {
            tokens[name] = ModelToken()
            tokens[name]?.acceptsPIN = acceptsPIN
        }
        let ids = (1...count).map { NodeID($0) }
        founders = ids
        for id in ids { nodes[id] = start(id, voters: ids, from: nil) }
        for id in ids { announce(id) }
    }

    private func settings(_ id: NodeID, _ voters: [NodeID]) -> NodeSettings {
        var settings = NodeSettings(id: id, voters: voters, endpoints: Self.endpointNames)
        settings.nodes = founders.map {
            NodeRecord(id: $0, peerAddress: "10.0.0.\($0):7100", apiAddress: "https://10.0.0.\($0):7200")
        }
        adjust(&settings)
        return settings
    }

    private func start(_ id: NodeID, voters: [NodeID], from old: ModelNode?) -> ModelNode {
        var disk = old?.disk ?? ModelDisk()
        disk.finishInstallation()
        seed &+= 1
        let applied = disk.catalog.appliedIndex
        let settings = settings(id, voters)
        let raft = Consensus(
            id: id, settings: settings.raft,
            recovered: disk.recovered(voters: forgetful.contains(id) ? [] : voters), appliedIndex: applied,
            seed: seed)
        let catalog = (try? Catalog(rows: disk.catalog.rows.values)) ?? Catalog()
        let incarnation = (old?.incarnation ?? 0) + 1
        let node = Node(
            settings: settings, raft: raft, catalog: catalog, appliedIndex: applied,
            incarnation: Incarnation(incarnation), seed: seed, at: Moment(now: instant, wallClock: 0))
        var model = ModelNode(node: node)
        model.disk = disk
        model.pins = old?.pins ?? [:]
        model.incarnation = incarnation
        return model
    }

    private var instant: Instant { Instant(nanoseconds: now * 1_000_000) }

    private func announce(_ id: NodeID) {
        for peer in nodes.keys.sorted() where peer != id && nodes[peer]?.isUp == true {
            post(.linkChanged(peer, isUp: true), to: id)
            post(.linkChanged(id, isUp: true), to: peer)
        }
        for name in Self.endpointNames { announceEndpoint(name, to: id) }
    }

    func announceEndpoint(_ name: EndpointName, to id: NodeID) {
        guard let model = nodes[id], let token = tokens[name] else { return }
        if token.isAway {
            return post(.tokenHost(name, .failed(EndpointFailure(.tokenNotFound, detail: "away"))), to: id)
        }
        let description = TokenDescription(
            label: name.rawValue, serialNumber: "serial-\(name)", manufacturer: "model", model: "model",
            mechanisms: [], isLoggedIn: model.loggedIn.contains(name))
        post(.tokenHost(name, .serving(description, pin: model.pins[name] ?? .untried)), to: id)
    }

    func post(_ event: NodeEvent, to id: NodeID, after delay: Int64 = 1) {
        queue[now + max(delay, 1), default: []].append((id, nodes[id]?.incarnation ?? 0, event))
    }

    // MARK: Running

    func run(milliseconds: Int64) {
        let end = now + milliseconds
        while now < end {
            now += 1
            if now % 25 == 0 {
                for id in nodes.keys.sorted() { deliver(.tick, to: id) }
            }
            for id in nodes.keys.sorted() where nodes[id]?.isUp == true { work(id) }
            for item in queue.removeValue(forKey: now) ?? []
            where nodes[item.to]?.incarnation == item.incarnation { deliver(item.event, to: item.to) }
        }
    }

    @discardableResult
    func run(until condition: () -> Bool, atMost milliseconds: Int64 = 60_000) -> Bool {
        let end = now + milliseconds
        while now < end {
            if condition() { return true }
            run(milliseconds: 5)
        }
        return condition()
    }

    private func deliver(_ event: NodeEvent, to id: NodeID) {
        guard var model = nodes[id], model.isUp else { return }
        if case .received(_, let peer) = event, cut.contains([peer, id]) { return }
        var effects = NodeEffects()
        model.node.step(event, at: Moment(now: instant, wallClock: now / 1_000), into: &effects)
        model.disk.logJobs += effects.persist.map { .write($0) }
        model.disk.catalogJobs += effects.applied.map { .apply($0) }
        if let metadata = effects.takeSnapshot { model.disk.catalogJobs.append(.makeDurable(metadata)) }
        if let snapshot = effects.installSnapshot { model.disk.catalogJobs.append(.replace(snapshot)) }
        for (request, reply) in effects.replies { model.replies[request.rawValue] = reply }
        model.notices += effects.notices
        nodes[id] = model
        for envelope in effects.send { send(envelope, from: id) }
        for call in effects.calls { carryOut(call, for: id) }
    }

    /// The node's disk gets on.
    private func work(_ id: NodeID) {
        guard let done = nodes[id]?.disk.work() else { return }
        for envelope in done.send {
            send(PeerEnvelope(to: envelope.to, message: .raft(envelope.message)), from: id)
        }
        for event in done.events { deliver(event, to: id) }
    }

    private func send(_ envelope: PeerEnvelope, from id: NodeID, delay: Int64 = 1) {
        guard !cut.contains([id, envelope.to]), loses?(envelope) != true else { return }
        // Messages cross the wire as bytes, as they do for real; of the many heartbeats every sixteenth.
        crossings += 1
        guard crossings.isMultiple(of: 16) || !isRaft(envelope.message) else {
            return post(.received(envelope.message, from: id), to: envelope.to, after: delay)
        }
        guard let (kind, payload) = try? envelope.message.encoded(),
            let message = try? PeerMessage.decode(kind: kind, payload: payload)
        else { return }
        post(.received(message, from: id), to: envelope.to, after: delay)
    }

    private var crossings = 0

    private func isRaft(_ message: PeerMessage) -> Bool {
        guard case .raft = message else { return false }
        return true
    }

    // MARK: Endpoints

    private func carryOut(_ call: EndpointCall, for id: NodeID) {
        guard var token = tokens[call.endpoint] else { return }
        let isHanging = token.hanging.contains(call.request.name)
        var result: Result<EndpointReply, EndpointFailure>
        if token.isAway {
            result = .failure(EndpointFailure(.tokenHostLost, detail: "away"))
        } else if isHanging, !token.effectHappens {
            result = .failure(EndpointFailure(.deadlineExceeded, detail: "no answer"))
        } else {
            result = perform(call.request, on: &token, endpoint: call.endpoint, for: id)
        }
        tokens[call.endpoint] = token
        if isHanging { result = .failure(EndpointFailure(.deadlineExceeded, detail: "no answer")) }
        post(.answered(call.id, result), to: id, after: isHanging ? call.deadline.wholeMilliseconds : 5)
        if case .logIn = call.request { announceEndpoint(call.endpoint, to: id) }
    }

    private func perform(
        _ request: EndpointRequest, on token: inout ModelToken, endpoint: EndpointName, for id: NodeID
    ) -> Result<EndpointReply, EndpointFailure> {
        switch request {
        case .logIn:
            token.loginAttempts += 1
            nodes[id]?.pins[endpoint] = token.acceptsPIN ? .accepted : .rejected
            guard token.acceptsPIN else {
                return .failure(EndpointFailure(.credentialRejected, detail: "wrong PIN"))
            }
            nodes[id]?.loggedIn.insert(endpoint)
            return .success(.done)
        case .forgetRejectedPIN:
            nodes[id]?.pins[endpoint] = .untried
            announceEndpoint(endpoint, to: id)
            return .success(.done)
        case .scan:
            let own = token.objects.values.map { object in
                KeyObject(
                    label: object.specification.label, identity: object.specification.identity,
                    algorithm: object.specification.algorithm, isSensitive: true,
                    isExtractable: object.specification.isExtractable)
            }
            let foreign = token.foreignLabels.map {
                KeyObject(
                    label: $0, identity: [1], algorithm: .aes256, isSensitive: true, isExtractable: false)
            }
            return .success(.objects(own + foreign))
        case .generate(let specification):
            guard token.objects[specification.identity] == nil else { return .success(.made(adopted: true)) }
            token.nextSecret += 1
            let secret = token.nextSecret &* 1_000 &+ UInt64(endpoint.rawValue.utf8.last ?? 0)
            token.objects[specification.identity] = .init(specification: specification, secret: secret)
            return .success(.made(adopted: false))
        case .transportKey:
            return .success(
                .transportKey(TransportPublicKey(modulus: Array(endpoint.rawValue.utf8), publicExponent: [3]))
            )
        case .exportKey(let identity, let destination):
            guard let object = token.objects[identity] else {
                return .failure(EndpointFailure(.keyNotFound, detail: "no such key"))
            }
            guard object.specification.isExtractable else {
                return .failure(EndpointFailure(.keyNotExtractable, detail: "not extractable"))
            }
            return .success(
                .wrapped(
                    WrappedKey(
                        encryptedWrappingKey: destination.modulus,
                        encryptedKey: ByteOrder.bigEndian(object.secret), usesSHA256: false)))
        case .importKey(let specification, let wrapped):
            guard wrapped.encryptedWrappingKey == Array(endpoint.rawValue.utf8) else {
                return .failure(EndpointFailure(.keyMismatch, detail: "wrapped for another endpoint"))
            }
            let secret = wrapped.encryptedKey.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            token.objects[specification.identity] = .init(specification: specification, secret: secret)
            return .success(.made(adopted: false))
        case .verify(let identity, _, _):
            guard let object = token.objects[identity] else {
                return .failure(EndpointFailure(.keyNotFound, detail: "no such key"))
            }
            return .success(
                .proof(KeyProof(keyCheckValue: "\(object.secret % 999)", probe: "\(object.secret)")))
        case .destroy(let identity, _):
            return .success(.destroyed(token.objects.removeValue(forKey: identity) == nil ? 0 : 1))
        case .inspect, .restrict:
            return .success(.done)
        }
    }

    // MARK: What tests do

    var leader: NodeID? {
        nodes.keys.sorted().filter { nodes[$0]?.isUp == true && nodes[$0]?.node.isLeader == true }
            .max { (nodes[$0]?.node.raft.term ?? .zero) < (nodes[$1]?.node.raft.term ?? .zero) }
    }

    func crash(_ id: NodeID, powerCut: Bool = false) {
        nodes[id]?.isUp = false
        nodes[id]?.disk.loseUnwritten(powerCut: powerCut)
        nodes[id]?.incarnation += 1
        for peer in nodes.keys where peer != id { post(.linkChanged(id, isUp: false), to: peer) }
    }

    func restart(_ id: NodeID) {
        guard let old = nodes[id] else { return }
        nodes[id] = start(id, voters: founders.contains(id) ? founders : [], from: old)
        announce(id)
    }

    /// A new node starts, which belongs to nobody yet.
    func join(_ id: NodeID) {
        nodes[id] = start(id, voters: [], from: nil)
        announce(id)
    }

    func take(_ name: EndpointName, away: Bool) {
        tokens[name]?.isAway = away
        for id in nodes.keys.sorted() {
            if away { nodes[id]?.loggedIn.remove(name) }
            announceEndpoint(name, to: id)
        }
    }

    func ask(_ request: ClientRequest, of id: NodeID) -> UInt64 {
        nextRequest += 1
        post(
            .request(
                request, id: ClientRequestID(nextRequest), freshIdentifier: .init(high: 77, low: nextRequest)),
            to: id)
        return nextRequest
    }

    func reply(_ number: UInt64, of id: NodeID) -> ClientReply? {
        run { self.nodes[id]?.replies[number] != nil }
        return nodes[id]?.replies[number]
    }

    func generate(_ request: UInt64, algorithm: KeyAlgorithm = .aes256, of id: NodeID) -> ClientReply? {
        let generate = ClientRequest.GenerateKey(
            requestID: .init(high: 5, low: request), keyStore: nil, algorithm: algorithm, comment: "")
        return reply(ask(.generateKey(generate), of: id), of: id)
    }

    /// A cluster with a leader, all endpoints in service and a key store.
    static func ready(
        nodes: UInt64 = 3, seed: UInt64 = 1, adjust: @escaping (inout NodeSettings) -> Void = { _ in }
    ) -> TestCluster {
        let cluster = TestCluster(nodes: nodes, seed: seed, adjust: adjust)
        cluster.run {
            guard let leader = cluster.leader, let node = cluster.nodes[leader]?.node else { return false }
            return node.catalog.endpointsInService.count == 3
        }
        let request = ClientRequest.createKeyStore(
            name: "store", minimumReplicas: nil, requestID: .init(high: 1, low: 1))
        _ = cluster.reply(cluster.ask(request, of: NodeID(1)), of: NodeID(1))
        return cluster
    }

    /// Equal log prefixes must give equal catalogs.
    var catalogsAgree: Bool {
        let up = nodes.values.filter(\.isUp).map(\.node)
        return up.allSatisfy { node in
            up.allSatisfy { $0.appliedIndex != node.appliedIndex || $0.catalog == node.catalog }
        }
    }
}
