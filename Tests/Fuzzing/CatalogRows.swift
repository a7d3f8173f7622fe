import ClusterModel
import WireFormat

@testable import KeyCatalog

// The catalog as it is read from a damaged database: refused, or good for every further command.

enum Target: FuzzTarget {
    static let longestInput = 4096
    private static let tables = [
        "keyStores", "keys", "endpoints", "orphans", "counters", "unknown", "nodes", "membership",
    ]

    static func check(_ input: [UInt8]) {
        var reader = InputReader(input)
        var rows: [RowChange] = []
        while !reader.isAtEnd {
            rows.append(RowChange(table: reader.choice(tables), key: "\(rows.count)", value: reader.string()))
        }
        guard var catalog = try? Catalog(rows: rows) else { return }
        let all = catalog.allRows
        hold(all.allSatisfy { $0.value != nil }, "a row cannot be written")
        guard var again = try? Catalog(rows: all) else {
            return hold(false, "the catalog is refused when it is read again")
        }
        hold(again.allRows == all, "the catalog reads as another one")
        var (changes, changesAgain): ([RowChange], [RowChange]) = ([], [])
        for (position, command) in CatalogScenario.commands.enumerated() {
            let index = LogIndex(UInt64(position + 1))
            let outcome = catalog.apply(command, term: Term(9), index: index, changes: &changes)
            hold(
                outcome == again.apply(command, term: Term(9), index: index, changes: &changesAgain),
                "two nodes with the same rows apply a command differently")
        }
        hold(changes == changesAgain, "two nodes with the same rows change different ones")
        _ = (catalog.pendingKeys, catalog.endpointsInService, catalog.openOrphans, catalog.keysInOrder)
        _ = catalog.keysNeedingCopies(on: CatalogScenario.endpoints)
    }

    static func seeds() throws -> [Seed] {
        let rows = CatalogScenario.catalog.allRows
        let parts = try rows.map { row in
            let value = row.value ?? []
            let table = UInt8(tables.firstIndex(of: row.table) ?? 0)
            return Seed(
                name: row.table, bytes: [table] + counted(value), words: words(in: try .init(decoding: value))
            )
        }
        var seeds = [Seed(name: "all", bytes: parts.flatMap(\.bytes), words: parts.flatMap(\.words))]
        for table in tables {
            if let part = parts.first(where: { $0.name == table }) { seeds.append(part) }
        }
        // What a damaged counter may say, and two active stores.
        var farthest = Catalog.Counters()
        farthest.viewEpoch = .max
        farthest.lastLabelNumber = .max
        let counters = UInt8(tables.firstIndex(of: "counters") ?? 0)
        seeds.append(Seed(name: "farthest", bytes: [counters] + counted(try CBOREncoder.encode(farthest))))
        if var store = CatalogScenario.catalog.activeKeyStore {
            store.name = "Other"
            let first = seeds.first { $0.name == "keyStores" }?.bytes ?? []
            seeds.append(
                Seed(name: "two-active", bytes: first + [0] + counted(try CBOREncoder.encode(store))))
        }
        return seeds
    }
}
