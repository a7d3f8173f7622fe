import ClusterModel
import Dispatch
import KeyCatalog
import NodeCore
import Raft
import Storage
import Synchronization

// Makes durable what the node hands out, each store on a queue of its own: the node goes on thinking while
// the disk works, and everything that gathers meanwhile goes to the disk with one sync (group commit).

/// Collects items and gives them, many at once and in order, to `write` on a serial queue.
final class BatchWriter<Item: Sendable>: Sendable {
    private struct State {
        var pending: [Item] = []
        var isScheduled = false
    }

    private let queue: DispatchQueue
    private let state = Mutex(State())
    private let write: @Sendable ([Item]) -> Void

    /// - Parameter write: called on the queue, never concurrently with itself; may block on the disk.
    init(label: String, write: @escaping @Sendable ([Item]) -> Void) {
        queue = DispatchQueue(label: label)
        self.write = write
    }

    func add(_ items: [Item]) {
        guard !items.isEmpty else { return }
        let mustSchedule = state.withLock { state in
            state.pending += items
            guard !state.isScheduled else { return false }
            state.isScheduled = true
            return true
        }
        if mustSchedule { queue.async { self.drain() } }
    }

    private func drain() {
        while true {
            let items = state.withLock { state -> [Item] in
                let items = state.pending
                state.pending = []
                if items.isEmpty { state.isScheduled = false }
                return items
            }
            guard !items.isEmpty else { return }
            write(items)
        }
    }

    /// Waits until everything added before is written.
    func flush() {
        queue.sync { self.drain() }
    }
}

/// The two stores of one node, written behind the node's back.
///
/// `onPersisted` is called once a batch and all before it are durable; `onSnapshot` once a snapshot is taken or
/// installed; `onFailure` with every failure. All are called on the writers' queues.
final class DurableWriter: Sendable {
    private enum LogJob {
        case write(PersistBatch)
        case compact(SnapshotMetadata)
        case install(SnapshotMetadata)
    }

    private enum CatalogJob {
        case apply(AppliedEntry)
        case makeDurable(SnapshotMetadata)
        case replace(SnapshotInstallation)
    }

    private let log: BatchWriter<LogJob>
    private let catalog: BatchWriter<CatalogJob>

    init(
        logStore: LogStore, catalogStore: CatalogStore,
        onPersisted: @escaping @Sendable ([PersistBatch]) -> Void,
        onSnapshot: @escaping @Sendable (NodeEvent) -> Void,
        onFailure: @escaping @Sendable (StorageError) -> Void
    ) {
        let log = BatchWriter<LogJob>(label: "hsmcluster.log") { jobs in
            var gathered: [PersistBatch] = []
            do throws(StorageError) {
                for job in jobs {
                    switch job {
                    case .write(let batch): gathered.append(batch)
                    case .compact(let metadata):
                        try Self.write(&gathered, logStore, onPersisted)
                        try logStore.compact(through: metadata)
                        onSnapshot(.snapshotTaken(metadata))
                    case .install(let metadata):
                        try Self.write(&gathered, logStore, onPersisted)
                        try logStore.install(metadata)
                        onSnapshot(.snapshotInstalled(metadata))
                    }
                }
                try Self.write(&gathered, logStore, onPersisted)
            } catch {
                onFailure(error)
            }
        }
        self.log = log
        catalog = BatchWriter(label: "hsmcluster.catalog") { jobs in
            var gathered: [AppliedEntry] = []
            do throws(StorageError) {
                for job in jobs {
                    switch job {
                    case .apply(let entry): gathered.append(entry)
                    case .makeDurable(let metadata):
                        try Self.apply(&gathered, catalogStore)
                        let position = try catalogStore.makeDurable()
                        // Entries reach this queue before the snapshot that covers them.
                        guard position.appliedIndex >= metadata.lastIndex else { continue }
                        log.add([.compact(metadata)])
                    case .replace(let installation):
                        try Self.apply(&gathered, catalogStore)
                        try catalogStore.replace(with: installation.rows, snapshot: installation.metadata)
                        log.add([.install(installation.metadata)])
                    }
                }
                try Self.apply(&gathered, catalogStore)
            } catch {
                onFailure(error)
            }
        }
    }

    /// One transaction, and one sync, for all that has gathered.
    private static func write(
        _ batches: inout [PersistBatch], _ store: LogStore, _ onPersisted: ([PersistBatch]) -> Void
    ) throws(StorageError) {
        guard !batches.isEmpty else { return }
        let writes = batches.map {
            LogBatch(hardState: $0.hardState, truncateFrom: $0.truncateFrom, entries: $0.entries)
        }.filter { !$0.isEmpty }
        if !writes.isEmpty { try store.write(writes) }
        onPersisted(batches)
        batches = []
    }

    private static func apply(
        _ entries: inout [AppliedEntry], _ store: CatalogStore
    ) throws(StorageError) {
        guard let last = entries.last else { return }
        try store.apply(entries.flatMap(\.changes), appliedIndex: last.index, appliedTerm: last.term)
        entries = []
    }

    func persist(_ batches: [PersistBatch]) { log.add(batches.map { .write($0) }) }
    func record(_ entries: [AppliedEntry]) { catalog.add(entries.map { .apply($0) }) }
    /// Syncs the catalog, then forgets the log up to the snapshot.
    func takeSnapshot(_ metadata: SnapshotMetadata) { catalog.add([.makeDurable(metadata)]) }
    /// Replaces the catalog, then the log.
    func install(_ snapshot: SnapshotInstallation) { catalog.add([.replace(snapshot)]) }

    func flush() {
        // The catalog's jobs may leave some for the log.
        catalog.flush()
        log.flush()
    }
}
