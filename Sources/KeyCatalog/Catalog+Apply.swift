import ClusterModel

// The rules of the catalog. The safety of generation rests on three of them: a label number is given out once
// and never again; the first attempt that the log names as generated wins; activation is refused unless the
// minimum of verified replicas stands, and is never undone.

extension Catalog {
    /// Applies the command of the log entry (`term`, `index`) and appends the changed rows to `changes`.
    /// Deterministic; a refused command changes nothing.
    public mutating func apply(
        _ command: CatalogCommand, term: Term, index: LogIndex, changes: inout [RowChange]
    ) -> CatalogOutcome {
        do {
            switch command {
            case .registerEndpoint(let name):
                return try register(name, &changes)
            case .enrolEndpoint(let name, let serial, let label, let transportKey):
                return try updateEndpoint(name, &changes) { endpoint in
                    endpoint.serialNumber = endpoint.serialNumber ?? serial
                    endpoint.tokenLabel = endpoint.tokenLabel ?? label
                    endpoint.transportKey = endpoint.transportKey ?? transportKey
                }
            case .setService(let name, let isInService, let reason):
                return try setService(name, isInService, reason, &changes)
            case .claimLogin(let name, let node):
                return try claimLogin(name, node, index, &changes)
            case .reportLogin(let name, let node, let outcome):
                return try reportLogin(name, node, outcome, &changes)
            case .clearRejection(let name):
                return try updateEndpoint(name, &changes) { endpoint in
                    endpoint.rejectedBy = nil
                    endpoint.wasAcceptedBefore = false
                    endpoint.loginClaim = nil
                }
            case .createKeyStore(let name, let minimum, let sources, let createdAt, let requestID):
                return try createKeyStore(name, minimum, sources, createdAt, requestID, &changes)
            case .beginKey(let intent):
                return try beginKey(intent, &changes)
            case .beginAttempt(let operation, let endpoint):
                return try beginAttempt(operation, endpoint, term, &changes)
            case .recordGenerated(let operation, let identity, let endpoint, let proof, let time):
                return try recordGenerated(operation, identity, endpoint, proof, time, &changes)
            case .recordReplica(
                let operation, let identity, let endpoint, let proof, let isExtractable, let time):
                return try recordReplica(operation, identity, endpoint, proof, isExtractable, time, &changes)
            case .discardGenerated(let operation, let identity):
                return try discardGenerated(operation, identity, &changes)
            case .dropReplica(let operation, let endpoint, let problem):
                return try dropReplica(operation, endpoint, problem, &changes)
            case .activateKey(let operation, let identity, let keyCheckValue):
                return try activate(operation, identity, keyCheckValue, &changes)
            case .failKey(let operation, let reason):
                return try fail(operation, reason, &changes)
            case .reportOrphan(let endpoint, let identity, let label):
                return try reportOrphan(endpoint, identity, label, &changes)
            case .destroyOrphan(let endpoint, let identity):
                return try moveOrphan(endpoint, identity, to: .destroying, &changes)
            case .orphanDestroyed(let endpoint, let identity):
                return try moveOrphan(endpoint, identity, to: .destroyed, &changes)
            case .registerNode(let record):
                return try register(record, &changes)
            case .forgetNode(let node):
                return forgetNode(node, &changes)
            case .drainEndpoint(let name):
                return try drain(name, &changes)
            case .enableEndpoint(let name):
                return try enable(name, &changes)
            case .removeEndpoint(let name, let isForced):
                return try remove(name, isForced, &changes)
            }
        } catch {
            return .refused(error)
        }
    }

    // MARK: Endpoints

    private mutating func register(
        _ name: EndpointName, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard endpoints[name] == nil else { return .done }
        guard endpoints.count < CatalogLimits.endpoints else { throw .outOfBounds("too many endpoints") }
        store(EndpointRecord(name: name, isInService: false, wasInService: false), &changes)
        return .done
    }

    private mutating func updateEndpoint(
        _ name: EndpointName, _ changes: inout [RowChange], _ body: (inout EndpointRecord) -> Void
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var endpoint = try presentEndpoint(name)
        body(&endpoint)
        store(endpoint, &changes)
        return .done
    }

    private mutating func setService(
        _ name: EndpointName, _ isInService: Bool, _ reason: String?, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var endpoint = endpoints[name] else { throw .endpointUnknown(name) }
        guard !isInService || endpoint.withdrawal == nil else { throw .endpointWithdrawn(name) }
        let changed = endpoint.isInService != isInService
        endpoint.isInService = isInService
        endpoint.wasInService = endpoint.wasInService || isInService
        endpoint.reason = reason.map(cut)
        store(endpoint, &changes)
        if changed {
            counters.viewEpoch += 1
            storeCounters(&changes)
        }
        return .done
    }

    private mutating func claimLogin(
        _ name: EndpointName, _ node: NodeID, _ index: LogIndex, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var endpoint = try presentEndpoint(name)
        if let rejectedBy = endpoint.rejectedBy { throw .pinRejected(by: rejectedBy) }
        if let claim = endpoint.loginClaim, claim.node != node { throw .loginClaimed(by: claim.node) }
        endpoint.loginClaim = .init(node: node, index: index)
        store(endpoint, &changes)
        return .done
    }

    private mutating func reportLogin(
        _ name: EndpointName, _ node: NodeID, _ outcome: LoginOutcome, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var endpoint = endpoints[name] else { throw .endpointUnknown(name) }
        if endpoint.loginClaim?.node == node { endpoint.loginClaim = nil }
        if outcome == .rejected || outcome == .revoked {
            endpoint.rejectedBy = node
            endpoint.wasAcceptedBefore = endpoint.wasAcceptedBefore || outcome == .revoked
        }
        store(endpoint, &changes)
        return .done
    }

    // MARK: Key stores

    private mutating func createKeyStore(
        _ name: String, _ minimum: Int, _ sources: Int, _ createdAt: Int64, _ requestID: RequestID,
        _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        if let existing = keyStores[name] {
            guard existing.requestID == requestID else { throw .keyStoreExists(name) }
            return .keyStore(existing)
        }
        let used = keyStores.values.contains { $0.requestID == requestID } || keyRequests[requestID] != nil
        guard !used else { throw .requestConflict(requestID) }
        guard (1...CatalogLimits.nameBytes).contains(name.utf8.count), isPrintable(name) else {
            throw .outOfBounds("the name must have 1 to \(CatalogLimits.nameBytes) printable bytes")
        }
        guard (1...CatalogLimits.endpoints).contains(minimum), sources >= 1 else {
            throw .outOfBounds("the minimum of replicas must be 1 to \(CatalogLimits.endpoints)")
        }
        let keyStore = KeyStore(
            name: name, minimumReplicas: minimum, repairSources: sources, isActive: activeKeyStore == nil,
            createdAt: createdAt, requestID: requestID)
        store(keyStore, &changes)
        return .keyStore(keyStore)
    }

    // MARK: Generation

    private mutating func beginKey(
        _ intent: KeyIntent, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        if let existing = key(ofRequest: intent.requestID) {
            let isSame =
                existing.algorithm == intent.algorithm && existing.usage == intent.usage
                && (intent.keyStore == nil || intent.keyStore == existing.keyStore)
            guard isSame else { throw .requestConflict(intent.requestID) }
            return .key(existing)
        }
        let isTaken = keyStores.values.contains { $0.requestID == intent.requestID }
        guard !isTaken, keys[intent.operation] == nil else { throw .requestConflict(intent.requestID) }
        guard let keyStore = intent.keyStore.map({ keyStores[$0] }) ?? activeKeyStore else {
            throw .keyStoreUnknown(intent.keyStore)
        }
        guard intent.comment.utf8.count <= CatalogLimits.commentBytes, isPrintable(intent.comment) else {
            throw .outOfBounds("the comment must have at most \(CatalogLimits.commentBytes) printable bytes")
        }
        if let label = intent.ambiguousLabel { throw .labelAmbiguous(cut(label)) }
        let last = max(counters.lastLabelNumber, intent.highestLabelSeen)
        guard last < UInt64(Int64.max) else { throw .outOfBounds("the label numbers are used up") }
        counters.lastLabelNumber = last + 1
        storeCounters(&changes)
        let key = MasterKey(
            operation: intent.operation, requestID: intent.requestID, keyStore: keyStore.name,
            number: last + 1,
            algorithm: intent.algorithm, usage: intent.usage, comment: intent.comment,
            createdAt: intent.createdAt, minimumReplicas: keyStore.minimumReplicas,
            repairSources: keyStore.repairSources, state: .pending, attempts: [], replicas: [:])
        store(key, &changes)
        return .key(key)
    }

    private func pendingKey(_ operation: OperationID) throws(CatalogRefusal) -> MasterKey {
        guard let key = keys[operation] else { throw .operationUnknown(operation) }
        guard key.state == .pending else { throw .keyNotPending(operation) }
        return key
    }

    private mutating func beginAttempt(
        _ operation: OperationID, _ endpoint: EndpointName, _ term: Term, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var key = try pendingKey(operation)
        if let generated = key.generated { throw .anotherAttemptWon(generated.identity) }
        guard try presentEndpoint(endpoint).withdrawal == nil else { throw .endpointWithdrawn(endpoint) }
        guard key.attempts.count < CatalogLimits.attempts else { throw .outOfBounds("too many attempts") }
        let attempt = MasterKey.Attempt(
            identity: KeyIdentity(operation: operation, term: term, attempt: UInt16(key.attempts.count + 1)),
            endpoint: endpoint)
        key.attempts.append(attempt)
        store(key, &changes)
        return .attempt(attempt, of: key)
    }

    private mutating func recordGenerated(
        _ operation: OperationID, _ identity: KeyIdentity, _ endpoint: EndpointName, _ proof: KeyProof,
        _ time: Int64, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var key = try pendingKey(operation)
        if let generated = key.generated {
            guard generated.identity == identity else { throw .anotherAttemptWon(generated.identity) }
            return .key(key)
        }
        guard key.attempts.contains(where: { $0.identity == identity && !$0.isDiscarded }) else {
            throw .operationUnknown(operation)
        }
        _ = try presentEndpoint(endpoint)
        key.generated = .init(identity: identity, endpoint: endpoint, proof: proof)
        key.replicas[endpoint] = .init(isVerified: true, isExtractable: true, verifiedAt: time)
        store(key, &changes)
        return .key(key)
    }

    private mutating func discardGenerated(
        _ operation: OperationID, _ identity: KeyIdentity, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var key = try pendingKey(operation)
        guard key.generated?.identity == identity else { throw .operationUnknown(operation) }
        key.generated = nil
        key.replicas = [:]
        // All attempts so far, not only the one that had won: while it stood, the objects of the others were
        // orphans, and their destruction may be on its way. What was once an orphan must never be used.
        for position in key.attempts.indices { key.attempts[position].isDiscarded = true }
        store(key, &changes)
        return .key(key)
    }

    private mutating func recordReplica(
        _ operation: OperationID, _ identity: KeyIdentity, _ endpoint: EndpointName, _ proof: KeyProof,
        _ isExtractable: Bool, _ time: Int64, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var key = keys[operation] else { throw .operationUnknown(operation) }
        _ = try presentEndpoint(endpoint)
        if case .failed = key.state { throw .keyNotPending(operation) }
        guard let generated = key.generated, generated.identity == identity else {
            throw .operationUnknown(operation)
        }
        guard generated.proof == proof else { throw .proofDiffers(endpoint) }
        key.replicas[endpoint] = .init(isVerified: true, isExtractable: isExtractable, verifiedAt: time)
        store(key, &changes)
        return .key(key)
    }

    private mutating func dropReplica(
        _ operation: OperationID, _ endpoint: EndpointName, _ problem: String, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var key = keys[operation] else { throw .operationUnknown(operation) }
        guard var replica = key.replicas[endpoint] else { return .key(key) }
        replica.isVerified = false
        replica.isExtractable = false
        replica.problem = cut(problem)
        key.replicas[endpoint] = replica
        store(key, &changes)
        return .key(key)
    }

    private mutating func activate(
        _ operation: OperationID, _ identity: KeyIdentity, _ keyCheckValue: String,
        _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var key = keys[operation] else { throw .operationUnknown(operation) }
        if key.state == .usable, key.generated?.identity == identity { return .key(key) }
        guard key.state == .pending else { throw .keyNotPending(operation) }
        guard let generated = key.generated else { throw .operationUnknown(operation) }
        guard generated.identity == identity, generated.proof.keyCheckValue == keyCheckValue else {
            throw .anotherAttemptWon(generated.identity)
        }
        let verified = key.verifiedEndpoints.count
        guard verified >= key.minimumReplicas else {
            throw .notEnoughReplicas(verified: verified, needed: key.minimumReplicas)
        }
        key.state = .usable
        store(key, &changes)
        // The `*` only ever moves forward: a key that was intended earlier but finished later does not take it back.
        if var keyStore = keyStores[key.keyStore] {
            let current = keyStore.activeKey.flatMap { keys[$0]?.number } ?? 0
            if key.number > current {
                keyStore.activeKey = operation
                store(keyStore, &changes)
            }
        }
        return .key(key)
    }

    private mutating func fail(
        _ operation: OperationID, _ reason: String, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var key = try pendingKey(operation)
        key.state = .failed(reason: cut(reason))
        store(key, &changes)
        return .key(key)
    }

    // MARK: Orphans

    /// True when the object `identity` belongs to a known operation and can never become usable.
    public func isOrphan(_ identity: KeyIdentity) -> Bool {
        guard let key = keys[identity.operation] else { return false }
        if case .failed = key.state { return true }
        if key.attempts.contains(where: { $0.identity == identity && $0.isDiscarded }) { return true }
        guard let generated = key.generated else { return false }
        return generated.identity != identity
    }

    private mutating func reportOrphan(
        _ endpoint: EndpointName, _ identity: KeyIdentity, _ label: String, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        _ = try presentEndpoint(endpoint)
        guard isOrphan(identity) else { throw .notAnOrphan(identity) }
        let rowKey = Orphan.rowKey(endpoint, identity)
        if let known = orphans[rowKey], known.state != .destroyed { return .done }
        store(Orphan(endpoint: endpoint, identity: identity, label: label, state: .reported), &changes)
        return .done
    }

    private mutating func moveOrphan(
        _ endpoint: EndpointName, _ identity: KeyIdentity, to state: Orphan.State,
        _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard isOrphan(identity), var orphan = orphans[Orphan.rowKey(endpoint, identity)] else {
            throw .notAnOrphan(identity)
        }
        orphan.state = state
        store(orphan, &changes)
        return .done
    }

    // MARK: Storing

    mutating func store(_ record: EndpointRecord, _ changes: inout [RowChange]) {
        let before = endpoints.updateValue(record, forKey: record.name)
        // Changes which endpoints a key belongs on.
        if before == nil || (before?.withdrawal == .removed) != (record.withdrawal == .removed) {
            findUnfinished()
        }
        changes.append(row(Table.endpoints, record.name.rawValue, record))
    }

    private mutating func store(_ record: KeyStore, _ changes: inout [RowChange]) {
        keyStores[record.name] = record
        changes.append(row(Table.keyStores, record.name, record))
    }

    mutating func store(_ record: MasterKey, _ changes: inout [RowChange]) {
        keys[record.operation] = record
        keyRequests[record.requestID] = record.operation
        noteWork(on: record)
        changes.append(row(Table.keys, record.operation.description, record))
    }

    private mutating func store(_ record: Orphan, _ changes: inout [RowChange]) {
        let rowKey = Orphan.rowKey(record.endpoint, record.identity)
        orphans[rowKey] = record
        if record.state == .destroyed {
            unsettledOrphans.remove(rowKey)
        } else {
            unsettledOrphans.insert(rowKey)
        }
        changes.append(row(Table.orphans, rowKey, record))
    }

    mutating func storeCounters(_ changes: inout [RowChange]) {
        changes.append(row(Table.counters, "counters", counters))
    }

    private func cut(_ text: String) -> String {
        guard text.utf8.count > CatalogLimits.reasonBytes else { return text }
        return String(decoding: Array(text.utf8.prefix(CatalogLimits.reasonBytes)), as: UTF8.self)
    }

    private func isPrintable(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
    }
}
