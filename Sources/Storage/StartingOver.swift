import ClusterModel
import KeyCatalog
import Raft

// A node whose term and vote are lost starts with nothing but the knowledge that it has forgotten. A crash on the way
// there must not leave an empty directory, from which the node would start as if it had never voted: a file says what
// is under way until the new log, which says it, too, is durable. Whoever replaces a node's disk makes that file.

/// Giving up what a node had stored.
enum StartingOver {
    static let markerName = "raft.rejoin"

    static func isUnderWay(in directory: String) -> Bool {
        FileSystem.size(of: "\(directory)/\(markerName)") != nil
    }

    /// Keeps the damaged files aside and makes a new log that knows of the loss.
    static func carryOut(directory: String, cluster: String, node: NodeID) throws(StorageError) {
        let marker = "\(directory)/\(markerName)"
        _ = try FileSystem.ensureFile(marker)
        for name in [LogStore.fileName, CatalogStore.fileName] {
            let path = "\(directory)/\(name)"
            if FileSystem.size(of: path) ?? 0 > 0 { try FileSystem.keepAside(path) }
            if FileSystem.size(of: path + "-wal") ?? 0 > 0 { try FileSystem.keepAside(path + "-wal") }
            for suffix in ["-wal", "-journal", ""] { try FileSystem.remove(path + suffix) }
        }
        try FileSystem.remove("\(directory)/raft.acknowledged")
        try FileSystem.syncDirectory(directory)
        let plan = RecoveryPlan.startingOver()
        let log = try LogStore(
            directory: directory, cluster: cluster, node: node, fresh: plan.state.hardState)
        try log.close()
        try FileSystem.remove(marker)
        try FileSystem.syncDirectory(directory)
    }
}
