internal import CCryptoki
internal import ClusterModel
internal import Failover
internal import OperationWire
internal import Synchronization

// One operation from the application's thread to an answer: choose an endpoint, send, wait for the hedge time, send to a
// second one, wait for either, and try the others within the deadline. Everything that goes this way may be repeated:
// it signs, derives or reads, or it makes a session object, which dies with its client wherever else it was made.

/// What an operation came to.
struct Performed {
    var reply: OperationReply
    /// The endpoint's position in the view.
    var endpoint: Int
}

/// One operation on its way through the endpoints.
private struct Flight {
    var endpoint: Int
    var pending: any PendingReply
    var number: UInt64
}

extension Library {
    /// Carries an operation out on any endpoint that can do it.
    /// - Parameters:
    ///   - session: Owner of what is made.
    ///   - only: The one endpoint that may be used, for streams.
    ///   - operation: The operation, given what `sources` are called on the endpoint.
    func perform(
        session: UInt64, in view: DirectoryView, sources: [KeySource], only: Int? = nil,
        operation: ([ObjectReference]) -> Operation
    ) throws(Refusal) -> Performed {
        var journey = Journey(library: self, session: session, view: view, sources: sources, only: only)
        defer { journey.giveUpFlights() }
        return try journey.run(operation)
    }

    /// Sends a request to one endpoint and waits, without a second try. Used for what prepares an operation.
    func exchange(
        _ operation: Operation, session: UInt64, with endpoint: Int, of view: DirectoryView, until end: Int64
    ) throws(Refusal) -> OperationReply {
        let number = requestNumbers.add(1, ordering: .relaxed).oldValue
        let left = end - network.now().nanoseconds
        guard left > 0 else { throw .device }
        var request = try encode(operation, number: number, session: session, nanoseconds: left)
        defer { request.wipe() }
        return try exchange(
            request, with: endpoint, of: view, replyBytes: operation.replyEstimate, nanoseconds: left)
    }

    fileprivate func exchange(
        _ request: [UInt8], with endpoint: Int, of view: DirectoryView, replyBytes: Int, nanoseconds: Int64
    ) throws(Refusal) -> OperationReply {
        let sent: any PendingReply
        let end = network.now() + .nanoseconds(nanoseconds)
        do throws(HostUnreachable) {
            sent = try network.begin(
                request, to: view.directory.endpoints[endpoint], replyBytes: replyBytes, connectBy: end,
                deadline: end)
        } catch { throw .device }
        guard let (_, answer) = network.wait(for: [sent], nanoseconds: nanoseconds) else {
            network.abandon(sent)
            throw .device
        }
        guard case .reply(let bytes) = answer, let reply = try? OperationReply(decoding: bytes) else {
            throw .device
        }
        return reply
    }

    /// Tells an endpoint something that nobody waits long for. One that failed lately is not told: it has lost what it
    /// had, or drops it with the connection.
    func tell(_ operation: Operation, session: UInt64, to endpoint: Int, of view: DirectoryView) {
        let now = network.now().nanoseconds
        guard view.endpoints[endpoint].avoidUntil.load(ordering: .relaxed) <= now,
            !view.directory.endpoints[endpoint].socketPath.isEmpty
        else { return }
        _ = try? exchange(
            operation, session: session, with: endpoint, of: view, until: now + 50_000_000)
    }

    /// Shows the password to a token host that does not know this client yet.
    func logInAgain(on endpoint: Int, of view: DirectoryView, until end: Int64) -> Bool {
        let number = requestNumbers.add(1, ordering: .relaxed).oldValue
        let left = end - network.now().nanoseconds
        guard left > 0,
            var request = login.request(number: number, deadlineMilliseconds: milliseconds(left))
        else { return false }
        defer { request.wipe() }
        let reply = try? exchange(
            request, with: endpoint, of: view, replyBytes: 1_024, nanoseconds: left)
        return reply.map { CK_RV($0.returnValue) == CKR_OK } ?? false
    }

    /// What a source is called on an endpoint; a session object is made there first if it does not stand there.
    func reference(
        to source: KeySource, on endpoint: Int, of view: DirectoryView, until end: Int64
    ) throws(Refusal) -> ObjectReference {
        switch source {
        case .token(let number):
            guard let reference = view.reference(to: number, on: endpoint) else { throw .keyHandle }
            return reference
        case .session(let object):
            let name = view.endpoints[endpoint].name
            if let reference = object.placements.withLock({ $0[name] }) { return reference }
            let recipe = object.recipe.withLock { $0 }
            var references: [ObjectReference] = []
            for source in recipe.sources {
                references.append(try reference(to: source, on: endpoint, of: view, until: end))
            }
            guard let operation = recipe.operation(references) else { throw .keyHandle }
            noteTouch(endpoint, of: view, by: object.owner)
            var reply = try exchange(
                operation, session: object.owner, with: endpoint, of: view, until: end)
            if CK_RV(reply.returnValue) == CKR_USER_NOT_LOGGED_IN,
                logInAgain(on: endpoint, of: view, until: end)
            {
                reply = try exchange(
                    operation, session: object.owner, with: endpoint, of: view, until: end)
            }
            guard CK_RV(reply.returnValue) == CKR_OK else { throw Refusal(CK_RV(reply.returnValue)) }
            guard case .handles(let handles, let incarnation) = reply.body, let handle = handles.first else {
                throw .device
            }
            let made = ObjectReference.hostObject(handle: handle, incarnation: incarnation)
            object.placements.withLock { $0[name] = made }
            return made
        }
    }

    /// Remembers that an endpoint holds something of a session.
    func noteTouch(_ endpoint: Int, of view: DirectoryView, by session: UInt64) {
        _ = sessions[session]?.touched.withLock { $0.insert(view.endpoints[endpoint].name) }
    }

    fileprivate func encode(
        _ operation: Operation, number: UInt64, session: UInt64, nanoseconds: Int64
    ) throws(Refusal) -> [UInt8] {
        do throws(WireError) {
            return try OperationRequest(
                number: number, session: session, deadlineMilliseconds: milliseconds(nanoseconds),
                operation: operation
            ).encode()
        } catch { throw .dataLength }
    }

    private func milliseconds(_ nanoseconds: Int64) -> UInt32 {
        UInt32(clamping: max(nanoseconds / 1_000_000, 1))
    }
}

/// The state of one operation while it looks for an endpoint.
private struct Journey {
    let library: Library
    let session: UInt64
    let view: DirectoryView
    let sources: [KeySource]
    let only: Int?
    private let end: Int64
    private let hedge: Int64
    private let candidates: [Int]
    private var tried: Set<Int> = []
    private var repeatedOn: Set<Int> = []
    private var flights: [Flight] = []
    private var last = Refusal.device
    private let origin: UInt64

    init(library: Library, session: UInt64, view: DirectoryView, sources: [KeySource], only: Int?) {
        self.library = library
        self.session = session
        self.view = view
        self.sources = sources
        self.only = only
        let now = library.network.now().nanoseconds
        end = now + Int64(view.directory.deadlineMilliseconds) * 1_000_000
        hedge = Int64(view.directory.hedgeMilliseconds) * 1_000_000
        candidates = view.directory.endpoints.indices.filter { index in
            let entry = view.directory.endpoints[index]
            guard entry.service != .out, !entry.socketPath.isEmpty, only == nil || only == index else {
                return false
            }
            return sources.allSatisfy { Self.canUse($0, on: index, of: view) }
        }
        origin = library.requestNumbers.load(ordering: .relaxed)
    }

    private static func canUse(_ source: KeySource, on endpoint: Int, of view: DirectoryView) -> Bool {
        switch source {
        case .token(let number): return view.reference(to: number, on: endpoint) != nil
        case .session(let object):
            if object.placements.withLock({ $0[view.endpoints[endpoint].name] }) != nil { return true }
            return object.recipe.withLock { recipe in
                if case .generated = recipe { return false }
                return recipe.sources.allSatisfy { canUse($0, on: endpoint, of: view) }
            }
        }
    }

    mutating func run(_ operation: ([ObjectReference]) -> Operation) throws(Refusal) -> Performed {
        // A key without a replica in service, or a generated session key whose endpoint is gone.
        guard !candidates.isEmpty else { throw sources.isEmpty ? .device : .keyHandle }
        var sentAt = library.network.now().nanoseconds
        while true {
            let now = library.network.now().nanoseconds
            guard now < end else { throw late() }
            if flights.isEmpty {
                if let endpoint = choice(at: now) {
                    sentAt = now
                    try launch(endpoint, operation)
                } else {
                    try pause(now)
                }
                continue
            }
            let mayHedge = flights.count < ProviderLimits.flights && choice(at: now) != nil
            let patience = mayHedge ? min(max(sentAt + hedge - now, 0), end - now) : end - now
            let answer = library.network.wait(for: flights.map(\.pending), nanoseconds: patience)
            if let (position, answer) = answer {
                let flight = flights.remove(at: position)
                view.endpoints[flight.endpoint].outstanding.subtract(1, ordering: .relaxed)
                if let done = try land(flight, answer, operation) { return done }
            } else if mayHedge, let endpoint = choice(at: now) {
                // The endpoint has had its time: it keeps its chance, but others are preferred for a while.
                for flight in flights { avoid(flight.endpoint) }
                sentAt = library.network.now().nanoseconds
                try launch(endpoint, operation)
            }
        }
    }

    /// Everything that is still on its way is not waited for. What it may make there goes when the session is closed.
    mutating func giveUpFlights() {
        for flight in flights {
            library.noteTouch(flight.endpoint, of: view, by: session)
            library.network.abandon(flight.pending)
            view.endpoints[flight.endpoint].outstanding.subtract(1, ordering: .relaxed)
        }
        flights = []
    }

    private func late() -> Refusal {
        for flight in flights { avoid(flight.endpoint) }
        return last
    }

    /// All candidates have failed: begin again after a moment, if there is time and anything may change.
    private mutating func pause(_ now: Int64) throws(Refusal) {
        guard last == .device || last == .busy, only == nil,
            now + ProviderLimits.roundPauseNanoseconds < end
        else { throw last }
        library.network.sleep(nanoseconds: ProviderLimits.roundPauseNanoseconds)
        tried = []
        repeatedOn = []
    }

    /// The best endpoint not tried yet: healthy before suspect, in service before standby, lower priorities first, then
    /// the least loaded for its weight.
    private func choice(at now: Int64) -> Int? {
        var best: (rank: (Int, Int, UInt32, Int), index: Int)?
        for offset in candidates.indices {
            let index = candidates[(offset + Int(origin % UInt64(candidates.count))) % candidates.count]
            guard !tried.contains(index) else { continue }
            let entry = view.directory.endpoints[index]
            let endpoint = view.endpoints[index]
            let load = endpoint.outstanding.load(ordering: .relaxed)
            let isFull = entry.concurrencyLimit > 0 && load >= Int(entry.concurrencyLimit)
            let isAvoided = endpoint.avoidUntil.load(ordering: .relaxed) > now
            let rank = (
                (isAvoided ? 2 : 0) + (isFull ? 1 : 0), entry.service == .standby ? 1 : 0, entry.priority,
                (load + 1) * 1_000 / Int(max(entry.weight, 1))
            )
            if let best, best.rank <= rank { continue }
            best = (rank, index)
        }
        return best?.index
    }

    private func avoid(_ endpoint: Int) {
        let until = library.network.now().nanoseconds + ProviderLimits.avoidNanoseconds
        view.endpoints[endpoint].avoidUntil.store(until, ordering: .relaxed)
    }

    /// How long preparing may take on one endpoint, so that others get their turn.
    private func share(of now: Int64) -> Int64 {
        candidates.count > 1 ? min(end, now + hedge) : end
    }

    private mutating func launch(
        _ endpoint: Int, _ operation: ([ObjectReference]) -> Operation
    ) throws(Refusal) {
        tried.insert(endpoint)
        var references: [ObjectReference] = []
        // Making a session object anew may not use up the time that the other endpoints need.
        let now = library.network.now().nanoseconds
        let share = share(of: now)
        for source in sources {
            do throws(Refusal) {
                references.append(
                    try library.reference(to: source, on: endpoint, of: view, until: share))
            } catch {
                try failed(error, on: endpoint, origin: .module)
                return
            }
        }
        let number = library.requestNumbers.add(1, ordering: .relaxed).oldValue
        let operation = operation(references)
        var request = try library.encode(
            operation, number: number, session: session,
            nanoseconds: end - library.network.now().nanoseconds)
        defer { request.wipe() }
        do throws(HostUnreachable) {
            let pending = try library.network.begin(
                request, to: view.directory.endpoints[endpoint], replyBytes: operation.replyEstimate,
                connectBy: Instant(nanoseconds: share), deadline: Instant(nanoseconds: end))
            view.endpoints[endpoint].outstanding.add(1, ordering: .relaxed)
            flights.append(Flight(endpoint: endpoint, pending: pending, number: number))
        } catch {
            last = .device
            avoid(endpoint)
        }
    }

    private mutating func land(
        _ flight: Flight, _ answer: HostAnswer, _ operation: ([ObjectReference]) -> Operation
    ) throws(Refusal) -> Performed? {
        guard case .reply(let bytes) = answer, let reply = try? OperationReply(decoding: bytes),
            reply.number == flight.number
        else {
            last = .device
            avoid(flight.endpoint)
            library.noteTouch(flight.endpoint, of: view, by: session)
            forgetPlacements(on: flight.endpoint)
            return nil
        }
        guard CK_RV(reply.returnValue) != CKR_OK else {
            view.endpoints[flight.endpoint].avoidUntil.store(0, ordering: .relaxed)
            return Performed(reply: reply, endpoint: flight.endpoint)
        }
        // C_GetAttributeValue succeeds in part.
        if case .attributes = reply.body { return Performed(reply: reply, endpoint: flight.endpoint) }
        try failed(Refusal(CK_RV(reply.returnValue)), on: flight.endpoint, origin: reply.origin)
        return nil
    }

    /// Decides what a failure means for the next step; throws when no other endpoint would do better.
    private mutating func failed(
        _ refusal: Refusal, on endpoint: Int, origin: OperationReply.Origin
    ) throws(Refusal) {
        let isFirst = repeatedOn.insert(endpoint).inserted
        if origin == .tokenHost || refusal == .notLoggedIn {
            switch refusal.code {
            case CKR_USER_NOT_LOGGED_IN:
                guard library.login.isLoggedIn else { throw refusal }
                last = .device
                let share = share(of: library.network.now().nanoseconds)
                if isFirst, library.logInAgain(on: endpoint, of: view, until: share) {
                    tried.remove(endpoint)
                }
                return
            case CKR_SESSION_COUNT:
                last = .busy
                return
            default: break
            }
        }
        switch view.failureTables[endpoint].classify(UInt(refusal.code))?.failureClass {
        case .badRequest: throw refusal
        case .staleSession:
            forgetPlacements(on: endpoint)
            last = refusal
            // A stale object or session of the token host: it is found again when asked again.
            if isFirst { tried.remove(endpoint) }
        case .capacity: last = .busy
        case .ambiguous:
            last = refusal
            if isFirst { tried.remove(endpoint) } else { avoid(endpoint) }
        case .gone, .credential, nil:
            last = .device
            avoid(endpoint)
            forgetPlacements(on: endpoint)
        }
    }

    private func forgetPlacements(on endpoint: Int) {
        let name = view.endpoints[endpoint].name
        func forget(_ source: KeySource) {
            guard case .session(let object) = source else { return }
            let recipe = object.recipe.withLock { $0 }
            if case .generated = recipe { return }
            _ = object.placements.withLock { $0.removeValue(forKey: name) }
            for source in recipe.sources { forget(source) }
        }
        for source in sources { forget(source) }
    }
}

extension Operation {
    /// The most bytes of the reply that is expected; one that is longer is rare and may be refused on the way.
    fileprivate var replyEstimate: Int {
        let most = 1_024 + 16_384
        return switch self {
        case .data(.encrypt, _, _, let input, _), .data(.decrypt, _, _, let input, _): most + input.count
        case .streamUpdate(_, let piece): most + piece.count
        case .randomBytes(let count): most + Int(count)
        case .getAttributes, .streamEnd: most + 32_768
        default: most
        }
    }
}
