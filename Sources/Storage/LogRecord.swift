import ClusterModel
import Foundation
import GRDB
import Raft
import WireFormat

// A log record is a row: index, term, payload (CBOR) and a checksum. The checksum of a record continues that
// of the record before it, as etcd's write-ahead log does, so that a page which fell back to older content
// with records of its own time, each correct in itself, is found too. `Position` is the end of such a chain.

/// Where a chain of records ends.
struct Position: Hashable, Codable, Sendable {
    var index: LogIndex
    var term: Term
    /// The checksum of the record there; 0 before the log, and after an installed snapshot.
    var checksum: UInt32

    static let start = Position(index: .zero, term: .zero, checksum: 0)

    /// The end of the chain after one more record.
    func extended(by index: LogIndex, _ term: Term, _ payload: [UInt8]) -> Position {
        let head = ByteOrder.bigEndian(index.rawValue) + ByteOrder.bigEndian(term.rawValue)
        let checksum = CRC32C.checksum(payload, continuing: CRC32C.checksum(head, continuing: checksum))
        return Position(index: index, term: term, checksum: checksum)
    }
}

/// The `entry` table.
enum LogTable {
    /// The last index that an SQLite integer key can hold.
    static let lastPossibleIndex = LogIndex(UInt64(Int64.max))

    static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE entry (
                    position INTEGER PRIMARY KEY, term INTEGER NOT NULL,
                    payload BLOB NOT NULL, crc INTEGER NOT NULL)
                """)
    }

    static func append(_ entry: LogEntry, after last: Position, _ db: Database) throws -> Position {
        let payload = try CBOREncoder.encode(entry.payload)
        let limit = LogStore.maximumPayloadBytes
        guard payload.count <= limit else {
            throw StorageError.invalidRequest(
                "entry \(entry.index) has \(payload.count) bytes, the limit is \(limit)")
        }
        let end = last.extended(by: entry.index, entry.term, payload)
        try db.cachedStatement(
            sql: "INSERT INTO entry (position, term, payload, crc) VALUES (?, ?, ?, ?)"
        )
        .execute(arguments: [
            key(entry.index), Int64(bitPattern: entry.term.rawValue), Data(payload), Int64(end.checksum),
        ])
        return end
    }

    static func delete(from index: LogIndex, _ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM entry WHERE position >= ?").execute(arguments: [key(index)])
    }

    static func delete(through index: LogIndex, _ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM entry WHERE position <= ?").execute(arguments: [key(index)])
    }

    /// The stored end of the chain at `index`, which the log holds.
    static func position(at index: LogIndex, _ db: Database, _ path: String) throws -> Position {
        let statement = try db.cachedStatement(sql: "SELECT term, crc FROM entry WHERE position = ?")
        guard let row = try Row.fetchOne(statement, arguments: [key(index)]) else {
            throw StorageError.corruptRecord(index, path: path, detail: "missing")
        }
        guard let term = Int64.fromDatabaseValue(row[0]),
            let checksum = Int64.fromDatabaseValue(row[1]).flatMap(UInt32.init(exactly:))
        else { throw StorageError.corruptRecord(index, path: path, detail: "not a record") }
        return Position(index: index, term: Term(UInt64(bitPattern: term)), checksum: checksum)
    }

    /// Reads and verifies all records after `start`; they must end at `end`.
    static func readAll(
        after start: Position, to end: Position, _ db: Database, _ path: String
    ) throws -> [LogEntry] {
        var entries: [LogEntry] = []
        var last = start
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT position, term, payload, crc FROM entry ORDER BY position"))
        while let row = try rows.next() {
            let index = last.index.next
            guard let found = Int64.fromDatabaseValue(row[0]), let term = Int64.fromDatabaseValue(row[1]),
                let payload = Data.fromDatabaseValue(row[2]), let checksum = Int64.fromDatabaseValue(row[3])
            else { throw StorageError.corruptRecord(index, path: path, detail: "not a record") }
            guard UInt64(bitPattern: found) == index.rawValue else {
                throw StorageError.corruptRecord(index, path: path, detail: "\(found) stands in its place")
            }
            let bytes = Array(payload)
            last = last.extended(by: index, Term(UInt64(bitPattern: term)), bytes)
            guard Int64(last.checksum) == checksum else {
                throw StorageError.corruptRecord(index, path: path, detail: "wrong checksum")
            }
            guard let decoded = try? CBORDecoder.decode(Payload.self, from: bytes) else {
                throw StorageError.corruptRecord(index, path: path, detail: "unreadable payload")
            }
            entries.append(LogEntry(term: last.term, index: index, payload: decoded))
        }
        guard last == end else {
            let (bad, detail) =
                last.index < end.index
                ? (last.index.next, "missing")
                : (min(last.index, end.index.next), "not the end that was written")
            throw StorageError.corruptRecord(bad, path: path, detail: detail)
        }
        return entries
    }

    /// The integer key; callers have checked it against `lastPossibleIndex`.
    private static func key(_ index: LogIndex) -> Int64 { Int64(clamping: index.rawValue) }
}
