import ClusterModel
import KeyCatalog
import NodeCore
import Raft

// A node's disk. As in the daemon, the log and the catalog rows have a writer each: what is handed over while a
// job is under way waits, and writes that wait share the next job. The catalog is synced only where a snapshot
// asks for it, so a power cut takes it back further than the log. A crash loses what is not done, each writer's
// share independently of the other's; a job that was under way may have become durable without anyone having
// been told. An installation is two jobs, the rows first, and a start finishes one that got only half way.

/// What survives a crash, and what is on its way there.
struct SimulatedDisk {
    enum LogJob {
        case write(PersistBatch)
        case compact(SnapshotMetadata)
        case install(SnapshotMetadata)

        var isWrite: Bool {
            if case .write = self { true } else { false }
        }
    }

    enum RowsJob {
        case apply(AppliedEntry)
        case makeDurable(SnapshotMetadata)
        case replace(SnapshotInstallation)

        var isApply: Bool {
            if case .apply = self { true } else { false }
        }
    }

    struct CatalogRows {
        var rows: [String: RowChange] = [:]
        var appliedIndex = LogIndex.zero
        /// The snapshot that the rows were last replaced by.
        var installed: SnapshotMetadata?

        mutating func write(_ changes: [RowChange]) {
            for change in changes { rows[change.table + "/" + change.key] = change }
        }
    }

    var hardState = HardState()
    /// The entries after `snapshot`.
    var log: [LogEntry] = []
    var snapshot: SnapshotMetadata?
    var catalog = CatalogRows()
    /// What of the catalog survives a power cut.
    var syncedCatalog = CatalogRows()
    var incarnation: UInt64 = 0

    var logQueue: [LogJob] = []
    var logWork: [LogJob] = []
    var rowsQueue: [RowsJob] = []
    var rowsWork: [RowsJob] = []
    var stalledUntil: VirtualTime = 0

    var firstIndex: LogIndex { (snapshot?.lastIndex ?? .zero).next }
    var lastIndex: LogIndex { log.last?.index ?? snapshot?.lastIndex ?? .zero }

    private func position(of index: LogIndex) -> Int { Int(index.rawValue) - Int(firstIndex.rawValue) }

    /// The entries from `index` on.
    func entries(from index: LogIndex) -> ArraySlice<LogEntry> { log.dropFirst(max(position(of: index), 0)) }

    /// The term at a position; nil beyond the log and before the snapshot.
    func term(at index: LogIndex) -> Term? {
        if let snapshot, index == snapshot.lastIndex { return snapshot.lastTerm }
        guard index >= firstIndex, index <= lastIndex else { return nil }
        return log[position(of: index)].term
    }

    mutating func write(_ batch: PersistBatch) {
        if let hardState = batch.hardState { self.hardState = hardState }
        if let from = batch.truncateFrom, from <= lastIndex, from >= firstIndex {
            log.removeSubrange(position(of: from)...)
        }
        log += batch.entries
    }

    mutating func compact(_ metadata: SnapshotMetadata) {
        log = Array(entries(from: metadata.lastIndex.next))
        snapshot = metadata
    }

    mutating func install(_ metadata: SnapshotMetadata) {
        log = []
        snapshot = metadata
    }
}

extension Simulation {
    // MARK: Starting and dying

    /// What a start does first: an installation that got only as far as the rows is finished.
    func finishInstallation(_ number: Int) {
        let disk = nodes[number].disk
        guard let installed = disk.catalog.installed,
            installed.lastIndex > disk.snapshot?.lastIndex ?? .zero
        else { return }
        count("start finishes an installation")
        nodes[number].disk.install(installed)
    }

    func loseUnsynced(_ number: Int) {
        let node = nodes[number]
        if !node.disk.logQueue.isEmpty || !node.disk.logWork.isEmpty { count("crash loses unsynced log") }
        // What was being written may be there in full; of the log, also a part, as if in several writes.
        for job in node.disk.logWork.prefix(dice.below(node.disk.logWork.count + 1)) { perform(job, number) }
        let rows = node.disk.rowsWork.prefix(dice.below(node.disk.rowsWork.count + 1))
        // Rows are handed over when their entry is durable: they cannot be ahead of the log.
        for job in rows { perform(job, number) }
        if dice.chance(swarm.powerCut) {
            count("power cut")
            node.disk.catalog = node.disk.syncedCatalog
        }
        node.disk.logQueue = []
        node.disk.logWork = []
        node.disk.rowsQueue = []
        node.disk.rowsWork = []
    }

    // MARK: Jobs

    func handToDisk(_ number: Int, _ effects: NodeEffects) {
        let node = nodes[number]
        node.disk.logQueue += effects.persist.map { .write($0) }
        node.disk.rowsQueue += effects.applied.map { .apply($0) }
        if let metadata = effects.takeSnapshot { node.disk.rowsQueue.append(.makeDurable(metadata)) }
        if let installation = effects.installSnapshot { node.disk.rowsQueue.append(.replace(installation)) }
        workLogIfIdle(number)
        workRowsIfIdle(number)
    }

    private func workLogIfIdle(_ number: Int) {
        let node = nodes[number]
        guard node.disk.logWork.isEmpty, !node.disk.logQueue.isEmpty else { return }
        let writes = node.disk.logQueue.prefix { $0.isWrite }.count
        node.disk.logWork = Array(node.disk.logQueue.prefix(max(writes, 1)))
        node.disk.logQueue.removeFirst(node.disk.logWork.count)
        heap.push(.logWritten(node: number, life: node.life), at: diskTime(number, swarm.writeTime))
    }

    private func workRowsIfIdle(_ number: Int) {
        let node = nodes[number]
        guard node.disk.rowsWork.isEmpty, !node.disk.rowsQueue.isEmpty else { return }
        let writes = node.disk.rowsQueue.prefix { $0.isApply }.count
        node.disk.rowsWork = Array(node.disk.rowsQueue.prefix(max(writes, 1)))
        node.disk.rowsQueue.removeFirst(node.disk.rowsWork.count)
        heap.push(.rowsWritten(node: number, life: node.life), at: diskTime(number, swarm.rowsTime))
    }

    private func diskTime(_ number: Int, _ range: ClosedRange<VirtualTime>) -> VirtualTime {
        var length = dice.between(range.lowerBound, range.upperBound)
        if isFaulty, dice.chance(swarm.diskStall) {
            length += dice.between(100_000, 3_000_000)
            count("slow write")
        }
        return max(now, nodes[number].disk.stalledUntil) + length
    }

    func logWritten(_ number: Int) {
        let jobs = nodes[number].disk.logWork
        nodes[number].disk.logWork = []
        for job in jobs { perform(job, number) }
        if isFaulty, swarm.crashAtStep > 0, dice.chance(10 / Double(swarm.crashAtStep)) {
            count("crash between write and send")
            return crash(number, restartAfter: dice.between(50_000, 8_000_000))
        }
        workLogIfIdle(number)
        let life = nodes[number].life
        var persisted: PersistToken?
        for job in jobs {
            switch job {
            case .write(let batch):
                persisted = batch.token
                for envelope in batch.thenSend {
                    send(PeerEnvelope(to: envelope.to, message: .raft(envelope.message)), from: number)
                }
            case .compact(let metadata): step(number, .snapshotTaken(metadata))
            case .install(let metadata):
                guard isCurrent(number, life) else { return }
                if let node = nodes[number].node {
                    checker.willInstall(number, metadata, over: node, self)
                }
                step(number, .snapshotInstalled(metadata))
                if isCurrent(number, life) { checker.installed(number, metadata, self) }
            }
        }
        if let persisted, isCurrent(number, life) { step(number, .persisted(persisted)) }
    }

    func rowsWritten(_ number: Int) {
        let jobs = nodes[number].disk.rowsWork
        nodes[number].disk.rowsWork = []
        let index = nodes[number].disk.catalog.appliedIndex
        for job in jobs { perform(job, number) }
        if options.bug == .rowsWithoutIndex { nodes[number].disk.catalog.appliedIndex = index }
        if isFaulty, dice.chance(swarm.crashInInstall) {
            for case .replace in jobs {
                count("crash in an installation")
                return crash(number, restartAfter: dice.between(50_000, 8_000_000))
            }
        }
        for job in jobs {
            switch job {
            case .apply: break
            case .makeDurable(let metadata): nodes[number].disk.logQueue.append(.compact(metadata))
            case .replace(let installation):
                nodes[number].disk.logQueue.append(.install(installation.metadata))
            }
        }
        workLogIfIdle(number)
        workRowsIfIdle(number)
    }

    private func perform(_ job: SimulatedDisk.LogJob, _ number: Int) {
        let node = nodes[number]
        switch job {
        case .write(let batch):
            checker.willWrite(number, batch, self)
            node.disk.write(batch)
        case .compact(let metadata):
            guard node.disk.syncedCatalog.appliedIndex >= metadata.lastIndex else {
                return fail("node \(node.id) forgets log entries whose rows are not synced")
            }
            guard metadata.lastIndex > node.disk.snapshot?.lastIndex ?? .zero else { return }
            guard node.disk.term(at: metadata.lastIndex) == metadata.lastTerm else {
                return fail("node \(node.id) takes a snapshot of an entry that it does not have")
            }
            count("log compacted")
            node.disk.compact(metadata)
        case .install(let metadata):
            guard metadata.lastIndex >= node.disk.hardState.commitIndex else {
                return fail("node \(node.id) installs a snapshot behind its commit index")
            }
            count("snapshot installed")
            node.disk.install(metadata)
        }
    }

    private func perform(_ job: SimulatedDisk.RowsJob, _ number: Int) {
        let node = nodes[number]
        switch job {
        case .apply(let entry):
            guard entry.index == node.disk.catalog.appliedIndex.next || options.bug != nil else {
                return fail("node \(node.id) writes the rows of entry \(entry.index) out of order")
            }
            node.disk.catalog.write(entry.changes)
            node.disk.catalog.appliedIndex = entry.index
        case .makeDurable(let metadata):
            guard node.disk.catalog.appliedIndex >= metadata.lastIndex || options.bug != nil else {
                return fail("node \(node.id) takes a snapshot of what is not applied")
            }
            node.disk.syncedCatalog = node.disk.catalog
        case .replace(let installation):
            let metadata = installation.metadata
            guard metadata.lastIndex > node.disk.catalog.appliedIndex else {
                return fail("node \(node.id) replaces its rows by older ones")
            }
            node.disk.catalog = SimulatedDisk.CatalogRows(
                appliedIndex: metadata.lastIndex, installed: metadata)
            node.disk.catalog.write(installation.rows)
            node.disk.syncedCatalog = node.disk.catalog
        }
    }
}
