import ClusterModel
import WireFormat

// The replicated key-store metadata. `apply` is a pure function of the catalog and one log entry: every node
// that has applied the same prefix of the log holds the same catalog. It also says which rows changed, so
// that the shell can write exactly those, together with the applied index, in one transaction.

/// The catalog of key stores, master keys, endpoints and orphans.
public struct Catalog: Hashable, Sendable {
    /// Key stores by name.
    public internal(set) var keyStores: [String: KeyStore] = [:]
    /// Master keys by operation.
    public internal(set) var keys: [OperationID: MasterKey] = [:]
    /// Endpoints by name.
    public internal(set) var endpoints: [EndpointName: EndpointRecord] = [:]
    /// Orphans by `Orphan.rowKey`.
    public internal(set) var orphans: [String: Orphan] = [:]
    /// Where the nodes are reached, by number.
    public internal(set) var nodes: [NodeID: NodeRecord] = [:]
    /// The members; nil as long as they are the founding ones.
    public internal(set) var membership: Membership?
    /// Counters.
    public internal(set) var counters = Counters()
    /// Operations by client request.
    var keyRequests: [RequestID: OperationID] = [:]
    /// The keys with work left: pending, or without a verified replica on some endpoint. Kept by whatever changes
    /// keys and endpoints, so that a leader need not look at every key all the time.
    var unfinishedKeys: Set<OperationID> = []
    /// The rows of `orphans` that are not destroyed yet.
    var unsettledOrphans: Set<String> = []

    /// The cluster-wide counters, one row.
    public struct Counters: Hashable, Sendable, Codable {
        /// The last label number given out.
        public var lastLabelNumber: UInt64 = KeyLabel.firstGenerated - 1
        /// Counts every change of which endpoints are in service.
        public var viewEpoch: UInt64 = 0
    }

    /// An empty catalog.
    public init() {}

    /// The store in use.
    public var activeKeyStore: KeyStore? {
        keyStores.values.first { $0.isActive }
    }

    /// The endpoints in service, in order.
    public var endpointsInService: [EndpointName] {
        endpoints.values.filter(\.isInService).map(\.name).sorted()
    }

    /// The keys still to be made, oldest first.
    public var pendingKeys: [MasterKey] {
        unfinishedKeys.compactMap { keys[$0] }.filter { $0.state == .pending }.sorted {
            $0.number < $1.number
        }
    }

    /// The orphans that are not destroyed yet, by `Orphan.rowKey`, in order.
    public var openOrphans: [String] {
        unsettledOrphans.sorted()
    }

    /// The keys that have been generated and lack a verified replica on one of `targets`, oldest first.
    public func keysNeedingCopies(on targets: [EndpointName]) -> [MasterKey] {
        let lacking = unfinishedKeys.compactMap { keys[$0] }.filter { key in
            guard key.generated != nil else { return false }
            return targets.contains { key.replicas[$0]?.isVerified != true }
        }
        return lacking.sorted { $0.number < $1.number }
    }

    private func isUnfinished(_ key: MasterKey) -> Bool {
        switch key.state {
        case .failed: false
        case .pending: true
        case .usable:
            endpoints.values.contains {
                $0.withdrawal != .removed && key.replicas[$0.name]?.isVerified != true
            }
        }
    }

    /// A key has changed.
    mutating func noteWork(on key: MasterKey) {
        if isUnfinished(key) {
            unfinishedKeys.insert(key.operation)
        } else {
            unfinishedKeys.remove(key.operation)
        }
    }

    /// An endpoint was added, removed or put back, or everything is new.
    mutating func findUnfinished() {
        unfinishedKeys = Set(keys.values.filter(isUnfinished).map(\.operation))
        unsettledOrphans = Set(orphans.filter { $0.value.state != .destroyed }.keys)
    }

    /// All keys by label number.
    public var keysInOrder: [MasterKey] { keys.values.sorted { $0.number < $1.number } }

    /// The key that a client request made, if any.
    public func key(ofRequest requestID: RequestID) -> MasterKey? {
        keyRequests[requestID].flatMap { keys[$0] }
    }
}

/// One row to be written (or deleted, when `value` is nil) in the catalog database.
public struct RowChange: Hashable, Sendable, Codable {
    /// Which kind of record.
    public var table: String
    /// The record's key within its table.
    public var key: String
    /// The record in CBOR.
    public var value: [UInt8]?
    /// Puts a change together.
    public init(table: String, key: String, value: [UInt8]?) {
        self.table = table
        self.key = key
        self.value = value
    }
}

/// Why stored rows cannot be a catalog.
public struct CatalogRowError: Error, Hashable, Sendable {
    /// The row's table.
    public var table: String
    /// The row's key.
    public var key: String
    /// What is wrong.
    public var detail: String
}

// MARK: - Rows

extension Catalog {
    enum Table {
        static let keyStores = "keyStores"
        static let keys = "keys"
        static let endpoints = "endpoints"
        static let orphans = "orphans"
        static let counters = "counters"
        static let nodes = "nodes"
        static let membership = "membership"
    }

    /// Rebuilds the catalog from its rows, in any order.
    /// - Throws: `CatalogRowError` for a row of an unknown table or with an unreadable value, and for rows that no
    ///   sequence of commands can have made and that commands could not go on from.
    public init(rows: some Sequence<RowChange>) throws(CatalogRowError) {
        for row in rows {
            guard let value = row.value else { continue }
            do {
                switch row.table {
                case Table.keyStores:
                    let store = try CBORDecoder.decode(KeyStore.self, from: value)
                    try expect(row, store.name)
                    keyStores[store.name] = store
                case Table.keys:
                    let key = try CBORDecoder.decode(MasterKey.self, from: value)
                    try expect(row, key.operation.description)
                    // A repeated request must find one key, whatever order the rows came in.
                    guard keys.updateValue(key, forKey: key.operation) == nil,
                        keyRequests.updateValue(key.operation, forKey: key.requestID) == nil
                    else {
                        throw CatalogRowError(table: row.table, key: row.key, detail: "a key is there twice")
                    }
                case Table.endpoints:
                    let endpoint = try CBORDecoder.decode(EndpointRecord.self, from: value)
                    try expect(row, endpoint.name.rawValue)
                    endpoints[endpoint.name] = endpoint
                case Table.orphans:
                    let orphan = try CBORDecoder.decode(Orphan.self, from: value)
                    try expect(row, Orphan.rowKey(orphan.endpoint, orphan.identity))
                    orphans[row.key] = orphan
                case Table.nodes:
                    let node = try CBORDecoder.decode(NodeRecord.self, from: value)
                    try expect(row, node.id.description)
                    nodes[node.id] = node
                case Table.membership:
                    try expect(row, Table.membership)
                    membership = try CBORDecoder.decode(Membership.self, from: value)
                case Table.counters:
                    try expect(row, Table.counters)
                    counters = try CBORDecoder.decode(Counters.self, from: value)
                default:
                    throw CatalogRowError(table: row.table, key: row.key, detail: "unknown table")
                }
            } catch let error as CatalogRowError {
                throw error
            } catch {
                throw CatalogRowError(table: row.table, key: row.key, detail: "unreadable: \(error)")
            }
        }
        findUnfinished()
        // Counting on would end the process, and which of two active stores a key goes into would be chance.
        guard counters.viewEpoch <= UInt64(Int64.max) else {
            throw CatalogRowError(table: Table.counters, key: "counters", detail: "nobody counts that far")
        }
        let active = keyStores.values.filter(\.isActive).map(\.name).sorted()
        guard active.count <= 1 else {
            throw CatalogRowError(table: Table.keyStores, key: active[1], detail: "two stores are active")
        }
    }

    /// A row under another key than its record's would stay behind when the record changes.
    private func expect(_ row: RowChange, _ key: String) throws(CatalogRowError) {
        guard row.key == key else {
            throw CatalogRowError(table: row.table, key: row.key, detail: "it holds the record of \(key)")
        }
    }

    /// Every row of the catalog, in a fixed order: two equal catalogs give equal rows.
    public var allRows: [RowChange] {
        var rows: [RowChange] = []
        for name in keyStores.keys.sorted() { rows.append(row(Table.keyStores, name, keyStores[name])) }
        for id in keys.keys.sorted() { rows.append(row(Table.keys, id.description, keys[id])) }
        for name in endpoints.keys.sorted() {
            rows.append(row(Table.endpoints, name.rawValue, endpoints[name]))
        }
        for key in orphans.keys.sorted() { rows.append(row(Table.orphans, key, orphans[key])) }
        for id in nodes.keys.sorted() { rows.append(row(Table.nodes, id.description, nodes[id])) }
        if let membership { rows.append(row(Table.membership, "membership", membership)) }
        rows.append(row(Table.counters, "counters", counters))
        return rows
    }

    func row(_ table: String, _ key: String, _ record: (some Encodable)?) -> RowChange {
        // Records are structs of integers, strings and bytes: encoding them cannot fail.
        RowChange(table: table, key: key, value: record.flatMap { try? CBOREncoder.encode($0) })
    }
}
