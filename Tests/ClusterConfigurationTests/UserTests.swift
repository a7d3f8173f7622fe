import ClusterConfiguration
import Testing

// Users of applications in a node's file: hashes only, each name once.

@Suite struct UserTests {
    private static let hash = "$y$j9T$abcdefghijklmnop$0Hi8KsZH/hAMRN9Bam6ce3nmi5QAIz3R/KeaXG/c7p9"

    private func users(_ lines: String...) throws -> [NodeConfiguration.User] {
        let text = ([Samples.node, "applications:", "  users:"] + lines.map { "    " + $0 }).joined(
            separator: "\n")
        return try NodeConfiguration.parse(text, file: "/c/node-1/node.yaml").users
    }

    private func complaint(_ lines: String...) -> String {
        let text = ([Samples.node, "applications:", "  users:"] + lines.map { "    " + $0 }).joined(
            separator: "\n")
        do throws(ConfigurationError) {
            _ = try NodeConfiguration.parse(text, file: "/c/node-1/node.yaml")
            return "none"
        } catch {
            return "\(error)"
        }
    }

    @Test func withoutUsersThereIsNoLogin() throws {
        #expect(try NodeConfiguration.parse(Samples.node, file: "/c/node-1/node.yaml").users.isEmpty)
    }

    @Test func usersHaveANameARoleAndAHash() throws {
        let read = try users(
            "- { name: payments, role: user, passwordHash: '\(Self.hash)' }",
            "- { name: audit, role: observer, passwordHash: '\(Self.hash)' }")
        #expect(read.map(\.name) == ["payments", "audit"])
        #expect(read.map(\.role) == [.user, .observer])
        #expect(read[0].passwordHash == Self.hash)
    }

    @Test func aPasswordInClearIsRefusedAndNotRepeated() {
        let text = complaint("- { name: payments, role: user, passwordHash: 'correct horse' }")
        #expect(text.contains("mkpasswd"))
        #expect(!text.contains("correct horse"))
    }

    @Test func mistakesAreNamed() {
        let good = "passwordHash: '\(Self.hash)'"
        #expect(complaint("- { name: a, role: king, \(good) }").contains("role"))
        #expect(complaint("- { name: 'a:b', role: user, \(good) }").contains("name"))
        #expect(complaint("- { name: a, \(good) }", "- { name: a, \(good) }").contains("two users"))
    }
}
