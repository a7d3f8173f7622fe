import ClusterModel
import KeyCatalog
import NodeCore
import Raft
import WireFormat

// Watches every step with eyes that no node has: all logs, all disks, all tokens, everything that clients
// were told. The promises of consensus are those of Ongaro & Ousterhout, figure 3; those of the catalog and
// of key generation are the project's own. A second catalog, fed with the committed log, says what is true.

/// The state of all checks.
struct Checker {
    /// The catalog after every entry that any node has applied.
    var catalog = Catalog()
    /// The last entry in it.
    var applied = LogIndex.zero
    /// The highest log position that an acknowledgement or a read has shown to a client.
    var acknowledged = LogIndex.zero

    private var history: [AppliedEntry] = []
    /// The term of the node that first knew each entry to be committed: at least that of the leader who did it.
    private var committedIn: [Term] = []
    private var leaders: [Term: NodeID] = [:]
    private var commits: [LogIndex]
    private var appliedIndices: [LogIndex]
    private var wasLeader: [Bool]
    private var entries: [EntryName: (payload: Payload, previous: Term)] = [:]
    private var intents: Set<OperationID> = []
    private var labels: Set<UInt64> = []
    private var usable: [RequestID: OperationID] = [:]
    private var usableAt: [OperationID: LogIndex] = [:]
    private var usableIdentities: [[UInt8]: OperationID] = [:]
    private var storeAt: [String: LogIndex] = [:]
    /// When each object that is an orphan was first seen to be one.
    private(set) var orphanSince: [String: VirtualTime] = [:]

    private struct EntryName: Hashable {
        var index: LogIndex
        var term: Term
    }

    init(nodes: Int) {
        commits = Array(repeating: .zero, count: nodes)
        appliedIndices = commits
        wasLeader = Array(repeating: false, count: nodes)
    }

    // MARK: Consensus

    mutating func restarted(_ number: Int, _ simulation: Simulation) {
        guard let node = simulation.nodes[number].node else { return }
        commits[number] = node.raft.commitIndex
        appliedIndices[number] = node.appliedIndex
        wasLeader[number] = false
        if node.appliedIndex == applied, node.catalog != catalog {
            simulation.fail("node \(node.settings.id) read another catalog from its rows than it had written")
        }
    }

    mutating func stepped(_ number: Int, _ effects: NodeEffects, _ simulation: Simulation) {
        // Most steps change nothing of interest; a copy of the node would cost more than the step.
        guard let commit = simulation.nodes[number].node?.raft.commitIndex else { return }
        if commit < commits[number] {
            simulation.fail("node \(number + 1) moved its commit index back to \(commit)")
        }
        commits[number] = commit
        guard effects.roleChanged || !effects.applied.isEmpty else { return }
        guard let raft = simulation.nodes[number].node?.raft else { return }
        if effects.roleChanged { roleChanged(number, raft, simulation) }
        for entry in effects.applied { applied(entry, number, raft, simulation) }
    }

    private mutating func roleChanged(_ number: Int, _ raft: Consensus, _ simulation: Simulation) {
        let isLeader = raft.isLeader
        defer { wasLeader[number] = isLeader }
        guard isLeader else { return }
        if let other = leaders[raft.term], other != raft.id {
            simulation.fail("nodes \(other) and \(raft.id) both lead term \(raft.term)")
        }
        if leaders[raft.term] == nil {
            simulation.count("leader elected")
            // Leader completeness: what was committed in earlier terms is there. A vote that comes late can make
            // a leader when a later term has gone on already. The last entry implies the rest (log matching).
            let position = committedIn.lastIndex { $0 < raft.term }
            if let last = position.map({ history[$0] }),
                last.index > raft.snapshot?.lastIndex ?? .zero, raft.term(at: last.index) != last.term
            {
                simulation.fail(
                    "node \(raft.id) leads term \(raft.term) without committed entry \(last.index)")
            }
        }
        leaders[raft.term] = raft.id
    }

    /// Log matching: entries of the same index and term are the same, and so are their predecessors.
    mutating func willWrite(_ number: Int, _ batch: PersistBatch, _ simulation: Simulation) {
        let disk = simulation.nodes[number].disk
        let id = simulation.nodes[number].id
        if let from = batch.truncateFrom {
            for entry in disk.entries(from: from) where entry.index <= applied {
                if history[Int(entry.index.rawValue) - 1].term == entry.term {
                    return simulation.fail("node \(id) deletes committed entry \(entry.index)")
                }
            }
        }
        if let hardState = batch.hardState {
            if hardState.term < disk.hardState.term {
                return simulation.fail("node \(id) went back from term \(disk.hardState.term)")
            }
            if hardState.term == disk.hardState.term, let vote = disk.hardState.votedFor,
                hardState.votedFor != vote
            {
                return simulation.fail("node \(id) changed its vote in term \(hardState.term)")
            }
        }
        let end = min(disk.lastIndex, batch.truncateFrom?.previous ?? disk.lastIndex)
        var previous = end == .zero ? .zero : disk.term(at: end) ?? .zero
        var expected = end.next
        for entry in batch.entries {
            guard entry.index == expected else {
                return simulation.fail("node \(id) writes entry \(entry.index) where \(expected) comes next")
            }
            let name = EntryName(index: entry.index, term: entry.term)
            if let known = entries[name], known.payload != entry.payload || known.previous != previous {
                return simulation.fail(
                    "entry \(entry.index) of term \(entry.term) is not the same on all nodes")
            }
            entries[name] = (entry.payload, previous)
            previous = entry.term
            expected = entry.index.next
        }
    }

    /// A snapshot replaces a node's state: it has to be the truth, and may take back nothing that is committed.
    func willInstall(
        _ number: Int, _ metadata: SnapshotMetadata, over node: Node, _ simulation: Simulation
    ) {
        guard metadata.lastIndex > node.raft.commitIndex, metadata.lastIndex > node.appliedIndex else {
            return simulation.fail("node \(number + 1) installs a snapshot of what it has already")
        }
        guard metadata.lastIndex <= applied,
            history[Int(metadata.lastIndex.rawValue) - 1].term == metadata.lastTerm
        else {
            return simulation.fail("node \(number + 1) installs a snapshot of what is not committed")
        }
    }

    /// Called when the node has taken the snapshot over.
    mutating func installed(_ number: Int, _ metadata: SnapshotMetadata, _ simulation: Simulation) {
        guard let node = simulation.nodes[number].node else { return }
        if node.appliedIndex < metadata.lastIndex {
            simulation.fail("node \(number + 1) did not take over a snapshot up to \(metadata.lastIndex)")
        }
        appliedIndices[number] = max(appliedIndices[number], metadata.lastIndex)
        if node.appliedIndex == applied, node.catalog != catalog {
            simulation.fail("node \(number + 1) has another catalog after a snapshot up to \(applied)")
        }
    }

    private mutating func applied(
        _ entry: AppliedEntry, _ number: Int, _ raft: Consensus, _ simulation: Simulation
    ) {
        guard entry.index == appliedIndices[number].next else {
            return simulation.fail("node \(raft.id) applied \(entry.index) after \(appliedIndices[number])")
        }
        appliedIndices[number] = entry.index
        guard entry.index > applied else {
            if history[Int(entry.index.rawValue) - 1] != entry {
                simulation.fail("node \(raft.id) applied another entry \(entry.index) than others did")
            }
            return
        }
        guard let logged = raft.entry(at: entry.index), logged.term == entry.term else {
            return simulation.fail("node \(raft.id) applied entry \(entry.index), which is not in its log")
        }
        // A snapshot holds what it covers; only committed entries get into one.
        let holders = simulation.nodes.indices.filter {
            let disk = simulation.nodes[$0].disk
            return disk.firstIndex > entry.index || disk.term(at: entry.index) == entry.term
        }.count
        if holders * 2 <= simulation.nodes.count {
            simulation.fail(
                "entry \(entry.index) was applied when it was durable on \(holders) of "
                    + "\(simulation.nodes.count) nodes")
        }
        applied = entry.index
        history.append(entry)
        committedIn.append(raft.term)
        var changes: [RowChange] = []
        if case .command(let bytes) = logged.payload,
            let command = try? CBORDecoder.decode(CatalogCommand.self, from: bytes)
        {
            simulation.note("entry \(entry.index): \("\(command)".prefix(260))")
            let outcome = catalog.apply(command, term: entry.term, index: entry.index, changes: &changes)
            if case .refused(let refusal) = outcome { simulation.note("  refused: \(refusal)") }
            committed(command, outcome, simulation)
        }
        if changes != entry.changes {
            simulation.fail("node \(raft.id) made another change of entry \(entry.index) than it should")
        }
    }

    // MARK: Catalog and keys

    private mutating func committed(
        _ command: CatalogCommand, _ outcome: CatalogOutcome, _ simulation: Simulation
    ) {
        switch (command, outcome) {
        case (.beginKey(let intent), .key(let key)):
            guard key.operation == intent.operation, intents.insert(key.operation).inserted else { return }
            if !labels.insert(key.number).inserted {
                simulation.fail("the number of \(key.label) was given out twice")
            }
        case (.createKeyStore, .keyStore(let store)):
            if storeAt[store.name] == nil { storeAt[store.name] = applied }
        case (.reportLogin(let name, _, .abandoned), .done):
            // Nobody knows whether the PIN was tried; another node may.
            guard let endpoint = simulation.tokens.firstIndex(where: { $0.name == name }) else { return }
            simulation.tokens[endpoint].unknownTries += 1
        case (.activateKey, .key(let key)) where usableAt[key.operation] == nil:
            activated(key, simulation)
        default: break
        }
    }

    private mutating func activated(_ key: MasterKey, _ simulation: Simulation) {
        simulation.count("key activated")
        usableAt[key.operation] = applied
        if let other = usable[key.requestID] {
            simulation.fail("request \(key.requestID) has two usable keys, \(other) and \(key.operation)")
        }
        usable[key.requestID] = key.operation
        guard let generated = key.generated else {
            return simulation.fail("\(key.label) became usable without having been generated")
        }
        usableIdentities[generated.identity.bytes] = key.operation
        let standing = key.verifiedEndpoints.filter { name in
            simulation.tokens.contains { $0.name == name && $0.objects[generated.identity.bytes] != nil }
        }
        guard standing.count >= key.minimumReplicas else {
            return simulation.fail(
                "\(key.label) became usable with \(standing.count) replicas of \(key.minimumReplicas)")
        }
        checkSecrets(of: key, simulation)
    }

    /// All objects of a usable key are the same key.
    private func checkSecrets(of key: MasterKey, _ simulation: Simulation) {
        guard let identity = key.generated?.identity.bytes else { return }
        let secrets = Set(simulation.tokens.flatMap { ($0.objects[identity] ?? []).map(\.secret) })
        if secrets.count > 1 { simulation.fail("the replicas of \(key.label) are not the same key") }
    }

    mutating func destroyed(_ identity: [UInt8], count: Int, on name: EndpointName, _ simulation: Simulation)
    {
        guard count > 0 else { return }
        simulation.count("object destroyed")
        if let operation = usableIdentities[identity] {
            let label = catalog.keys[operation]?.label ?? "?"
            simulation.fail("the replica of the usable key \(label) on \(name) was destroyed")
        }
    }

    // MARK: Clients

    mutating func answered(_ operation: ClientOperation, _ reply: ClientReply, _ simulation: Simulation) {
        switch (operation.kind, reply) {
        case (_, .refused(.generationFailed(let label, _))):
            guard case .generate(let request) = operation.kind else { break }
            let key = catalog.key(ofRequest: request.requestID)
            guard let key, key.label == label, case .failed = key.state else {
                return simulation.fail("a client was told that \(label) failed, which it did not")
            }
            return
        case (_, .refused): return
        case (.generate(let request), .key(let key)):
            guard key.requestID == request.requestID, key.algorithm == request.algorithm else {
                return simulation.fail(
                    "a client that asked for \(request.requestID) was given \(key.label) of \(key.requestID)")
            }
            guard key.state == .usable, usable[request.requestID] == key.operation,
                let index = usableAt[key.operation]
            else {
                return simulation.fail("a client was given \(key.label), which is not usable")
            }
            acknowledged = max(acknowledged, index)
            return
        case (.createKeyStore(let name, _), .keyStore(let store)):
            guard store.name == name, let index = storeAt[name] else {
                return simulation.fail("a client that asked for \(name) was given \(store.name)")
            }
            acknowledged = max(acknowledged, index)
            return
        case (.read, .catalog(let view)):
            return readAnswered(operation, view, simulation)
        case (.retryLogin, .done), (.transferLeadership, .done): return
        default: break
        }
        simulation.fail("\(operation.kind.brief) was answered with \(reply.brief)")
    }

    private mutating func readAnswered(
        _ operation: ClientOperation, _ view: CatalogView, _ simulation: Simulation
    ) {
        guard view.appliedIndex >= operation.floor else {
            return simulation.fail(
                "a read showed the catalog at \(view.appliedIndex), though \(operation.floor) had been seen "
                    + "before it was asked")
        }
        acknowledged = max(acknowledged, view.appliedIndex)
        if view.appliedIndex == applied, view.keys != catalog.keysInOrder {
            simulation.fail("a read showed other keys than the log at \(applied) makes")
        }
        let shown = Set(view.keys.filter { $0.state == .usable }.map(\.operation))
        for (operation, index) in usableAt where index <= view.appliedIndex && !shown.contains(operation) {
            simulation.fail("a read lacks a usable key")
        }
    }

    // MARK: At intervals

    /// Compares whole states, which every step cannot afford.
    mutating func compareAll(_ simulation: Simulation) {
        for number in simulation.nodes.indices
        where simulation.nodes[number].node?.appliedIndex == applied
            && simulation.nodes[number].node?.catalog != catalog
        {
            simulation.fail("node \(number + 1) has another catalog at \(applied)")
        }
        for (_, operation) in usableIdentities.sorted(by: { $0.value < $1.value }) {
            guard let key = catalog.keys[operation], let identity = key.generated?.identity.bytes else {
                continue
            }
            guard key.state == .usable else {
                simulation.fail("\(key.label) was usable and is not any more")
                continue
            }
            checkSecrets(of: key, simulation)
            let count = simulation.tokens.filter { $0.objects[identity] != nil }.count
            if count < min(key.minimumReplicas, key.verifiedEndpoints.count) {
                simulation.fail("\(key.label) has \(count) replicas left")
            }
        }
        findOrphans(simulation)
    }

    private mutating func findOrphans(_ simulation: Simulation) {
        var found: [String: VirtualTime] = [:]
        for token in simulation.tokens {
            for bytes in token.identities {
                guard let identity = KeyIdentity(bytes: bytes), catalog.keys[identity.operation] != nil else {
                    simulation.fail("an object on \(token.name) belongs to no operation of the catalog")
                    continue
                }
                guard catalog.isOrphan(identity) else { continue }
                let rowKey = Orphan.rowKey(token.name, identity)
                found[rowKey] = orphanSince[rowKey] ?? simulation.now
                if orphanSince[rowKey] == nil { simulation.count("orphan") }
            }
        }
        orphanSince = found
    }

    /// Orphans that stand on a token and that the catalog does not report.
    var unreportedOrphans: [String] {
        orphanSince.keys.sorted().filter { rowKey in
            guard let orphan = catalog.orphans[rowKey] else { return true }
            return orphan.state == .destroyed
        }
    }
}
