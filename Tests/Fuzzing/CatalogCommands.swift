import ClusterModel
import KeyCatalog

// The catalog under any sequence of commands: such as stand in a damaged or hostile log (in CBOR), and such as a
// program makes that forgets every rule (from a few names and numbers, which meet each other often).

enum Target: FuzzTarget {
    static let longestInput = 4096
    /// The first byte of a step that gives its command in CBOR; smaller ones choose the command.
    private static let encoded: UInt8 = 0xFF
    /// A key's record grows with its attempts; more commands make inputs slower, not better.
    private static let mostCommands = 200

    static func check(_ input: [UInt8]) {
        var reader = InputReader(input)
        var machine = Machine()
        for _ in 0..<mostCommands where !reader.isAtEnd {
            let kind = reader.byte()
            if kind == encoded {
                guard let command = checkedDecoding(CatalogCommand.self, reader.string()) else { continue }
                machine.apply(command)
            } else {
                machine.apply(command(Int(kind), &reader))
            }
        }
        machine.checkWhole()
    }

    static func seeds() throws -> [Seed] {
        let parts = try CatalogScenario.commands.map { try seed("", $0) }
        let steps = parts.map { [encoded] + counted($0.bytes) }
        var seeds = [
            Seed(name: "scenario", bytes: steps.flatMap { $0 }, words: parts.flatMap(\.words))
        ]
        seeds += stride(from: 0, to: steps.count, by: 9).map { start in
            let part = steps[start..<min(start + 9, steps.count)]
            return Seed(name: "part-\(start / 9 + 1)", bytes: part.flatMap { $0 })
        }
        let chosen: [[UInt8]] = [
            [0, 0], [0, 1], [2, 0, 1, 0], [2, 1, 1, 0], [6, 0, 1, 1, 0], [7, 0, 0, 0, 0], [8, 0, 0, 0],
            [9, 0, 0, 0, 0, 0, 0], [11, 0, 0, 0, 0, 1, 0, 1], [13, 0, 0, 0, 0, 0], [12, 0, 1],
            [7, 1, 1, 0, 0],
            [8, 1, 1, 0], [9, 1, 1, 0, 0, 1, 0], [10, 1, 1, 0, 0], [14, 1], [15, 1, 1, 1, 0, 0],
            [16, 1, 1, 1, 0, 0], [17, 1, 1, 1, 0, 0],
        ]
        seeds.append(Seed(name: "chosen", bytes: chosen.flatMap { $0 }))
        return seeds
    }

    // MARK: Commands from choices

    private static func command(_ kind: Int, _ reader: inout InputReader) -> CatalogCommand {
        switch kind % 20 {
        case 0: .registerEndpoint(endpoint(&reader))
        case 1:
            .enrolEndpoint(
                endpoint(&reader), serialNumber: "\(reader.number(below: 3))", tokenLabel: "token",
                transportKey: CatalogScenario.transportKey)
        case 2: .setService(endpoint(&reader), isInService: reader.chance(), reason: text(&reader))
        case 3: .claimLogin(endpoint(&reader), node: node(&reader))
        case 4:
            .reportLogin(
                endpoint(&reader), node: node(&reader),
                outcome: reader.choice([.accepted, .rejected, .revoked, .abandoned]))
        case 5: .clearRejection(endpoint(&reader))
        case 6:
            .createKeyStore(
                name: reader.choice(["HSM", "Other", ""]), minimumReplicas: reader.number(below: 4),
                repairSources: reader.number(below: 3), createdAt: 0, requestID: identifier(&reader))
        default: keyCommand(kind % 20, &reader)
        }
    }

    private static func keyCommand(_ kind: Int, _ reader: inout InputReader) -> CatalogCommand {
        let operation = identifier(&reader)
        return switch kind {
        case 7: .beginKey(intent(operation, &reader))
        case 8: .beginAttempt(operation, endpoint: endpoint(&reader))
        case 9:
            .recordGenerated(
                operation, identity: identity(&reader), endpoint: endpoint(&reader), proof: proof(&reader),
                at: 1)
        case 10: .discardGenerated(operation, identity: identity(&reader))
        case 11:
            .recordReplica(
                operation, identity: identity(&reader), endpoint: endpoint(&reader), proof: proof(&reader),
                isExtractable: reader.chance(), at: 2)
        case 12: .dropReplica(operation, endpoint: endpoint(&reader), problem: text(&reader) ?? "missing")
        case 13:
            .activateKey(
                operation, identity: identity(&reader), keyCheckValue: proof(&reader).keyCheckValue)
        case 14: .failKey(operation, reason: text(&reader) ?? "given up")
        case 15:
            .reportOrphan(endpoint: endpoint(&reader), identity: identity(&reader), label: "CMS MK 4099")
        case 16: .destroyOrphan(endpoint: endpoint(&reader), identity: identity(&reader))
        case 17: .orphanDestroyed(endpoint: endpoint(&reader), identity: identity(&reader))
        case 18: .registerNode(CatalogScenario.record(UInt64(reader.byte())))
        default: .forgetNode(NodeID(UInt64(reader.byte())))
        }
    }

    private static func intent(_ operation: OperationID, _ reader: inout InputReader) -> KeyIntent {
        KeyIntent(
            operation: operation, requestID: identifier(&reader),
            keyStore: reader.choice([nil, "HSM", "Other"]), algorithm: reader.choice([.aes256, .aes128]),
            usage: .derive, comment: "", createdAt: 0,
            highestLabelSeen: reader.choice([0, 4_100, UInt64(Int64.max) - 1, .max]),
            ambiguousLabel: text(&reader))
    }

    private static func endpoint(_ reader: inout InputReader) -> EndpointName {
        reader.choice(CatalogScenario.endpoints)
    }

    private static func node(_ reader: inout InputReader) -> NodeID {
        NodeID(UInt64(1 + reader.number(below: 3)))
    }

    private static func identifier(_ reader: inout InputReader) -> Identifier128 {
        reader.choice(CatalogScenario.identifiers)
    }

    private static func identity(_ reader: inout InputReader) -> KeyIdentity {
        CatalogScenario.identity(
            reader.number(below: 4), term: 1 + UInt64(reader.number(below: 2)),
            attempt: 1 + UInt16(reader.number(below: 3)))
    }

    private static func proof(_ reader: inout InputReader) -> KeyProof {
        reader.choice([CatalogScenario.proof, KeyProof(keyCheckValue: "FFFFFF", probe: "ff")])
    }

    /// Mostly none; sometimes longer than the catalog keeps.
    private static func text(_ reader: inout InputReader) -> String? {
        let count = Int(reader.byte())
        return count < 0xC0 ? nil : String(repeating: "ä", count: (count - 0xC0) * 20)
    }
}

/// A catalog with what must stay true of it.
private struct Machine {
    var catalog = Catalog()
    private var rows: [String: RowChange] = [:]
    private var index = LogIndex.zero
    private var usable: [OperationID: MasterKey.Generated?] = [:]
    private var numbers: [OperationID: UInt64] = [:]

    mutating func apply(_ command: CatalogCommand) {
        let before = catalog
        var changes: [RowChange] = []
        index = index.next
        // Terms only rise along a log.
        let term = Term(1 + index.rawValue / 32)
        let outcome = catalog.apply(command, term: term, index: index, changes: &changes)
        if case .refused = outcome {
            hold(changes.isEmpty && catalog == before, "a refused command changed something")
        }
        for change in changes { rows["\(change.table) \(change.key)"] = change.value == nil ? nil : change }
        checkKeys()
    }

    private mutating func checkKeys() {
        hold(catalog.keyStores.values.filter(\.isActive).count <= 1, "two key stores are active")
        hold(catalog.nodes.count <= CatalogLimits.nodes, "too many nodes")
        hold(catalog.endpoints.count <= CatalogLimits.endpoints, "too many endpoints")
        hold(Set(catalog.keys.values.map(\.number)).count == catalog.keys.count, "a label stands twice")
        for key in catalog.keys.values {
            hold(
                numbers.updateValue(key.number, forKey: key.operation) ?? key.number == key.number,
                "a label changed")
            hold(key.number <= catalog.counters.lastLabelNumber, "a label's number can be given out again")
            if let generated = usable[key.operation] {
                hold(key.state == .usable && key.generated == generated, "a usable key changed")
            } else if key.state == .usable {
                hold(key.verifiedEndpoints.count >= key.minimumReplicas, "a key was activated too early")
                hold(
                    key.generated.map { !catalog.isOrphan($0.identity) } ?? false, "a usable key is an orphan"
                )
                usable[key.operation] = .some(key.generated)
            }
        }
        hold(usable.keys.allSatisfy { catalog.keys[$0] != nil }, "a usable key is gone")
    }

    /// What the changed rows make on disk is the catalog.
    func checkWhole() {
        let all = catalog.allRows
        hold(all.allSatisfy { $0.value != nil }, "a row cannot be written")
        var stored = rows
        // The counters have a row from their first change on; before that they are what they begin with.
        let counters = "counters counters"
        if stored[counters] == nil { stored[counters] = all.last }
        hold(
            Dictionary(all.map { ("\($0.table) \($0.key)", $0) }, uniquingKeysWith: { $1 }) == stored,
            "the changed rows are not the catalog's")
        guard var twin = try? Catalog(rows: all), twin == catalog else {
            return hold(false, "the catalog reads as another one")
        }
        // A node that was restarted carries on like one that was not.
        var other = catalog
        var (changes, otherChanges): ([RowChange], [RowChange]) = ([], [])
        for command in CatalogScenario.commands {
            let outcome = twin.apply(command, term: Term(9), index: index, changes: &changes)
            hold(
                outcome == other.apply(command, term: Term(9), index: index, changes: &otherChanges),
                "two nodes apply a command differently")
        }
        hold(twin == other && changes == otherChanges, "two nodes apply commands differently")
    }
}
