import Testing

// Who may import whom. The build already refuses imports that Package.swift doesn't declare; these tests refuse
// the declarations that would bend the floor plan.

@Suite struct ImportTests {
    @Test func everyTargetHasItsPlaceInTheFloorPlan() {
        let strangers = Set(SourceTree.sources.map(\.target)).subtracting(FloorPlan.targets.keys)
        expectNone(strangers.sorted(), "targets without a line in FloorPlan.swift")
    }

    @Test func upperFloorsImportLowerOnesOnly() {
        expectNone(
            imports().compactMap { place, importer, module in
                guard let importerTarget = FloorPlan.targets[importer],
                    let imported = FloorPlan.targets[module]
                else { return nil }
                return imported.floor > importerTarget.floor ? place : nil
            }, "imports of an upper floor")
    }

    @Test func programsAreImportedByNobody() {
        expectNone(
            imports().compactMap { FloorPlan.targets[$2]?.floor == Self.programFloor ? $0 : nil },
            "imports of a program")
    }

    @Test func foreignModulesStayInTheirHomes() {
        expectNone(
            imports().compactMap { place, importer, module in
                guard let target = FloorPlan.targets[importer], FloorPlan.targets[module] == nil else {
                    return nil
                }
                return target.foreign.contains(module) ? nil : place
            }, "imports of a module that FloorPlan.swift does not grant to the target")
    }

    @Test func cModulesHaveOneImporter() {
        expectNone(
            imports().compactMap { place, importer, module in
                guard let home = FloorPlan.soleImporters[module] else { return nil }
                return home == importer ? nil : place
            }, "imports of a C module outside the target that makes it safe")
    }

    /// Every import in Sources: its place, the importing target, the imported module.
    private func imports() -> [(place: String, importer: String, module: String)] {
        SourceTree.sources.flatMap { file in
            file.lines.indices.compactMap { index in
                guard file.lines[index].mentions("import "),
                    let match = file.lines[index].firstMatch(of: importLine)
                else { return nil }
                return (file.place(index), file.target, String(match.1))
            }
        }
    }

    // Attributes and access modifiers before `import`, a kind (`struct`, `func`) after it.
    private var importLine: Regex<(Substring, Substring)> {
        #/^(?:@[\w()]+ )*(?:\w+ )?import (?:(?:struct|class|enum|protocol|func|var|let|typealias) )?(\w+)/#
    }

    private static let programFloor = 4
}

/// Expects that nothing was found, and otherwise names everything that was.
func expectNone(_ found: [String], _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(
        found.isEmpty, Comment(rawValue: "\(what):\n" + found.joined(separator: "\n")),
        sourceLocation: sourceLocation)
}
