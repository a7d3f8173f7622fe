import ClusterModel
import KeyCatalog

// Key generation as a saga (design: one visible key per request; orphans bounded and reported):
// intent → attempt → generate → copies → activate. Each arrow is a log entry, so any leader can go on from
// where another stopped. PKCS#11 cannot fence a late writer; what makes this safe is that only the exact
// CKA_ID that an activation names is ever used.

extension Node {
    // MARK: Taking a request

    mutating func startGeneration(
        _ request: ClientRequest.GenerateKey, _ fresh: Identifier128, _ askedAt: Int64, for ticket: Ticket
    ) {
        if let key = catalog.key(ofRequest: request.requestID), isSame(request, key) {
            return awaitKey(key, for: ticket)
        }
        guard (steward?.waiting.count ?? 0) < settings.pendingRequests else {
            return answer(ticket, .refused(.overloaded))
        }
        steward?.waiting.append(
            .init(
                request: request, freshIdentifier: fresh, askedAt: askedAt, arrivedAt: moment.now,
                ticket: ticket))
        steward?.isDirty = true
    }

    private func isSame(_ request: ClientRequest.GenerateKey, _ key: MasterKey) -> Bool {
        request.algorithm == key.algorithm && (request.keyStore == nil || request.keyStore == key.keyStore)
    }

    /// A number is given out only after looking at what stands on the tokens now.
    mutating func advanceWaitingGenerations() {
        guard let waiting = steward?.waiting, !waiting.isEmpty else { return }
        steward?.waiting = []
        for item in waiting {
            let isEarly = moment.now - item.arrivedAt < settings.leaderPatience
            guard
                let keyStore = item.request.keyStore.map({ catalog.keyStores[$0] }) ?? catalog.activeKeyStore
            else {
                answer(item.ticket, .refused(.catalog(.keyStoreUnknown(item.request.keyStore))))
                continue
            }
            let inService = catalog.endpointsInService
            let usable = inService.filter { isUsable($0) }
            guard usable.count >= keyStore.minimumReplicas else {
                // A leader that has just begun may not know its own token hosts yet.
                if isEarly {
                    steward?.waiting.append(item)
                } else {
                    answer(
                        item.ticket,
                        .refused(.notEnoughEndpoints(inService: usable, needed: keyStore.minimumReplicas)))
                }
                continue
            }
            let stale = usable.filter { name in
                guard let scan = steward?.scans[name] else { return true }
                return scan.askedAt < item.arrivedAt
            }
            guard stale.isEmpty || !isEarly else {
                for name in stale { startScan(name) }
                steward?.waiting.append(item)
                continue
            }
            let labels = labelsSeen()
            propose(
                .beginKey(
                    KeyIntent(
                        operation: item.freshIdentifier, requestID: item.request.requestID,
                        keyStore: item.request.keyStore, algorithm: item.request.algorithm, usage: .derive,
                        comment: item.request.comment, createdAt: item.askedAt,
                        highestLabelSeen: labels.highest,
                        ambiguousLabel: labels.ambiguous)), for: .client(item.ticket))
        }
    }

    private func labelsSeen() -> (highest: UInt64, ambiguous: String?) {
        var highest: UInt64 = 0
        var ambiguous: String?
        for (name, scan) in (steward?.scans ?? [:]).sorted(by: { $0.key < $1.key }) {
            for object in scan.objects {
                switch KeyLabel.read(object.label) {
                case .generated(let number): highest = max(highest, number)
                case .ambiguous: ambiguous = ambiguous ?? "\(object.label) on \(name)"
                case .copied, .other: break
                }
            }
        }
        return (highest, ambiguous)
    }

    // MARK: Answering

    /// Answers when the key is finished, now or later.
    mutating func awaitKey(_ key: MasterKey, for ticket: Ticket) {
        switch key.state {
        case .usable: answer(ticket, .key(key))
        case .failed(let reason):
            answer(ticket, .refused(.generationFailed(label: key.label, reason: reason)))
        case .pending: steward?.waiters[key.operation, default: []].append(ticket)
        }
    }

    mutating func keyFinished(_ key: MasterKey) {
        steward?.works[key.operation] = nil
        for ticket in steward?.waiters.removeValue(forKey: key.operation) ?? [] { awaitKey(key, for: ticket) }
        switch key.state {
        case .usable:
            let names = key.verifiedEndpoints.map(\.rawValue).joined(separator: ", ")
            notice(.info, "\(key.label) is usable, with verified replicas on \(names)", ["label": key.label])
        case .failed(let reason):
            notice(.warning, "\(key.label) was given up: \(reason)", ["label": key.label])
        case .pending: break
        }
    }

    // MARK: The saga

    mutating func advanceKeys() {
        for key in catalog.pendingKeys {
            if steward?.works[key.operation] == nil {
                steward?.works[key.operation] = KeyWork(takenUpAt: moment.now)
            }
            guard let work = steward?.works[key.operation], !work.isProposing else { continue }
            if key.generated == nil {
                advanceGeneration(key, work)
            } else {
                advanceActivation(key, work)
            }
        }
    }

    private mutating func proposeStep(_ key: MasterKey, _ command: CatalogCommand) {
        steward?.works[key.operation]?.isProposing = true
        propose(command, for: .key(key.operation))
    }

    private mutating func advanceGeneration(_ key: MasterKey, _ work: KeyWork) {
        guard work.call == nil else { return }
        if giveUpIfLate(key, work) { return }
        guard let last = key.attempts.last(where: { !$0.isDiscarded }) else { return beginAttempt(key, work) }
        if last.identity.term == raft.term, !work.issued.contains(last.identity) {
            return generate(key, last)
        }
        lookForEarlierAttempts(key, work)
    }

    private mutating func beginAttempt(_ key: MasterKey, _ work: KeyWork) {
        let candidates = catalog.endpointsInService.filter { name in
            guard isUsable(name) else { return false }
            guard let failure = work.failures[name] else { return true }
            return moment.now >= failure.retryAt
        }
        // Prefer endpoints that have not failed; spread keys over the rest.
        let fresh = candidates.filter { work.failures[$0] == nil }
        let choice = fresh.isEmpty ? candidates : fresh
        guard !choice.isEmpty else { return }
        let endpoint = choice[Int(key.number % UInt64(choice.count))]
        proposeStep(key, .beginAttempt(key.operation, endpoint: endpoint))
    }

    /// The attempt's entry is committed in this leader's own term: a quorum followed it just now.
    private mutating func generate(_ key: MasterKey, _ attempt: MasterKey.Attempt) {
        steward?.works[key.operation]?.issued.insert(attempt.identity)
        let specification = KeySpecification(
            identity: attempt.identity.bytes, label: key.label, algorithm: key.algorithm, usage: key.usage,
            isExtractable: true)
        let id = stewardCall(
            attempt.endpoint, .generate(specification), for: .generate(key.operation, attempt))
        steward?.works[key.operation]?.call = id
    }

    mutating func generateAnswered(
        _ operation: OperationID, _ attempt: MasterKey.Attempt,
        _ result: Result<EndpointReply, EndpointFailure>
    ) {
        guard let key = catalog.keys[operation] else { return }
        switch result {
        case .success: prove(key, attempt)
        case .failure(let failure): attemptFailed(operation, attempt.endpoint, failure)
        }
    }

    private mutating func prove(_ key: MasterKey, _ attempt: MasterKey.Attempt) {
        let request = EndpointRequest.verify(
            identity: attempt.identity.bytes, algorithm: key.algorithm, challenge: key.challenge)
        let id = stewardCall(attempt.endpoint, request, for: .proveGenerated(key.operation, attempt))
        steward?.works[key.operation]?.call = id
    }

    mutating func proofAnswered(
        _ operation: OperationID, _ attempt: MasterKey.Attempt,
        _ result: Result<EndpointReply, EndpointFailure>
    ) {
        switch result {
        case .success(.proof(let proof)):
            steward?.works[operation]?.call = nil
            steward?.works[operation]?.isProposing = true
            propose(
                .recordGenerated(
                    operation, identity: attempt.identity, endpoint: attempt.endpoint, proof: proof,
                    at: moment.wallClock), for: .key(operation))
        case .success: break
        case .failure(let failure): attemptFailed(operation, attempt.endpoint, failure)
        }
    }

    private mutating func attemptFailed(
        _ operation: OperationID, _ endpoint: EndpointName, _ failure: EndpointFailure
    ) {
        guard var work = steward?.works[operation] else { return }
        work.call = nil
        work.endedAt = moment.now
        work.failures[endpoint] = stepFailure(after: work.failures[endpoint], failure)
        steward?.works[operation] = work
        notice(
            .warning, "generating on \(endpoint) failed: \(failure.detail)",
            ["endpoint": "\(endpoint)", "kind": failure.kind.rawValue])
    }

    /// An attempt ended without an answer, or a former leader made it: look for its object before another is
    /// made. That only keeps orphans few; a late object can do no harm.
    private mutating func lookForEarlierAttempts(_ key: MasterKey, _ work: KeyWork) {
        let open = key.attempts.filter { !$0.isDiscarded }
        let mark = work.endedAt ?? work.takenUpAt
        let isOwn = open.last.map { work.issued.contains($0.identity) } ?? false
        // A call that this leader made has ended, by its deadline at the latest. One of a former leader may
        // still be on its way for as long as a call can take.
        let patience = isOwn ? mark : mark + settings.callDeadline
        var isComplete = true
        for name in Set(open.map(\.endpoint)).sorted() where isReady(name) {
            guard let scan = steward?.scans[name], scan.askedAt >= mark else {
                startScan(name)
                isComplete = false
                continue
            }
            let found = scan.objects.compactMap { KeyIdentity(bytes: $0.identity) }.sorted()
            if let attempt = open.first(where: { $0.endpoint == name && found.contains($0.identity) }) {
                return prove(key, attempt)
            }
            if moment.now >= patience, scan.askedAt < patience { startScan(name) }
            if scan.askedAt < patience { isComplete = false }
        }
        guard isComplete, moment.now >= patience else { return }
        beginAttempt(key, work)
    }

    private mutating func giveUpIfLate(_ key: MasterKey, _ work: KeyWork) -> Bool {
        guard moment.now - work.takenUpAt > settings.generationDeadline else { return false }
        let verified = key.verifiedEndpoints
        var parts = ["\(verified.count) of \(key.minimumReplicas) required replicas stand"]
        for name in catalog.endpoints.keys.sorted() where !verified.contains(name) {
            let copy = steward?.copies[.init(operation: key.operation, endpoint: name)]
            if let failure = copy?.failure?.failure ?? work.failures[name]?.failure {
                parts.append("\(name): \(failure.detail)")
            } else if !isUsable(name) {
                parts.append("\(name): not usable by node \(settings.id)")
            }
        }
        proposeStep(key, .failKey(key.operation, reason: parts.joined(separator: "; ")))
        return true
    }

    private mutating func advanceActivation(_ key: MasterKey, _ work: KeyWork) {
        guard let generated = key.generated else { return }
        let verified = key.verifiedEndpoints
        if verified.count >= key.minimumReplicas {
            let since = work.minimumAt ?? moment.now
            steward?.works[key.operation]?.minimumAt = since
            let open = catalog.endpointsInService.filter { name in
                guard !verified.contains(name), mayBecomeUsable(name) else { return false }
                return steward?.copies[.init(operation: key.operation, endpoint: name)]?.wasTried != true
            }
            guard open.isEmpty || moment.now - since > settings.replicaGrace else { return }
            return proposeStep(
                key,
                .activateKey(
                    key.operation, identity: generated.identity, keyCheckValue: generated.proof.keyCheckValue)
            )
        }
        if giveUpIfLate(key, work) { return }
        let hasSource = key.sources.contains { canGiveCopies($0) }
        guard !hasSource else {
            steward?.works[key.operation]?.sourcelessSince = nil
            return
        }
        guard let since = work.sourcelessSince else {
            steward?.works[key.operation]?.sourcelessSince = moment.now
            return
        }
        // Its endpoint went away before it could be copied: make another elsewhere, under the same label.
        guard moment.now - since > settings.originPatience else { return }
        let isElsewhere = catalog.endpointsInService.contains { $0 != generated.endpoint && isUsable($0) }
        guard isElsewhere else { return }
        proposeStep(key, .discardGenerated(key.operation, identity: generated.identity))
    }

    /// True for an endpoint that this node can use, or is about to (it is being started, logged in, enrolled).
    private func mayBecomeUsable(_ name: EndpointName) -> Bool {
        guard !isUsable(name) else { return true }
        switch localEndpoints[name]?.state {
        case .starting: return true
        case .serving: return !isAnotherToken(name) && localEndpoints[name]?.loginFailure == nil
        case .failed, nil: return false
        }
    }
}
