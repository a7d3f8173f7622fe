import ClusterModel

// Every way in which durable state can fail has a name, says where, and says what to do: the text ends up in
// front of whoever is on call. After a failed write or sync nothing more is written: a retried fsync may
// report success for data that the kernel has already dropped ("fsyncgate", PostgreSQL 2018), so the process
// has to stop and start again from what the disk really holds.

/// Why the durable state cannot be opened, read or written.
public enum StorageError: Error, Hashable, Sendable {
    /// Another process (or another object of this one) has the store open.
    case lockedByAnotherProcess(path: String)
    /// The store belongs to another cluster.
    case wrongCluster(path: String, expected: String, found: String)
    /// The store belongs to another node.
    case wrongNode(path: String, expected: NodeID, found: NodeID)
    /// The store was written in a format that this version does not know.
    case unsupportedFormat(path: String, found: Int, supported: Int)
    /// No space (or no inode) is left.
    case diskFull(path: String)
    /// The file system is read-only, or this user may not write there.
    case readOnly(path: String)
    /// The device or file system reported an error. `code` is SQLite's extended result code or an errno.
    case inputOutput(path: String, code: Int32, detail: String)
    /// A log record is missing, fails its checksum or cannot be decoded.
    case corruptRecord(LogIndex, path: String, detail: String)
    /// A catalog row fails its checksum.
    case corruptRow(table: String, key: String, path: String)
    /// The database's own structure, or the store's bookkeeping, is damaged.
    case corruptDatabase(path: String, detail: String)
    /// The store lacks writes that had been acknowledged: it was damaged, or replaced by an older copy.
    case lostAcknowledgedWrites(path: String, acknowledged: UInt64, found: UInt64)
    /// SQLite did not take a setting on which durability rests.
    case durabilityUnavailable(path: String, setting: String, value: String)
    /// The caller asked for something that no correct Raft node asks for. Nothing was written.
    case invalidRequest(String)
    /// An earlier write or sync failed; the process must stop. `first` describes that failure.
    case failedBefore(path: String, first: String)
    /// The store has been closed.
    case closed(path: String)
}

extension StorageError {
    /// True when what was stored is damaged or cannot be read, as opposed to a store that is in use, another's, or
    /// on a disk that is full or read-only.
    var isDamage: Bool {
        switch self {
        case .corruptRecord, .corruptRow, .corruptDatabase, .inputOutput: true
        default: false
        }
    }

    /// True when the log's bookkeeping, and term and vote with it, is damaged or older than what was acknowledged.
    var losesVotes: Bool {
        switch self {
        case .corruptDatabase, .lostAcknowledgedWrites: true
        default: false
        }
    }

    /// True when the request was refused before anything could have reached the disk, so that the store can
    /// go on.
    var isRefusal: Bool {
        switch self {
        case .invalidRequest, .closed, .failedBefore: true
        default: false
        }
    }
}

extension StorageError: CustomStringConvertible {
    /// What happened, where, and what to do about it.
    public var description: String {
        switch self {
        case .lockedByAnotherProcess(let path):
            "\(path) is in use by another process: stop the other hsmclusterd that has this state directory"
        case .wrongCluster(let path, let expected, let found):
            "\(path) belongs to cluster '\(found)', not '\(expected)': check cluster and stateDirectory"
        case .wrongNode(let path, let expected, let found):
            "\(path) belongs to node \(found), not \(expected): check node and stateDirectory"
        case .unsupportedFormat(let path, let found, let supported):
            "\(path) has format \(found), this version knows \(supported): run the version that wrote it"
        case .diskFull(let path):
            "no space left for \(path): free space on its file system, then start the node again"
        case .readOnly(let path):
            "\(path) cannot be written (read-only file system or missing permission): "
                + "make it writable for this user, then start the node again"
        case .inputOutput(let path, let code, let detail):
            "input/output error \(code) on \(path) (\(detail)): check the device, then start the node again"
        case .corruptRecord(let index, let path, let detail):
            "log record \(index) in \(path) is damaged (\(detail)): " + Self.replaceNode
        case .corruptRow(let table, let key, let path):
            "row '\(key)' of '\(table)' in \(path) fails its checksum: " + Self.replaceNode
        case .corruptDatabase(let path, let detail):
            "\(path) is damaged (\(detail)): " + Self.replaceNode
        case .lostAcknowledgedWrites(let path, let acknowledged, let found):
            "\(path) holds write \(found) but write \(acknowledged) was acknowledged; "
                + "it was damaged or replaced by an older copy: " + Self.replaceNode
        case .durabilityUnavailable(let path, let setting, let value):
            "SQLite answers \(setting)=\(value) for \(path), so writes would not be durable: "
                + "use a local file system"
        case .invalidRequest(let reason): "refused, nothing was written: \(reason)"
        case .failedBefore(let path, let first):
            "\(path) takes no more requests since an earlier failure; stop this process. First: \(first)"
        case .closed(let path): "\(path) has been closed"
        }
    }

    private static let replaceNode =
        "do not repair it by hand; replace this node by a new one with an empty state directory"
}
