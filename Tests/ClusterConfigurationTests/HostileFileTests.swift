// Files that no administrator would write: bombs, deep nesting, noise, and thousands of random changes to the
// example. Nothing may crash, hang or be accepted with a meaning that the strict rules do not have.

import ClusterConfiguration
import ClusterModel
import Foundation
import Testing

@Suite struct HostileFileTests {
    private func error(_ text: String) -> ConfigurationError? {
        do {
            _ = try NodeConfiguration.parse(text, file: "n.yaml")
            return nil
        } catch {
            return error
        }
    }

    @Test func aliasesAreRefusedBeforeTheyUnfold() {
        var bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for name in "bcdefghijklmnopqrstuvwxyz" {
            let previous = Character(UnicodeScalar(name.asciiValue.map { $0 - 1 } ?? 97))
            bomb +=
                "\(name): &\(name) [\(Array(repeating: "*\(previous)", count: 9).joined(separator: ", "))]\n"
        }
        bomb += "? *z\n: 1\n? *z\n: 2\n"
        let found = error(bomb)
        #expect(found?.line == 1)
        #expect(found?.problem.contains("anchors") == true)
    }

    @Test func anchorsThatHideBehindQuotesAreStillRefused() {
        // A quote that opens on one line and closes on the next hides the anchor from the line scan.
        #expect(error("a: \"x\n  # \", b: &c d\n") != nil)
        #expect(error("cluster: &c local\n")?.problem.contains("anchors") == true)
        #expect(error("a: [1,*c]\n")?.problem.contains("anchors") == true)
    }

    @Test func deepNestingIsRefusedNotRecursedInto() {
        for opener in ["[", "{a: ", "- ", "? ", "[[[[\n", "- - -\n "] {
            #expect(error(String(repeating: opener, count: 100_000)) != nil)
        }
        var steps = ""
        for depth in 0..<1_000 { steps += String(repeating: " ", count: depth) + "a:\n" }
        #expect(error(steps) != nil)
        #expect(error("a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}")?.problem.contains("deep") == true)
    }

    @Test(arguments: [
        "", "\n", "---\n", "null", "true", "42", "[]", "a", "--- a\n--- b\n", "cluster: !!binary aGk=\n",
        "%YAML 9.9\n---\na: 1",
        "? [a, b]\n: 1\n", "? {a: b}\n: 1\n", "\u{0}", "\u{FEFF}cluster: local\n", "a: |\n  x\n",
        "a: >\n  x\n", "<<: {a: 1}\n",
        "\"\\uD800\": 1\n", "a: b: c\n", "@x", "`x`", "!!map {}", "cluster: !foo local",
    ])
    func oddDocumentsAreErrors(text: String) {
        #expect(error(text) != nil)
    }

    @Test func sizesAreBounded() {
        #expect(error(String(repeating: "# comment\n", count: 120_000))?.problem.contains("1 MiB") == true)
        #expect(error("cluster: " + String(repeating: "a", count: 5_000))?.problem.contains("4 KiB") == true)
        let entries = (0..<300).map { "k\($0): 1" }.joined(separator: "\n")
        #expect(error(entries)?.problem.contains("entries") == true)
        let keys = (0..<200_000).map { "\($0):" }.joined(separator: "\n")
        #expect(error(keys) != nil)
    }

    @Test(arguments: 0..<8)
    func randomChangesNeverCrashAndNeverLoosenTheRules(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let spice = Array("{}[]:,-#&*!|>'\"%@`\n\t \\0aA~?é\u{0}".utf8)
        let original = Array(Samples.node.utf8)
        for _ in 0..<400 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.remove(at: place)
                case 1: bytes.insert(spice.randomElement(using: &random) ?? 0, at: place)
                case 2: bytes[place] = UInt8.random(in: 0...255, using: &random)
                default:
                    let end = min(bytes.count, place + Int.random(in: 1...40, using: &random))
                    bytes.insert(
                        contentsOf: bytes[place..<end], at: Int.random(in: 0..<bytes.count, using: &random))
                }
            }
            guard
                let node = try? NodeConfiguration.parse(
                    String(decoding: bytes, as: UTF8.self), file: "/c/n.yaml")
            else { continue }
            #expect(node.nodes.contains { $0.id == node.node })
            #expect((1...65_535).contains(node.peerListener.port))
            #expect(Set(node.endpoints.map(\.name)).count == node.endpoints.count)
            #expect(node.endpoints.allSatisfy { $0.module.hasPrefix("/") && $0.token.hasPrefix("pkcs11:") })
            #expect(!node.endpoints.contains { $0.token.contains("pin-value=") })
            #expect(node.endpoints.isEmpty || node.replicas.minimum <= node.endpoints.count)
        }
    }
}
