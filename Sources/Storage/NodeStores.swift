import ClusterModel
import KeyCatalog
import Raft

// Everything that a node finds on its disk when it starts, verified; and, where something is damaged, brought into a
// state from which the node may take part (`RecoveryPlan` says which that is). What was acknowledged and cannot be
// read is never passed over: the node owes it until its peers have sent it again.

/// The stores of one node, opened and verified.
public struct NodeStores: Sendable {
    /// The log.
    public let log: LogStore
    /// The catalog's rows.
    public let catalogStore: CatalogStore
    /// What consensus starts from.
    public let recovered: RecoveredState
    /// The catalog.
    public let catalog: Catalog
    /// The last log entry in it.
    public let appliedIndex: LogIndex
    /// What was damaged, and how it is made good; empty when nothing was. Carried out already, as far as this node
    /// can do it alone.
    public let findings: [RecoveryPlan.Finding]
    /// Whether an installation of a snapshot was completed that a crash had stopped.
    public let completedInstallation: Bool

    /// Opens both stores in `directory`, which is made if it is missing, and verifies all of them.
    /// - Throws: `StorageError` when a store cannot be opened; `RecoveryProblem`;
    ///   `CatalogRowError` for rows of a newer version.
    public init(
        directory: String, cluster: String, node: NodeID, initialConfiguration: VoterConfiguration
    ) throws {
        var (log, startedOver) = try Self.openLog(directory, cluster, node)
        // What such a node believes about the voters is out of date.
        let initialConfiguration =
            log.state.withLock { $0.hardState.rejoin } == nil
            ? initialConfiguration : VoterConfiguration(voters: [])
        var stored = try Self.readable {
            let store = try CatalogStore(directory: directory, cluster: cluster, node: node)
            return (store, try store.load())
        }
        completedInstallation = try stored.map { try log.finishInstallation(of: $0.0) } ?? false
        var found: SurvivingState
        var isLogIntact = true
        if let whole = try Self.readable({ try log.recover(initialConfiguration: initialConfiguration) }) {
            found = SurvivingState(
                hardState: whole.hardState, snapshot: whole.snapshot, end: whole.end, entries: whole.entries,
                applied: nil, initialConfiguration: initialConfiguration)
        } else {
            isLogIntact = false
            let rest = try log.survey()
            found = SurvivingState(
                hardState: log.state.withLock(\.hardState), snapshot: rest.snapshot, end: rest.end,
                entries: rest.entries, applied: nil, initialConfiguration: initialConfiguration)
        }
        var catalog = Catalog()
        if let (_, contents) = stored {
            catalog = try Catalog(rows: contents.rows)
            let position = contents.position
            let members = catalog.membership.map {
                VoterConfiguration(voters: $0.voters, learners: $0.learners)
            }
            found.applied = SnapshotMetadata(
                lastIndex: position.appliedIndex, lastTerm: position.appliedTerm,
                configuration: members ?? found.snapshot?.configuration ?? initialConfiguration)
        }
        let plan = RecoveryPlan(found)
        if plan.findings.contains(.votesLost) {
            // The log is older than the catalog.
            try stored?.0.close()
            stored = nil
            try log.close()
            try StartingOver.carryOut(directory: directory, cluster: cluster, node: node)
            log = try LogStore(directory: directory, cluster: cluster, node: node)
            startedOver = true
        } else if plan.findings.contains(where: { $0 != .stateRebuilt }) || !isLogIntact {
            // The structure of the database may be damaged even where no entry is.
            log = try log.rewritten(as: plan.state, in: directory)
        }
        if plan.discardsState {
            try stored?.0.close()
            stored = nil
            catalog = Catalog()
        }
        self.log = log
        catalogStore =
            try stored?.0
            ?? CatalogStore.replacingDamaged(directory: directory, cluster: cluster, node: node)
        self.catalog = catalog
        appliedIndex = plan.discardsState ? .zero : found.applied?.lastIndex ?? .zero
        recovered = plan.state
        findings = startedOver && !plan.findings.contains(.votesLost) ? [.votesLost] : plan.findings
        if let problem = recovered.problem(appliedIndex: appliedIndex) { throw problem }
    }

    /// The log, and whether the node had to start over for it to be opened.
    private static func openLog(
        _ directory: String, _ cluster: String, _ node: NodeID
    ) throws(StorageError) -> (LogStore, startedOver: Bool) {
        if !StartingOver.isUnderWay(in: directory) {
            do throws(StorageError) {
                return (try LogStore(directory: directory, cluster: cluster, node: node), false)
            } catch {
                guard error.losesVotes else { throw error }
            }
        }
        try StartingOver.carryOut(directory: directory, cluster: cluster, node: node)
        return (try LogStore(directory: directory, cluster: cluster, node: node), true)
    }

    /// What `body` reads; nil when it is damaged.
    private static func readable<T>(_ body: () throws -> T) throws -> T? {
        do {
            return try body()
        } catch let error as StorageError where error.isDamage {
            return nil
        }
    }
}

extension RecoveredState {
    /// Where the log ends.
    fileprivate var end: LogPosition {
        LogPosition(
            index: entries.last?.index ?? snapshot?.lastIndex ?? .zero,
            term: entries.last?.term ?? snapshot?.lastTerm ?? .zero)
    }
}

extension CatalogStore {
    /// Puts an empty catalog in the place of a damaged one, which is kept aside.
    static func replacingDamaged(
        directory: String, cluster: String, node: NodeID
    ) throws(StorageError) -> CatalogStore {
        let path = "\(directory)/\(fileName)"
        try FileSystem.keepAside(path)
        for suffix in ["-wal", "-journal", ""] { try FileSystem.remove(path + suffix) }
        try FileSystem.syncDirectory(directory)
        return try CatalogStore(directory: directory, cluster: cluster, node: node)
    }
}
