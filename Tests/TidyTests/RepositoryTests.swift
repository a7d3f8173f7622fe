import Foundation
import Testing

// Rules for everything that is not Swift, and for the shape of the repository as a whole.

@Suite struct RepositoryTests {
    @Test func theTopLevelHoldsTheAgreedEntriesOnly() {
        let agreed: Set<String> = [
            "Package.swift", "Sources", "Tests", "cluster", "benchmarks", "docs", "README.md", "LICENSE",
            // Written by SwiftPM, ignored by git.
            "Package.resolved",
        ]
        expectNone(
            SourceTree.topLevel.filter { !agreed.contains($0) }, "entries that have no place at the top level"
        )
    }

    @Test func linesEndWithoutWhiteSpaceAndFilesWithANewline() {
        expectNone(
            SourceTree.files.flatMap { file in
                file.lines.indices
                    .filter { file.lines[$0].utf8.last.map { [0x20, 0x09, 0x0d].contains($0) } ?? false }
                    .map(file.place)
            }, "trailing white space")
        expectNone(
            SourceTree.files.filter { !$0.text.isEmpty && $0.text.utf8.last != 0x0a }.map(\.path),
            "files without a final newline")
    }

    @Test func swiftFilesHaveNoTabs() {
        expectNone(SourceTree.swiftFiles.filter { $0.text.mentions("\t") }.map(\.path), "tabs")
    }

    @Test func shellScriptsAreStrictAndExecutable() {
        let scripts = SourceTree.files.filter { $0.path.hasSuffix(".sh") || isBashScript($0) }
        #expect(scripts.contains { $0.path == "cluster/local/up" })
        expectNone(
            scripts.filter { $0.lines.first { !$0.isEmpty && !$0.hasPrefix("#") } != "set -euo pipefail" }
                .map(\.path),
            "scripts whose first command is not 'set -euo pipefail'")
        // A file that others source is no program.
        expectNone(
            scripts.filter { $0.isExecutable == $0.path.hasSuffix(".sh") }.map(\.path), "wrong file modes")
    }

    @Test func programsThatPeopleRunExplainThemselves() {
        let programs = SourceTree.files.filter { isBashScript($0) && !$0.path.hasPrefix(".ci/") }
        expectNone(programs.filter { !$0.text.mentions("--help") }.map(\.path), "scripts without --help")
    }

    @Test func relativeLinksInMarkdownResolve() {
        let link = #/\]\(([^)\s]+)\)/#
        var broken: [String] = []
        for file in SourceTree.files where file.path.hasSuffix(".md") {
            for index in file.lines.indices where file.lines[index].mentions("](") {
                for match in file.lines[index].matches(of: link) {
                    let target = match.1.split(separator: "#", omittingEmptySubsequences: false)[0]
                    if target.isEmpty || target.contains(":") { continue }
                    let folder = (file.path as NSString).deletingLastPathComponent
                    let path = ((folder as NSString).appendingPathComponent(String(target)) as NSString)
                        .standardizingPath
                    if !SourceTree.exists(path) { broken.append(file.place(index)) }
                }
            }
        }
        expectNone(broken, "links to files that do not exist")
    }

    private func isBashScript(_ file: TextFile) -> Bool {
        file.lines.first == "#!/usr/bin/env bash"
    }
}
