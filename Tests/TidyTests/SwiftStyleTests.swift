import Testing

// What the formatter can't see: that files say what they are about, stay small, and hide no loose ends.

@Suite struct SwiftStyleTests {
    @Test func everyFileOpensWithAComment() {
        // Tests may say it in their names; the rest says it in a paragraph before the first declaration.
        let silent = SourceTree.sources.filter { file in
            let first = file.lines.first { line in
                if line.isEmpty || line.hasPrefix("#!") { return false }
                return !(line.mentions("import ") && line.contains(#/^(@[\w()]+ )*(\w+ )?import /#))
            }
            return !(first?.hasPrefix("// ") ?? false)
        }
        expectNone(silent.map(\.path), "files without an opening paragraph")
    }

    @Test func noFileIsLongerThanSixHundredLines() {
        let long = SourceTree.swiftFiles.filter { $0.lines.count > Self.longestFile }
        let found = long.map { "\($0.path): \($0.lines.count) lines" }
        expectNone(found, "files that hold more than one subject")
    }

    @Test(arguments: ["TODO", "FIXME", "HACK"])
    func nothingIsLeftForLater(word: String) {
        let found = productFiles.filter { $0.text.mentions(word) }.flatMap { file in
            file.lines.indices.filter { file.lines[$0].mentions(word) }.map(file.place)
        }
        expectNone(found, "loose ends")
    }

    @Test(arguments: ["fatalError(", "preconditionFailure("])
    func nothingCrashesOnPurposeWithoutAReason(call: String) {
        let found = code(in: SourceTree.sources, mentioning: call) { file, index in !file.hasReason(index) }
        expectNone(found, "crashes without a comment that says why this can't happen")
    }

    @Test(arguments: ["try! ", "as! "])
    func errorsAreHandledNotForced(word: String) {
        expectNone(code(in: SourceTree.sources, mentioning: word), "forced errors or casts")
    }

    @Test(arguments: ["print(", "debugPrint(", "dump(", "NSLog("])
    func onlyProgramsPrint(call: String) {
        let libraries = SourceTree.sources.filter { FloorPlan.targets[$0.target]?.floor != Self.programFloor }
        let found = code(in: libraries, mentioning: call) { file, index in
            file.lines[index].contains(#/(^|[^\w.])(debugPrint|print|dump|NSLog)\(/#)
        }
        expectNone(found, "output of a library")
    }

    @Test(arguments: ["@unchecked Sendable", "nonisolated(unsafe)"])
    func promisesToTheCompilerAreProvedInAComment(promise: String) {
        let found = code(in: productFiles.filter(\.isSwift), mentioning: promise) { file, index in
            !file.hasReason(index)
        }
        expectNone(found, "promises without proof")
    }

    @Test(arguments: ["ContinuousClock", "SuspendingClock", "SystemRandomNumberGenerator", "Task.sleep"])
    func floorZeroHasNoClockOfItsOwn(word: String) {
        expectNone(
            code(in: floorZero, mentioning: word),
            "clocks or randomness on floor 0, which gets them as values")
    }

    @Test(arguments: [".random(", ".shuffled(", ".shuffle(", ".randomElement("])
    func floorZeroHasNoRandomnessOfItsOwn(call: String) {
        let found = code(in: floorZero, mentioning: call) { file, index in
            // The call may go on for some lines before it says which generator it uses.
            let lines = file.lines[index..<min(index + Self.longestCall, file.lines.count)]
            return !lines.contains { $0.mentions("using:") }
        }
        expectNone(found, "randomness from the system's generator")
    }

    @Test func noMachinePathsGetIn() {
        let path = "/wo" + "rk/"
        let found = SourceTree.files.filter { $0.text.mentions(path) }.map(\.path)
        expectNone(found, "paths of somebody's machine")
    }

    /// Everything but this target, whose rules name the banned words.
    private var productFiles: [TextFile] {
        SourceTree.files.filter { !$0.path.hasPrefix("Tests/TidyTests/") }
    }

    private var floorZero: [TextFile] {
        SourceTree.sources.filter { FloorPlan.targets[$0.target]?.floor == 0 }
    }

    /// Places in code that mention the word; lines that are nothing but a comment are passed over.
    private func code(
        in files: [TextFile], mentioning word: String, where isBad: (TextFile, Int) -> Bool = { _, _ in true }
    ) -> [String] {
        files.filter { $0.text.mentions(word) }.flatMap { file in
            file.lines.indices
                .filter { file.lines[$0].mentions(word) && !file.isComment($0) && isBad(file, $0) }
                .map(file.place)
        }
    }

    private static let longestFile = 600
    private static let longestCall = 4
    private static let programFloor = 4
}
