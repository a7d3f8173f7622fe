internal import CCryptoki
internal import OperationWire
internal import Synchronization

// A multi-part operation that runs on one endpoint. When the endpoint is lost, it is begun anew on another one and given
// all input again, as long as that was kept; what was given out before must come out the same again, else the operation fails
// (CKR_FUNCTION_FAILED). Once the input is more than is kept, a lost endpoint ends the operation (CKR_DEVICE_ERROR).

extension Library {
    /// The next piece.
    func streamUpdate(
        _ operation: inout ActiveOperation, _ piece: [UInt8], _ state: inout SessionState, _ session: Session
    ) throws(Refusal) -> [UInt8] {
        let output = try step(&operation, &state, session) { .streamUpdate($0, piece) }
        if let kept = operation.kept, kept.count + piece.count <= ProviderLimits.keptInputBytes {
            operation.kept?.append(contentsOf: piece)
        } else {
            operation.kept = nil
        }
        operation.stream?.gaveOut(output)
        return output
    }

    /// The end. The stream is gone afterwards, whatever comes of it.
    func streamEnd(
        _ operation: inout ActiveOperation, signature: [UInt8], _ state: inout SessionState,
        _ session: Session
    ) throws(Refusal) -> [UInt8] {
        let output = try step(&operation, &state, session) { .streamEnd($0, signature: signature) }
        operation.stream = nil
        return output
    }

    /// The value of a key as the next piece of a digest. It cannot be kept.
    func digest(
        _ operation: inout ActiveOperation, key: KeySource, _ state: inout SessionState, _ session: Session
    ) throws(Refusal) {
        if operation.stream == nil { try open(&operation, excluding: [], with: [key], &state, session) }
        guard let stream = operation.stream else { throw .device }
        let done = try perform(
            session: session.handle, in: stream.view, sources: [key], only: stream.endpoint
        ) { .streamUpdateKey(stream.number, $0[0]) }
        guard CK_RV(done.reply.returnValue) == CKR_OK else { throw .device }
        operation.kept = nil
    }

    /// Tells the endpoint that a stream is given up.
    func abandon(_ operation: ActiveOperation, _ session: Session) {
        guard let stream = operation.stream else { return }
        tell(.streamAbandon(stream.number), session: session.handle, to: stream.endpoint, of: stream.view)
    }

    /// One step of a stream, with a new beginning elsewhere if the endpoint is lost.
    private func step(
        _ operation: inout ActiveOperation, _ state: inout SessionState, _ session: Session,
        _ make: (StreamNumber) -> Operation
    ) throws(Refusal) -> [UInt8] {
        var lost: Set<String> = []
        while true {
            if operation.stream == nil { try open(&operation, excluding: lost, with: [], &state, session) }
            guard let stream = operation.stream else { throw .device }
            let name = stream.view.endpoints[stream.endpoint].name
            let refusal: Refusal
            do throws(Refusal) {
                return try send(make(stream.number), stream, session)
            } catch { refusal = error }
            // Wrong input is wrong everywhere.
            let failureClass = stream.view.failureTables[stream.endpoint].classify(UInt(refusal.code))?
                .failureClass
            guard failureClass != .badRequest else { throw refusal }
            guard operation.kept != nil, lost.insert(name).inserted, lost.count < stream.view.endpoints.count
            else { throw .device }
            operation.stream = nil
            try reopen(&operation, after: stream, excluding: lost, &state, session)
        }
    }

    /// Sends one request of a stream: to its endpoint only, and once, since a piece that was lost on the way back must
    /// not be taken twice.
    private func send(_ request: Operation, _ stream: Stream, _ session: Session) throws(Refusal) -> [UInt8] {
        let end = network.now().nanoseconds + Int64(stream.view.directory.deadlineMilliseconds) * 1_000_000
        let endpoint = stream.view.endpoints[stream.endpoint]
        endpoint.outstanding.add(1, ordering: .relaxed)
        defer { endpoint.outstanding.subtract(1, ordering: .relaxed) }
        let reply = try exchange(
            request, session: session.handle, with: stream.endpoint, of: stream.view, until: end)
        guard CK_RV(reply.returnValue) == CKR_OK else { throw Refusal(CK_RV(reply.returnValue)) }
        switch reply.body {
        case .bytes(let bytes): return bytes
        case .none: return []
        default: throw .device
        }
    }

    /// Begins a stream on the best endpoint and gives it what was kept.
    private func open(
        _ operation: inout ActiveOperation, excluding lost: Set<String>, with extra: [KeySource],
        _ state: inout SessionState, _ session: Session
    ) throws(Refusal) {
        let view = try view(&state)
        let number = requestNumbers.add(1, ordering: .relaxed).oldValue
        let function = operation.function
        let hasKey = operation.key != nil
        let mechanism = operation.mechanism
        for (index, endpoint) in view.endpoints.enumerated() where lost.contains(endpoint.name) {
            endpoint.avoidUntil.store(
                network.now().nanoseconds + ProviderLimits.avoidNanoseconds, ordering: .relaxed)
            forget(operation.sources, on: index, of: view)
        }
        let own = operation.sources
        let done = try perform(session: session.handle, in: view, sources: own + extra) { references in
            .streamBegin(
                number, function, key: hasKey ? references[0] : nil,
                mechanism.wire(references[..<own.count].dropFirst(hasKey ? 1 : 0)))
        }
        noteTouch(done.endpoint, of: view, by: session.handle)
        var stream = Stream(number: number, endpoint: done.endpoint, view: view)
        if let kept = operation.kept, !kept.isEmpty {
            stream.gaveOut(try send(.streamUpdate(number, kept), stream, session))
        }
        operation.stream = stream
    }

    /// Begins anew after a loss and compares what comes out with what was given out before.
    private func reopen(
        _ operation: inout ActiveOperation, after old: Stream, excluding lost: Set<String>,
        _ state: inout SessionState, _ session: Session
    ) throws(Refusal) {
        try open(&operation, excluding: lost, with: [], &state, session)
        guard let new = operation.stream, new.outputCount == old.outputCount, new.outputHash == old.outputHash
        else {
            abandon(operation, session)
            operation.stream = nil
            throw Refusal(CKR_FUNCTION_FAILED)
        }
    }

    private func forget(_ sources: [KeySource], on endpoint: Int, of view: DirectoryView) {
        for source in sources {
            guard case .session(let object) = source, object.canBeRemade else { continue }
            _ = object.placements.withLock { $0.removeValue(forKey: view.endpoints[endpoint].name) }
        }
    }
}
