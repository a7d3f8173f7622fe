import ClusterModel
import Foundation
import GRDB
import WireFormat

// A node that starts on another node's disk would vote twice in one term, and one that starts on another
// cluster's disk would mix two histories. So each store says whose it is, and refuses everybody else.

/// Whose a store is.
public struct StoreIdentity: Hashable, Sendable, Codable {
    /// The cluster's name, as configured.
    public var cluster: String
    /// The node.
    public var node: NodeID
    /// 16 random bytes in lower-case hexadecimal, drawn when the store was made: tells a store from another
    /// that was made later for the same node.
    public var storeID: String
    /// The layout of the database.
    public var formatVersion: Int

    static func fresh(cluster: String, node: NodeID, formatVersion: Int) -> StoreIdentity {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<AcknowledgedMark.storeIDLength).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        return StoreIdentity(
            cluster: cluster, node: node, storeID: Hex.encode(bytes), formatVersion: formatVersion)
    }

    /// Throws unless the store that says this at `path` is meant.
    func require(cluster: String, node: NodeID, formatVersion: Int, path: String) throws(StorageError) {
        guard self.formatVersion == formatVersion else {
            throw .unsupportedFormat(path: path, found: self.formatVersion, supported: formatVersion)
        }
        guard self.cluster == cluster else {
            throw .wrongCluster(path: path, expected: cluster, found: self.cluster)
        }
        guard self.node == node else { throw .wrongNode(path: path, expected: node, found: self.node) }
    }
}

/// The `meta` table of both stores: one checksummed CBOR value per name.
enum MetaTable {
    static let identity = "identity"

    static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL)
                WITHOUT ROWID
                """)
    }

    static func exists(_ db: Database) throws -> Bool {
        try Bool.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master WHERE name = 'meta'") ?? false
    }

    static func write(_ value: some Encodable, as name: String, _ db: Database) throws {
        let bytes = try CBOREncoder.encode(value)
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO meta (name, value, crc) VALUES (?, ?, ?)")
            .execute(arguments: [name, Data(bytes), Int64(checksum(name, bytes))])
    }

    static func readIfPresent<T: Decodable>(
        _ type: T.Type, _ name: String, _ db: Database, _ path: String
    ) throws -> T? {
        let statement = try db.cachedStatement(sql: "SELECT count(*) FROM meta WHERE name = ?")
        guard try Bool.fetchOne(statement, arguments: [name]) == true else { return nil }
        return try read(type, name, db, path)
    }

    static func read<T: Decodable>(_ type: T.Type, _ name: String, _ db: Database, _ path: String) throws -> T
    {
        let statement = try db.cachedStatement(sql: "SELECT value, crc FROM meta WHERE name = ?")
        guard let row = try Row.fetchOne(statement, arguments: [name]) else {
            throw StorageError.corruptDatabase(path: path, detail: "no '\(name)' entry")
        }
        guard let value = Data.fromDatabaseValue(row[0]), let crc = Int64.fromDatabaseValue(row[1]),
            crc == Int64(checksum(name, Array(value))),
            let decoded = try? CBORDecoder.decode(type, from: Array(value))
        else { throw StorageError.corruptDatabase(path: path, detail: "the '\(name)' entry is damaged") }
        return decoded
    }

    private static func checksum(_ name: String, _ bytes: [UInt8]) -> UInt32 {
        CRC32C.checksum(bytes, continuing: CRC32C.checksum(name.utf8))
    }
}
