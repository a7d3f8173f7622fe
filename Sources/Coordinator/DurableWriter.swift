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
/// `onPersisted` is called once a batch and all before it are durable; `onFailure` once, with the first failure.
/// Both are called on the writers' queues.
final class DurableWriter: Sendable {
    private let log: BatchWriter<PersistBatch>
    private let catalog: BatchWriter<AppliedEntry>

    init(
        logStore: LogStore, catalogStore: CatalogStore,
        onPersisted: @escaping @Sendable ([PersistBatch]) -> Void,
        onFailure: @escaping @Sendable (StorageError) -> Void
    ) {
        log = BatchWriter(label: "hsmcluster.log") { batches in
            let writes = batches.map {
                LogBatch(hardState: $0.hardState, truncateFrom: $0.truncateFrom, entries: $0.entries)
            }.filter { !$0.isEmpty }
            do throws(StorageError) {
                if !writes.isEmpty { try logStore.write(writes) }
                onPersisted(batches)
            } catch {
                onFailure(error)
            }
        }
        catalog = BatchWriter(label: "hsmcluster.catalog") { entries in
            guard let last = entries.last else { return }
            do throws(StorageError) {
                try catalogStore.apply(
                    entries.flatMap(\.changes), appliedIndex: last.index, appliedTerm: last.term)
            } catch {
                onFailure(error)
            }
        }
    }

    func persist(_ batches: [PersistBatch]) { log.add(batches) }
    func record(_ entries: [AppliedEntry]) { catalog.add(entries) }

    func flush() {
        log.flush()
        catalog.flush()
    }
}
