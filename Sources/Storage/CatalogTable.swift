import Foundation
import GRDB
import KeyCatalog

// Rows are opaque to this floor: a table name, a key, a CBOR value and a checksum over all three. The
// fingerprint of all rows is the sum of a scrambled checksum of each, so it can be kept up to date row by
// row, does not depend on the order of changes, and misses a lost row.

/// The `row` table of the catalog database.
enum CatalogTable {
    static let position = "position"

    static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE row (
                    tbl TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL,
                    PRIMARY KEY (tbl, key)) WITHOUT ROWID
                """)
    }

    static func apply(_ change: RowChange, _ position: inout CatalogPosition, _ db: Database) throws {
        let find = try db.cachedStatement(sql: "SELECT crc FROM row WHERE tbl = ? AND key = ?")
        if let old = try Int64.fetchOne(find, arguments: [change.table, change.key]) {
            position.stateHash &-= scrambled(UInt32(truncatingIfNeeded: old))
            position.rowCount &-= 1
        }
        guard let value = change.value else {
            try db.cachedStatement(sql: "DELETE FROM row WHERE tbl = ? AND key = ?")
                .execute(arguments: [change.table, change.key])
            return
        }
        let crc = checksum(change.table, change.key, value)
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO row (tbl, key, value, crc) VALUES (?, ?, ?, ?)")
            .execute(arguments: [change.table, change.key, Data(value), Int64(crc)])
        position.stateHash &+= scrambled(crc)
        position.rowCount &+= 1
    }

    static func clear(_ position: inout CatalogPosition, _ db: Database) throws {
        try db.execute(sql: "DELETE FROM row")
        position.stateHash = 0
        position.rowCount = 0
    }

    /// Hands every row to `body`, by table and key, verified; throws unless they are the rows of `position`.
    static func visit(
        _ db: Database, _ position: CatalogPosition, _ path: String, _ body: (RowChange) throws -> Void
    ) throws {
        var hash: UInt64 = 0
        var count: UInt64 = 0
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT tbl, key, value, crc FROM row ORDER BY tbl, key"))
        while let row = try rows.next() {
            guard let table = String.fromDatabaseValue(row[0]), let key = String.fromDatabaseValue(row[1])
            else {
                throw StorageError.corruptDatabase(path: path, detail: "a row without a name")
            }
            guard let value = Data.fromDatabaseValue(row[2]).map(Array.init) else {
                throw StorageError.corruptRow(table: table, key: key, path: path)
            }
            let crc = checksum(table, key, value)
            guard Int64.fromDatabaseValue(row[3]) == Int64(crc) else {
                throw StorageError.corruptRow(table: table, key: key, path: path)
            }
            hash &+= scrambled(crc)
            count += 1
            try body(RowChange(table: table, key: key, value: value))
        }
        guard hash == position.stateHash, count == position.rowCount else {
            throw StorageError.corruptDatabase(
                path: path, detail: "it holds \(count) rows that are not the \(position.rowCount) written")
        }
    }

    /// Table and key are ended by a byte that UTF-8 never uses, so that no two rows run together.
    private static func checksum(_ table: String, _ key: String, _ value: [UInt8]) -> UInt32 {
        var crc = CRC32C.checksum(table.utf8)
        crc = CRC32C.checksum(CollectionOfOne(0xFF), continuing: crc)
        crc = CRC32C.checksum(key.utf8, continuing: crc)
        crc = CRC32C.checksum(CollectionOfOne(0xFF), continuing: crc)
        return CRC32C.checksum(value, continuing: crc)
    }

    /// SplitMix64's finalizer: CRCs are linear, so their plain sum would cancel out too easily.
    private static func scrambled(_ crc: UInt32) -> UInt64 {
        var mixed = UInt64(crc) &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
