import ClusterModel
import Testing

@testable import KeyCatalog

// Rows that can be read and still are no catalog. Found by Tests/Fuzzing/CatalogRows.swift.

@Suite struct DamagedRows {
    @Test func aCounterAtItsEndIsRefusedInsteadOfOverflowingLater() {
        var counters = Catalog.Counters()
        counters.viewEpoch = .max
        let row = Catalog().row(Catalog.Table.counters, "counters", counters)
        #expect(throws: CatalogRowError.self) { try Catalog(rows: [row]) }
    }

    @Test func twoActiveStoresAreRefusedByName() {
        let rows = ["B", "A"].map { name in
            let store = KeyStore(
                name: name, minimumReplicas: 1, repairSources: 1, isActive: true, createdAt: 0,
                requestID: RequestID(high: 0, low: 1))
            return Catalog().row(Catalog.Table.keyStores, name, store)
        }
        let error = #expect(throws: CatalogRowError.self) { try Catalog(rows: rows) }
        #expect(error?.key == "B")
    }

    @Test func aRowUnderAnotherKeyThanItsRecordsIsRefused() throws {
        var ledger = prepared()
        _ = try generate(4_099, in: &ledger)
        for row in ledger.catalog.allRows {
            var moved = row
            moved.key += "x"
            let error = #expect(throws: CatalogRowError.self) { try Catalog(rows: [moved]) }
            #expect(error?.key == moved.key)
        }
    }

    @Test func twoKeysOfOneRequestAreRefused() throws {
        var ledger = prepared()
        _ = try generate(4_099, in: &ledger)
        var key = try #require(ledger.catalog.keysInOrder.first)
        key.operation = OperationID(high: 7, low: 7)
        let row = Catalog().row(Catalog.Table.keys, key.operation.description, key)
        #expect(throws: CatalogRowError.self) { try Catalog(rows: ledger.catalog.allRows + [row]) }
    }
}
