import ClusterModel
import KeyCatalog

// Copies of a key to the endpoints that lack it: export (wrapped inside the source HSM for the target's pinned
// transport key), import (unwrapped inside the target), prove, record. Used for keys in the making and for
// the repair of usable ones alike. Every step can be repeated: an import adopts what already stands there.

extension Node {
    mutating func advanceCopies() {
        let targets = settings.endpoints.filter { isUsable($0) }
        for key in catalog.keysNeedingCopies(on: targets) {
            for target in targets where key.replicas[target]?.isVerified != true {
                startCopy(key, to: target)
            }
        }
        guard let steward else { return }
        // What is verified, or belongs to a key that was given up, needs no further work.
        for copyKey in steward.copies.keys where isFinished(copyKey) { self.steward?.copies[copyKey] = nil }
    }

    private func isFinished(_ copyKey: Steward.CopyKey) -> Bool {
        guard let key = catalog.keys[copyKey.operation] else { return true }
        if case .failed = key.state { return true }
        return key.replicas[copyKey.endpoint]?.isVerified == true
    }

    private mutating func startCopy(_ key: MasterKey, to target: EndpointName) {
        guard let generated = key.generated, let steward else { return }
        let copyKey = Steward.CopyKey(operation: key.operation, endpoint: target)
        var copy = steward.copies[copyKey] ?? Copy()
        guard !copy.isUnderWay else { return }
        if let failure = copy.failure, moment.now < failure.retryAt { return }
        let busy = steward.copies.filter { $0.key.endpoint == target && $0.value.isUnderWay }
        guard busy.count < settings.copiesPerEndpoint else { return }
        let sources = key.sources.filter { canGiveCopies($0) }
        guard !sources.isEmpty else { return adoptStanding(key, copyKey, copy, generated) }
        // After a failure another source may do better.
        let others = copy.failure == nil ? [] : sources.filter { $0 != copy.source }
        guard let source = others.first ?? sources.first,
            let destination = catalog.endpoints[target]?.transportKey
        else { return }
        copy.source = source
        copy.isExtractable = wrappableCount(key, excluding: target) < key.repairSources
        let request = EndpointRequest.exportKey(identity: generated.identity.bytes, destination: destination)
        copy.stage = .exporting(stewardCall(source, request, for: .copy(copyKey)))
        self.steward?.copies[copyKey] = copy
    }

    /// Nothing is left to copy from, because tokens that show objects late let too many replicas be taken from
    /// the catalog. One that a scan has found again need not be copied: it only has to prove itself.
    private mutating func adoptStanding(
        _ key: MasterKey, _ copyKey: Steward.CopyKey, _ unstarted: Copy, _ generated: MasterKey.Generated
    ) {
        let identity = generated.identity.bytes
        let found = steward?.scans[copyKey.endpoint]?.objects.first { $0.identity == identity }
        guard let found else { return }
        var copy = unstarted
        copy.isExtractable = found.isExtractable
        let request = EndpointRequest.verify(
            identity: identity, algorithm: key.algorithm, challenge: key.challenge)
        copy.stage = .proving(stewardCall(copyKey.endpoint, request, for: .copy(copyKey)))
        steward?.copies[copyKey] = copy
    }

    /// How many replicas are wrappable, or are being made so.
    private func wrappableCount(_ key: MasterKey, excluding target: EndpointName) -> Int {
        let standing = key.sources.count
        let coming = (steward?.copies ?? [:]).filter { entry in
            guard entry.key.operation == key.operation, entry.key.endpoint != target else { return false }
            return entry.value.isExtractable && entry.value.isUnderWay
                && key.replicas[entry.key.endpoint]?.isVerified != true
        }.count
        return standing + coming
    }

    mutating func copyAnswered(_ copyKey: Steward.CopyKey, _ result: Result<EndpointReply, EndpointFailure>) {
        guard var copy = steward?.copies[copyKey], let key = catalog.keys[copyKey.operation],
            let generated = key.generated
        else { return }
        switch (copy.stage, result) {
        case (.exporting, .success(.wrapped(let wrapped))):
            let specification = KeySpecification(
                identity: generated.identity.bytes, label: key.label, algorithm: key.algorithm,
                usage: key.usage,
                isExtractable: copy.isExtractable)
            let id = stewardCall(copyKey.endpoint, .importKey(specification, wrapped), for: .copy(copyKey))
            copy.stage = .importing(id)
        case (.importing, .success(.made)):
            let request = EndpointRequest.verify(
                identity: generated.identity.bytes, algorithm: key.algorithm, challenge: key.challenge)
            copy.stage = .proving(stewardCall(copyKey.endpoint, request, for: .copy(copyKey)))
        case (.proving, .success(.proof(let proof))) where proof == generated.proof:
            copy.stage = .recording
            steward?.copies[copyKey] = copy
            recordReplica(copyKey, generated, proof, isExtractable: copy.isExtractable)
            return
        case (.proving, .success(.proof)):
            fail(
                &copy, copyKey,
                EndpointFailure(.keyMismatch, detail: "the copy on \(copyKey.endpoint) is not the same key"))
        case (_, .failure(let failure)):
            fail(&copy, copyKey, failure)
        case (_, .success):
            fail(
                &copy, copyKey,
                EndpointFailure(.invalidRequest, detail: "the token host gave an unexpected answer"))
        }
        steward?.copies[copyKey] = copy
    }

    private mutating func recordReplica(
        _ copyKey: Steward.CopyKey, _ generated: MasterKey.Generated, _ proof: KeyProof, isExtractable: Bool
    ) {
        propose(
            .recordReplica(
                copyKey.operation, identity: generated.identity, endpoint: copyKey.endpoint, proof: proof,
                isExtractable: isExtractable, at: moment.wallClock), for: .copy(copyKey))
    }

    private mutating func fail(_ copy: inout Copy, _ copyKey: Steward.CopyKey, _ failure: EndpointFailure) {
        copy.stage = .idle
        copy.failure = stepFailure(after: copy.failure, failure)
        guard copy.failure?.count == 1 else { return }
        notice(
            .warning,
            "copying \(catalog.keys[copyKey.operation]?.label ?? "a key") to \(copyKey.endpoint) failed: "
                + failure.detail, ["endpoint": "\(copyKey.endpoint)", "kind": failure.kind.rawValue])
    }

    /// The record of a copy is in the catalog, was refused or got lost; in the last two cases it starts over.
    mutating func copyProposalEnded(_ copyKey: Steward.CopyKey) {
        if case .recording = steward?.copies[copyKey]?.stage { steward?.copies[copyKey]?.stage = .idle }
    }
}
