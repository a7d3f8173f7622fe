import ClusterModel
import KeyCatalog

// The reconciler compares what the catalog says with what really stands on the endpoints. A replica that
// ought to be there and is not (twice in a row: some tokens show writes of others late) is taken from the
// catalog, so that it is repaired. An object that carries the stamp of one of our operations but that no
// activation names is an orphan: reported, then destroyed by its own logged step. Objects that the cluster
// did not make are counted for the label numbers, and never touched.

extension Node {
    mutating func advanceScans() {
        for name in settings.endpoints where isReady(name) {
            if let scan = steward?.scans[name], !scan.isRepeatedSoon,
                moment.now - scan.askedAt < settings.reconcilePeriod
            {
                continue
            }
            startScan(name)
        }
    }

    mutating func startScan(_ name: EndpointName) {
        if let retryAt = steward?.scanRetryAt[name], moment.now < retryAt { return }
        guard steward?.scanning.insert(name).inserted == true else { return }
        _ = stewardCall(
            name, .scan(labelPrefix: KeyLabel.prefix), for: .scan(name, askedAt: moment.now))
    }

    mutating func scanAnswered(
        _ name: EndpointName, _ askedAt: Instant, _ result: Result<EndpointReply, EndpointFailure>
    ) {
        steward?.scanning.remove(name)
        guard case .success(.objects(let objects)) = result else {
            steward?.scanRetryAt[name] = moment.now + settings.retryPause * 4
            return
        }
        steward?.scanRetryAt[name] = nil
        steward?.scans[name] = Steward.Scan(askedAt: askedAt, objects: objects)
        reconcile(name, askedAt, objects)
    }

    private mutating func reconcile(_ name: EndpointName, _ askedAt: Instant, _ objects: [KeyObject]) {
        guard let serial = catalog.endpoints[name]?.serialNumber else { return }
        guard serial == localEndpoints[name]?.token?.serialNumber else { return }
        var present: Set<KeyIdentity> = []
        var restricted: Set<KeyIdentity> = []
        for object in objects {
            guard let identity = KeyIdentity(bytes: object.identity) else { continue }
            present.insert(identity)
            if !object.isExtractable { restricted.insert(identity) }
            guard catalog.isOrphan(identity) else { continue }
            let rowKey = Orphan.rowKey(name, identity)
            if catalog.orphans[rowKey].map({ $0.state == .destroyed }) ?? true, !isStale(rowKey, askedAt) {
                proposeUpkeep(
                    "orphan \(rowKey)", .reportOrphan(endpoint: name, identity: identity, label: object.label)
                )
            }
        }
        for key in catalog.keysInOrder where key.replicas[name]?.isVerified == true {
            guard let generated = key.generated else { continue }
            let copyKey = Steward.CopyKey(operation: key.operation, endpoint: name)
            guard !present.contains(generated.identity) else {
                steward?.missing[copyKey] = nil
                // An import that took effect late may have taken the right to copy from an object that a later
                // one had left it to. It is still the key, but no source any more.
                if restricted.contains(generated.identity), key.replicas[name]?.isExtractable == true {
                    proposeUpkeep(
                        "restricted \(name) \(key.operation)",
                        .recordReplica(
                            key.operation, identity: generated.identity, endpoint: name,
                            proof: generated.proof,
                            isExtractable: false, at: moment.wallClock))
                }
                continue
            }
            guard let missedAt = steward?.missing[copyKey] else {
                steward?.missing[copyKey] = askedAt
                // Look again soon rather than in a whole period.
                steward?.scanRetryAt[name] = moment.now + .seconds(1)
                steward?.scans[name]?.isRepeatedSoon = true
                continue
            }
            guard askedAt - missedAt >= .seconds(1) else { continue }
            steward?.missing[copyKey] = nil
            proposeUpkeep(
                "drop \(name) \(key.operation)",
                .dropReplica(key.operation, endpoint: name, problem: "not found on the endpoint"))
        }
    }

    /// True when the scan was asked for before the orphan's destruction was called: it shows the past.
    private func isStale(_ rowKey: String, _ askedAt: Instant) -> Bool {
        guard let destroyedAt = steward?.orphanRetryAt[rowKey] else { return false }
        return askedAt <= destroyedAt
    }

    // MARK: Orphans

    mutating func advanceOrphans() {
        for rowKey in catalog.openOrphans {
            guard let orphan = catalog.orphans[rowKey], isReady(orphan.endpoint) else { continue }
            switch orphan.state {
            case .reported:
                proposeUpkeep(
                    "orphan \(rowKey)",
                    .destroyOrphan(endpoint: orphan.endpoint, identity: orphan.identity))
            case .destroying:
                if let retryAt = steward?.orphanRetryAt[rowKey], moment.now < retryAt { continue }
                guard steward?.orphanCalls.insert(rowKey).inserted == true else { continue }
                guard let key = catalog.keys[orphan.identity.operation] else { continue }
                _ = stewardCall(
                    orphan.endpoint, .destroy(identity: orphan.identity.bytes, label: key.label),
                    for: .destroyOrphan(rowKey))
            case .destroyed:
                break
            }
        }
    }

    mutating func orphanAnswered(_ rowKey: String, _ result: Result<EndpointReply, EndpointFailure>) {
        steward?.orphanCalls.remove(rowKey)
        guard let orphan = catalog.orphans[rowKey] else { return }
        switch result {
        case .success:
            steward?.orphanRetryAt[rowKey] = moment.now
            proposeUpkeep(
                "orphan \(rowKey)", .orphanDestroyed(endpoint: orphan.endpoint, identity: orphan.identity))
        case .failure:
            steward?.orphanRetryAt[rowKey] = moment.now + settings.longestRetryPause
        }
    }
}
