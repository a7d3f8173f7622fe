import ClusterModel
import NodeCore

// HSMs and the token hosts that stand between them and each node. A token is shared by all nodes, as a network
// HSM is; each node reaches it through a host of its own, which logs in, remembers what became of its PIN and
// gives a call up at its deadline. The token may carry a call out long after that.

/// One HSM: what stands on it, whoever put it there.
struct SimulatedToken {
    struct Object {
        var specification: KeySpecification
        /// What the key is: equal secrets are the same key.
        var secret: UInt64
        /// Until when nodes other than the maker do not see it.
        var hiddenUntil: VirtualTime
        var maker: Int
    }

    let name: EndpointName
    let number: Int
    var objects: [[UInt8]: [Object]] = [:]
    var pin = 1
    var wrongTries = 0
    /// Tries whose end the asking node never learned, since an operator last acted.
    var unknownTries = 0
    var isAway = false
    /// True while another, empty token stands here instead.
    var isReplaced = false

    init(number: Int) {
        self.number = number
        name = EndpointName("hsm-\(number + 1)")
    }

    var serialNumber: String { isReplaced ? "stranger" : "serial-\(name)" }
    var modulus: [UInt8] { Array(name.rawValue.utf8) }

    var identities: [[UInt8]] { objects.keys.sorted { $0.lexicographicallyPrecedes($1) } }
}

/// A node's token host of one endpoint. It outlives the node's process.
struct SimulatedHost {
    enum Status { case serving, restarting }

    var status = Status.serving
    /// Counts starts and losses of the token: calls of earlier ones are answered as lost.
    var epoch = 0
    var isLoggedIn = false
    /// The PIN in this node's source; wrong when it is not the token's.
    var pin = 1
    var acceptedPIN: Int?
    var rejectedPINs: [Int] = []
    var outstanding: [CallID: EndpointCall] = [:]

    var pinState: PINState {
        if rejectedPINs.contains(pin) { return .rejected }
        return acceptedPIN == pin ? .accepted : .untried
    }
}

extension EndpointFailure {
    static let noAnswer = EndpointFailure(.deadlineExceeded, detail: "no answer in time")
    static let hostLost = EndpointFailure(.tokenHostLost, detail: "the token host died")
    static let tokenAway = EndpointFailure(.tokenNotFound, detail: "no token matches")
    static let deviceError = EndpointFailure(
        .returnValue, function: "C_GenerateKey", returnValue: 0x30, detail: "CKR_DEVICE_ERROR")
    static let isBusy = EndpointFailure(.busy, detail: "all sessions are busy")
    static let noKey = EndpointFailure(.keyNotFound, detail: "no key bears the identity")
}

extension Simulation {
    typealias Answer = Result<EndpointReply, EndpointFailure>

    /// Tells the node how its token host is now.
    func announce(_ number: Int, _ endpoint: Int) {
        let host = nodes[number].hosts[endpoint]
        let token = tokens[endpoint]
        let state: TokenHostState
        if host.status == .restarting {
            state = .starting
        } else if token.isAway {
            state = .failed(.tokenAway)
        } else {
            let description = TokenDescription(
                label: token.name.rawValue, serialNumber: token.serialNumber, manufacturer: "simulated",
                model: "simulated", mechanisms: [], isLoggedIn: host.isLoggedIn)
            let pin = options.bug == .uncheckedPIN ? .accepted : host.pinState
            state = .serving(description, pin: pin)
        }
        post(.tokenHost(token.name, state), to: number)
    }

    private func post(_ event: NodeEvent, to number: Int) {
        guard nodes[number].node != nil else { return }
        heap.push(.event(event, node: number, life: nodes[number].life), at: now)
    }

    /// The host or its token went away: calls under way end, the login is gone.
    func interrupt(_ number: Int, _ endpoint: Int, _ failure: EndpointFailure) {
        nodes[number].hosts[endpoint].epoch += 1
        nodes[number].hosts[endpoint].isLoggedIn = false
        let lost = nodes[number].hosts[endpoint].outstanding
        nodes[number].hosts[endpoint].outstanding = [:]
        announce(number, endpoint)
        for id in lost.keys.sorted() {
            if case .logIn = lost[id]?.request { tokens[endpoint].unknownTries += 1 }
            post(.answered(id, .failure(failure)), to: number)
        }
    }

    // MARK: Calls

    func make(_ call: EndpointCall, by number: Int) {
        guard let endpoint = tokens.firstIndex(where: { $0.name == call.endpoint }) else { return }
        guard nodes[number].hosts[endpoint].status == .serving else {
            return post(.answered(call.id, .failure(.hostLost)), to: number)
        }
        let life = nodes[number].life
        let epoch = nodes[number].hosts[endpoint].epoch
        nodes[number].hosts[endpoint].outstanding[call.id] = call
        let deadline = call.deadline.wholeNanoseconds / 1_000
        let length = min(
            dice.between(swarm.callTime.lowerBound, swarm.callTime.upperBound), deadline - 1)
        let faults = swarm.callFaults
        let fault = isFaulty && !faults.isEmpty && dice.chance(swarm.callFault) ? dice.pick(faults) : nil
        count("call \(call.request.name)")
        if let fault { count("call \(call.request.name): \(fault)") }
        note(
            "node \(nodes[number].id) asks \(call.endpoint) to \(call.request.name), call \(call.id.rawValue)"
                + (fault.map { ": \($0)" } ?? ""))
        // The process of an earlier life sent the call: it takes effect all the same; nobody hears of it.
        func answer(_ result: Answer, after delay: VirtualTime) {
            plan(after: delay, "answer") { simulation in
                guard simulation.isCurrent(number, life),
                    simulation.nodes[number].hosts[endpoint].outstanding.removeValue(forKey: call.id) != nil
                else { return }
                if case .logIn = call.request, case .failure(let failure) = result,
                    failure.kind != .credentialRejected
                {
                    simulation.tokens[endpoint].unknownTries += 1
                }
                simulation.note(
                    "node \(simulation.nodes[number].id): call \(call.id.rawValue) ends: \(result.brief)")
                simulation.post(.answered(call.id, result), to: number)
            }
        }
        func takeEffect(after delay: VirtualTime, isLate: Bool, then next: @escaping (Answer) -> Void) {
            plan(after: delay, "effect") { simulation in
                // A late effect is the HSM's own doing: it needs neither host nor login any more.
                let isStale = simulation.nodes[number].hosts[endpoint].epoch != epoch
                guard isLate || !isStale || call.request.mayHaveEffect else { return }
                next(simulation.perform(call.request, on: endpoint, by: number, isLate: isLate || isStale))
            }
        }
        switch fault {
        case nil:
            takeEffect(after: length / 2, isLate: false) { answer($0, after: length - length / 2) }
        case .hang:
            answer(.failure(.noAnswer), after: deadline)
        case .replyLost:
            takeEffect(after: length, isLate: false) { _ in }
            answer(.failure(.noAnswer), after: deadline)
        case .lateEffect:
            let delay = deadline + dice.between(1, swarm.lateness)
            lastLateEffect = max(lastLateEffect, now + delay)
            takeEffect(after: delay, isLate: true) { _ in }
            answer(.failure(.noAnswer), after: deadline)
        case .deviceError:
            answer(.failure(.deviceError), after: length)
        case .errorAfterEffect:
            takeEffect(after: length / 2, isLate: false) { _ in answer(.failure(.deviceError), after: length)
            }
        case .busy:
            answer(.failure(.isBusy), after: 100)
        }
    }

    private func perform(
        _ request: EndpointRequest, on endpoint: Int, by number: Int, isLate: Bool
    ) -> Answer {
        guard !tokens[endpoint].isAway else { return .failure(.tokenAway) }
        switch request {
        case .logIn: return logIn(endpoint, number)
        case .forgetRejectedPIN:
            nodes[number].hosts[endpoint].rejectedPINs = []
            announce(number, endpoint)
            return .success(.done)
        case .inspect: return .success(.done)
        default: break
        }
        guard isLate || nodes[number].hosts[endpoint].isLoggedIn else {
            return .failure(EndpointFailure(.notLoggedIn, detail: "not logged in"))
        }
        // What was on its way to the enrolled token never reaches the one that stands there instead.
        guard !isLate || !tokens[endpoint].isReplaced else { return .failure(.tokenAway) }
        return performLoggedIn(request, on: endpoint, by: number)
    }

    private func logIn(_ endpoint: Int, _ number: Int) -> Answer {
        let host = nodes[number].hosts[endpoint]
        guard host.pinState != .rejected || options.bug == .forgottenRejection else {
            return .failure(EndpointFailure(.credentialRejected, detail: "rejected before; not tried"))
        }
        guard tokens[endpoint].pin == host.pin else {
            if options.bug != .forgottenRejection {
                nodes[number].hosts[endpoint].rejectedPINs.append(host.pin)
            }
            tokens[endpoint].wrongTries += 1
            count("wrong PIN")
            note("node \(nodes[number].id) tries a wrong PIN on \(tokens[endpoint].name)")
            if tokens[endpoint].wrongTries > 1 + tokens[endpoint].unknownTries {
                fail(
                    "a wrong PIN was tried \(tokens[endpoint].wrongTries) times on \(tokens[endpoint].name) "
                        + "without an operator's word")
            }
            announce(number, endpoint)
            return .failure(EndpointFailure(.credentialRejected, detail: "wrong PIN"))
        }
        nodes[number].hosts[endpoint].acceptedPIN = host.pin
        nodes[number].hosts[endpoint].isLoggedIn = true
        announce(number, endpoint)
        return .success(.done)
    }

    // MARK: What a token does

    /// The object with this identity as the node sees it now; nil for none, a failure when several differ.
    private func find(_ identity: [UInt8], _ endpoint: Int, _ number: Int) -> Result<
        SimulatedToken.Object?, EndpointFailure
    > {
        let seen = (tokens[endpoint].objects[identity] ?? []).filter {
            $0.hiddenUntil <= now || $0.maker == number
        }
        // An import that is repeated while the first one's object is out of sight makes a second object. As long
        // as they are the same key, a token host has to take them for one.
        guard seen.allSatisfy({ $0.secret == seen.first?.secret }) else {
            return .failure(EndpointFailure(.keyMismatch, detail: "\(seen.count) objects bear the identity"))
        }
        if seen.count > 1 { count("object doubled") }
        return .success(seen.first)
    }

    private func add(_ specification: KeySpecification, _ secret: UInt64, _ endpoint: Int, _ number: Int) {
        let hidden = isFaulty && swarm.invisibility > 0 && dice.chance(0.5)
        if hidden { count("object invisible") }
        tokens[endpoint].objects[specification.identity, default: []].append(
            .init(
                specification: specification, secret: secret,
                hiddenUntil: hidden ? now + dice.between(1, swarm.invisibility) : 0, maker: number))
    }

    private func performLoggedIn(_ request: EndpointRequest, on endpoint: Int, by number: Int) -> Answer {
        if tokens[endpoint].isReplaced {
            // Another token, and an empty one.
            if case .scan = request { return .success(.objects([])) }
            return .failure(.deviceError)
        }
        switch request {
        case .inspect, .logIn, .forgetRejectedPIN:
            return .success(.done)
        case .scan(let prefix):
            var found: [KeyObject] = []
            for identity in tokens[endpoint].identities {
                for object in tokens[endpoint].objects[identity] ?? []
                where object.hiddenUntil <= now || object.maker == number {
                    guard object.specification.label.hasPrefix(prefix) else { continue }
                    found.append(
                        KeyObject(
                            label: object.specification.label, identity: identity,
                            algorithm: object.specification.algorithm, isSensitive: true,
                            isExtractable: object.specification.isExtractable))
                }
            }
            return .success(.objects(found))
        case .transportKey:
            return .success(
                .transportKey(TransportPublicKey(modulus: tokens[endpoint].modulus, publicExponent: [3])))
        case .generate(let specification):
            return find(specification.identity, endpoint, number).flatMap { existing in
                if existing != nil { return .success(.made(adopted: true)) }
                add(specification, dice.next(), endpoint, number)
                return .success(.made(adopted: false))
            }
        case .exportKey(let identity, let destination):
            return find(identity, endpoint, number).flatMap { object in
                guard let object else { return .failure(.noKey) }
                guard object.specification.isExtractable else {
                    return .failure(EndpointFailure(.keyNotExtractable, detail: "not extractable"))
                }
                return .success(
                    .wrapped(
                        WrappedKey(
                            encryptedWrappingKey: destination.modulus,
                            encryptedKey: ByteOrder.bigEndian(object.secret), usesSHA256: false)))
            }
        case .importKey(let specification, let wrapped):
            return importKey(specification, wrapped, endpoint, number)
        case .verify(let identity, _, let challenge):
            return find(identity, endpoint, number).flatMap { object in
                guard let object else { return .failure(.noKey) }
                let secret = options.bug == .skippedProof ? 0 : object.secret
                let mark = challenge.reduce(secret) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
                return .success(
                    .proof(KeyProof(keyCheckValue: "\(secret % 4_096)", probe: "\(mark)")))
            }
        case .restrict(let identity):
            return find(identity, endpoint, number).flatMap { object in
                guard object != nil else { return .failure(.noKey) }
                tokens[endpoint].objects[identity]?[0].specification.isExtractable = false
                return .success(.done)
            }
        case .destroy(let identity, let label):
            if options.bug == .destroyedByLabel { destroyAll(label, on: endpoint) }
            let all = tokens[endpoint].objects[identity] ?? []
            let kept = all.filter { $0.specification.label != label }
            tokens[endpoint].objects[identity] = kept.isEmpty ? nil : kept
            note("\(tokens[endpoint].name): \(label) \(Hex.encode(identity).suffix(12)) is destroyed")
            checker.destroyed(identity, count: all.count - kept.count, on: tokens[endpoint].name, self)
            return .success(.destroyed(all.count - kept.count))
        }
    }

    private func destroyAll(_ label: String, on endpoint: Int) {
        for identity in tokens[endpoint].identities {
            let all = tokens[endpoint].objects[identity] ?? []
            guard all.contains(where: { $0.specification.label == label }) else { continue }
            tokens[endpoint].objects[identity] = nil
            checker.destroyed(identity, count: all.count, on: tokens[endpoint].name, self)
        }
    }

    private func importKey(
        _ specification: KeySpecification, _ wrapped: WrappedKey, _ endpoint: Int, _ number: Int
    ) -> Answer {
        guard wrapped.encryptedWrappingKey == tokens[endpoint].modulus else {
            return .failure(EndpointFailure(.invalidRequest, detail: "wrapped for another token"))
        }
        var secret = wrapped.encryptedKey.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        if options.bug == .skippedProof, dice.chance(0.05) { secret &+= 1 }
        return find(specification.identity, endpoint, number).flatMap { existing in
            guard let existing else {
                add(specification, secret, endpoint, number)
                return .success(.made(adopted: false))
            }
            guard existing.secret == secret else {
                return .failure(EndpointFailure(.keyMismatch, detail: "another key bears the identity"))
            }
            if !specification.isExtractable {
                for position in tokens[endpoint].objects[specification.identity]?.indices ?? 0..<0 {
                    tokens[endpoint].objects[specification.identity]?[position].specification.isExtractable =
                        false
                }
            }
            return .success(.made(adopted: true))
        }
    }

    // MARK: What befalls a token

    func takeAway(_ endpoint: Int, for length: VirtualTime, replaced: Bool) {
        guard !tokens[endpoint].isAway, !tokens[endpoint].isReplaced else { return }
        note("\(tokens[endpoint].name) \(replaced ? "is replaced by another token" : "goes away")")
        count(replaced ? "token replaced" : "token away")
        if replaced { tokens[endpoint].isReplaced = true } else { tokens[endpoint].isAway = true }
        for number in nodes.indices { interrupt(number, endpoint, .tokenAway) }
        plan(after: length, "token returns") { $0.bringBack(endpoint) }
    }

    func bringBack(_ endpoint: Int) {
        guard tokens[endpoint].isAway || tokens[endpoint].isReplaced else { return }
        note("\(tokens[endpoint].name) is back")
        tokens[endpoint].isAway = false
        tokens[endpoint].isReplaced = false
        for number in nodes.indices { interrupt(number, endpoint, .tokenAway) }
    }

    func killHost(_ number: Int, _ endpoint: Int) {
        guard nodes[number].hosts[endpoint].status == .serving else { return }
        note("node \(nodes[number].id): the token host of \(tokens[endpoint].name) dies")
        count("token host killed")
        nodes[number].hosts[endpoint].status = .restarting
        interrupt(number, endpoint, .hostLost)
        plan(after: dice.between(50_000, 2_000_000), "host starts") { simulation in
            simulation.nodes[number].hosts[endpoint].status = .serving
            simulation.announce(number, endpoint)
        }
    }
}

extension Result where Success == EndpointReply, Failure == EndpointFailure {
    var brief: String {
        switch self {
        case .success(.objects(let objects)): "\(objects.count) objects"
        case .success(let reply): "\(reply)".prefix(120).description
        case .failure(let failure): "\(failure.kind)"
        }
    }
}
