import Foundation
import Testing

// Nodes join, leave and hand over while the cluster works.

extension ClusterScenarios {
    @Suite struct MembershipTests {
        private struct NodeAnswer: Decodable {
            let id: Int
            let membership: String?
        }

        /// Three founders that know nothing of node 4, and node 4, which joins.
        private func prepare(_ cluster: LocalCluster) throws {
            for node in 1...4 {
                let file = cluster.folder(ofNode: node).appending(path: "node.yaml")
                var lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(
                    String.init)
                if node == 4 {
                    lines.append("join: true")
                } else {
                    lines.removeAll { $0.contains("{ id: 4,") }
                }
                try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
            }
        }

        private func members(_ cluster: LocalCluster, at node: Int? = nil) async throws -> [Int: String] {
            let outcome = try await cluster.hsmcluster("nodes", "list", "--output", "json", at: node)
            let nodes = try cluster.decode([NodeAnswer].self, from: outcome)
            return Dictionary(uniqueKeysWithValues: nodes.map { ($0.id, $0.membership ?? "") })
        }

        /// Repeats a command until it is done: a node that was just added has still to catch up.
        private func done(_ cluster: LocalCluster, _ verb: String, _ node: Int) async throws {
            try await eventually("nodes \(verb) \(node)") {
                let outcome = try await cluster.hsmcluster("nodes", verb, "\(node)")
                return outcome.exitCode == 0 ? true : nil
            }
        }

        @Test func aNodeJoinsAndReplacesOneThatDied() async throws {
            try await withCluster(nodes: 4, prepare: prepare) { cluster in
                #expect(try await members(cluster, at: 4)[4] == "none")
                let api = "https://127.0.0.1:\(cluster.basePort + 104)"
                let added = try await cluster.hsmcluster(
                    "nodes", "add", "4", "--address", "127.0.0.1:\(cluster.basePort + 4)", "--api", api)
                #expect(added.exitCode == 0, "\(added.everything)")
                try await done(cluster, "promote", 4)
                #expect(try await members(cluster) == [1: "voter", 2: "voter", 3: "voter", 4: "voter"])

                let leader = try await cluster.newLeader()
                let dead = leader == 3 ? 2 : 3
                try await cluster.kill("node", "\(dead)")
                try await done(cluster, "remove", dead)
                #expect(try await members(cluster)[dead] == nil)
                let key = try await cluster.generate(at: 4)
                #expect(key.label == "CMS MK 4100")

                // The dead node comes back and is told.
                try await cluster.start("node", "\(dead)")
                try await eventually("node \(dead) knows that it was removed") {
                    try await members(cluster, at: dead)[dead] == "removed" ? true : nil
                }
                // Everybody knows node 4 after a restart, though no configuration file names it.
                try await cluster.kill("node", "4")
                try await cluster.kill("node", "\(leader)")
                try await cluster.start("node", "4")
                try await cluster.newLeader(otherThan: leader, at: 4)
                #expect(try await cluster.generate(at: 4).label == "CMS MK 4101")
            }
        }

        @Test func leadershipMovesWhenAsked() async throws {
            try await withCluster { cluster in
                let old = try await cluster.newLeader()
                let next = old % 3 + 1
                let moved = try await cluster.hsmcluster("nodes", "transfer-leadership", "\(next)")
                #expect(moved.exitCode == 0, "\(moved.everything)")
                try await eventually("node \(next) leads") {
                    try await cluster.status().leader == next ? true : nil
                }
                let unknown = try await cluster.hsmcluster("nodes", "transfer-leadership", "9")
                #expect(unknown.exitCode == 2, "\(unknown.everything)")
                #expect(try await cluster.generate().isUsable)
            }
        }
    }
}
