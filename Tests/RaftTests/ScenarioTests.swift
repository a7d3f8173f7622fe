// Runs every transcript in Scenarios and compares. With HSMCLUSTER_REWRITE=1 the files are rewritten instead;
// read the difference before committing it.

import Foundation
import Testing

@testable import Raft

struct ScenarioTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(
        path: "Scenarios")

    private static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path())) ?? []
        return files.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    @Test(arguments: names)
    func theClusterDoesWhatTheTranscriptSays(_ name: String) throws {
        let file = Self.folder.appending(path: name)
        let expected = try String(contentsOf: file, encoding: .utf8)
        let actual = Transcript.rewritten(expected)
        #expect(!actual.contains("VIOLATION"))
        #expect(!actual.contains("unknown "))
        if ProcessInfo.processInfo.environment["HSMCLUSTER_REWRITE"] == "1" {
            return try actual.write(to: file, atomically: true, encoding: .utf8)
        }
        let difference = zip(
            expected.split(separator: "\n", omittingEmptySubsequences: false),
            actual.split(separator: "\n", omittingEmptySubsequences: false)
        ).enumerated().first { $0.element.0 != $0.element.1 }
        if let (line, (wanted, got)) = difference {
            Issue.record("\(name):\(line + 1): expected '\(wanted)', got '\(got)'")
        }
        #expect(actual == expected)
    }

    @Test func transcriptsAreFound() {
        #expect(Self.names.count >= 12)
    }
}
