import ClusterModel
import Foundation
import GRDB
import Glibc
import Raft
import WireFormat

// A damaged log is read record by record: what is correct in itself and continues its neighbour's checksum counts,
// the rest is missing. What the plan for such a start keeps is then written into a new database, which takes the
// place of the damaged one in one rename; the damaged one stays beside it for whoever wants to find out what happened.

extension LogStore {
    /// What is left of a damaged log: where it ended, and the entries that can be trusted.
    func survey() throws(StorageError) -> (end: LogPosition, snapshot: SnapshotMetadata?, entries: [LogEntry])
    {
        let state = state.withLock { $0 }
        var entries: [LogEntry] = []
        var before: Position? = state.base
        var index = state.base.index.next
        while index <= state.last.index {
            // A record that SQLite cannot find its way to, or that the device cannot read, is as good as missing.
            let found = try? database.read { db in try LogTable.readOne(index, db) }
            if let found, let previous = before {
                let end = previous.extended(by: index, found.term, found.payload)
                let isEnd = index == state.last.index
                if end.checksum == found.checksum, !isEnd || end == state.last,
                    let payload = try? CBORDecoder.decode(Payload.self, from: found.payload)
                {
                    entries.append(LogEntry(term: found.term, index: index, payload: payload))
                }
            }
            before = found.map { Position(index: index, term: $0.term, checksum: $0.checksum) }
            index = index.next
        }
        return (LogPosition(index: state.last.index, term: state.last.term), state.snapshot, entries)
    }

    /// Puts a log with this content in the place of the damaged one and opens it. The old one is closed.
    func rewritten(as content: RecoveredState, in directory: String) throws(StorageError) -> LogStore {
        let old = state.withLock { $0 }
        let name = Self.fileName + ".rebuilt"
        let rebuilt = "\(directory)/\(name)"
        for suffix in ["", "-wal", "-journal"] { try FileSystem.remove(rebuilt + suffix) }
        let target = try DurableDatabase(
            directory: directory, name: name, synchronous: .full, applicationID: Self.applicationID)
        let identity = identity
        try target.write { db in
            try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
            try MetaTable.create(db)
            try LogTable.create(db)
            try MetaTable.write(identity, as: MetaTable.identity, db)
            var state = LogState()
            state.hardState = content.hardState
            state.snapshot = content.snapshot
            if let snapshot = content.snapshot {
                state.base = Position(index: snapshot.lastIndex, term: snapshot.lastTerm, checksum: 0)
            }
            state.last = state.base
            state.sequence = old.sequence + 1
            for entry in content.entries { state.last = try LogTable.append(entry, after: state.last, db) }
            try MetaTable.write(state, as: LogState.name, db)
        }
        try target.close()
        try FileSystem.syncFile(rebuilt)
        try? close()
        // Opening has emptied the write-ahead log, and nothing was written since; frames that were left would be
        // applied to the new database.
        try FileSystem.remove(path + "-wal")
        try FileSystem.keepAside(path)
        try FileSystem.replace(path, with: rebuilt)
        try FileSystem.remove(rebuilt + ".lock")
        return try LogStore(directory: directory, cluster: identity.cluster, node: identity.node)
    }
}

extension LogTable {
    /// A record as it stands there, unverified; nil when it is missing or no record.
    static func readOne(
        _ index: LogIndex, _ db: Database
    ) throws -> (term: Term, payload: [UInt8], checksum: UInt32)? {
        let statement = try db.cachedStatement(sql: "SELECT term, payload, crc FROM entry WHERE position = ?")
        guard let row = try Row.fetchOne(statement, arguments: [Int64(clamping: index.rawValue)]),
            let term = Int64.fromDatabaseValue(row[0]), let payload = Data.fromDatabaseValue(row[1]),
            let checksum = Int64.fromDatabaseValue(row[2]).flatMap(UInt32.init(exactly:))
        else { return nil }
        return (Term(UInt64(bitPattern: term)), Array(payload), checksum)
    }
}

extension FileSystem {
    /// Keeps what is at `path` under the name `path.damaged`, too, in place of what was kept there before.
    static func keepAside(_ path: String) throws(StorageError) {
        let aside = path + ".damaged"
        try remove(aside)
        guard link(path, aside) == 0 || errno == ENOENT else { throw failure(errno, aside, "link") }
    }
}
