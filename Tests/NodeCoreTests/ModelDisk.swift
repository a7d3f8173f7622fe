import ClusterModel
import KeyCatalog
import NodeCore
import Raft

// A node's disk as the storage floor promises it: the log and the catalog are written by a writer each, in
// order, one job a millisecond. The catalog is synced only when it is asked to be, so a power cut takes it back
// further than the log. A crash loses the jobs that have not been done.

struct ModelDisk {
    enum LogJob {
        case write(PersistBatch)
        case compact(SnapshotMetadata)
        case install(SnapshotMetadata)
    }

    enum CatalogJob {
        case apply(AppliedEntry)
        case makeDurable(SnapshotMetadata)
        case replace(SnapshotInstallation)
    }

    struct CatalogRows {
        var rows: [String: RowChange] = [:]
        var appliedIndex = LogIndex.zero
        /// The snapshot that the rows were last replaced by.
        var installed: SnapshotMetadata?

        mutating func apply(_ changes: [RowChange]) {
            for change in changes { rows[change.table + "/" + change.key] = change }
        }
    }

    var hardState = HardState()
    var log: [LogEntry] = []
    var snapshot: SnapshotMetadata?
    var catalog = CatalogRows()
    /// What of the catalog survives a power cut.
    var syncedCatalog = CatalogRows()
    var logJobs: [LogJob] = []
    var catalogJobs: [CatalogJob] = []
    /// Broken promises of the node about the order of things.
    var violations: [String] = []
    /// A disk that is held does nothing; one that holds installations leaves the log as it was.
    var isHeld = false, holdsInstallations = false
    /// Counts finished jobs that replaced or forgot something.
    var compactions = 0, installations = 0

    func recovered(voters: [NodeID]) -> RecoveredState {
        RecoveredState(
            hardState: hardState, entries: log, snapshot: snapshot,
            initialConfiguration: VoterConfiguration(voters: voters, learners: []))
    }

    /// What a start does first: an installation that got only as far as the catalog is finished.
    mutating func finishInstallation() {
        guard let installed = catalog.installed, installed.lastIndex > snapshot?.lastIndex ?? .zero else {
            return
        }
        perform(.install(installed))
    }

    mutating func loseUnwritten(powerCut: Bool) {
        logJobs = []
        catalogJobs = []
        if powerCut { catalog = syncedCatalog }
    }

    /// Does one job of each writer; returns what the node hears of it.
    mutating func work() -> (events: [NodeEvent], send: [Envelope]) {
        guard !isHeld else { return ([], []) }
        var done: (events: [NodeEvent], send: [Envelope]) = ([], [])
        if case .install? = logJobs.first, holdsInstallations { return done }
        if !logJobs.isEmpty {
            let job = logJobs.removeFirst()
            perform(job)
            switch job {
            case .write(let batch):
                done.events.append(.persisted(batch.token))
                done.send += batch.thenSend
            case .compact(let metadata): done.events.append(.snapshotTaken(metadata))
            case .install(let metadata): done.events.append(.snapshotInstalled(metadata))
            }
        }
        guard !catalogJobs.isEmpty else { return done }
        switch catalogJobs.removeFirst() {
        case .apply(let entry):
            require(entry.index == catalog.appliedIndex.next, "entry \(entry.index) applied out of order")
            catalog.apply(entry.changes)
            catalog.appliedIndex = entry.index
        case .makeDurable(let metadata):
            require(catalog.appliedIndex >= metadata.lastIndex, "a snapshot of what is not applied")
            syncedCatalog = catalog
            logJobs.append(.compact(metadata))
        case .replace(let installation):
            let metadata = installation.metadata
            require(metadata.lastIndex > catalog.appliedIndex, "a snapshot that is not news")
            catalog = CatalogRows(appliedIndex: metadata.lastIndex, installed: metadata)
            catalog.apply(installation.rows)
            syncedCatalog = catalog
            logJobs.append(.install(metadata))
        }
        return done
    }

    private mutating func perform(_ job: LogJob) {
        switch job {
        case .write(let batch):
            if let hardState = batch.hardState { self.hardState = hardState }
            if let from = batch.truncateFrom { log.removeAll { $0.index >= from } }
            let last = log.last?.index ?? snapshot?.lastIndex ?? .zero
            require(batch.entries.first.map { $0.index == last.next } ?? true, "a gap after entry \(last)")
            log += batch.entries
        case .compact(let metadata):
            require(syncedCatalog.appliedIndex >= metadata.lastIndex, "the log forgot what is not synced")
            require(
                log.contains { $0.index == metadata.lastIndex && $0.term == metadata.lastTerm }
                    || snapshot?.lastIndex ?? .zero >= metadata.lastIndex, "a snapshot of a foreign entry")
            log.removeAll { $0.index <= metadata.lastIndex }
            snapshot = metadata
            compactions += 1
        case .install(let metadata):
            require(metadata.lastIndex >= hardState.commitIndex, "a snapshot behind the commit index")
            log = []
            snapshot = metadata
            installations += 1
        }
    }

    private mutating func require(_ condition: Bool, _ text: String) {
        if !condition { violations.append(text) }
    }
}
