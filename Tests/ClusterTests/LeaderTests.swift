import Foundation
import Testing

// Nodes die, freeze and come back.

extension ClusterScenarios {
    @Suite struct LeaderTests {
        @Test func killedLeaderIsReplacedAndTheNextLabelIsTheNextNumber() async throws {
            try await withCluster { cluster in
                let old = try await cluster.newLeader()
                try await cluster.kill("node", "\(old)")
                try await cluster.newLeader(otherThan: old)
                let key = try await cluster.generate()
                #expect(key.label == "CMS MK 4100")

                try await cluster.start("node", "\(old)")
                try await eventually("node \(old) knows the new key") {
                    try await cluster.masterKeys(at: old).map(\.label) == ["CMS MK 4099", "CMS MK 4100"]
                        ? true : nil
                }
                try await eventually("all nodes are alive") {
                    try await cluster.status().alive == [1, 2, 3] ? true : nil
                }
            }
        }

        @Test func generateDuringLeaderKillFinishesOnce() async throws {
            try await withCluster { cluster in
                // The kill lands in different steps of the generation.
                for (round, delay) in [0, 120, 300, 600].enumerated() {
                    let old = try await cluster.newLeader()
                    let asked = old % 3 + 1
                    let request = UUID()
                    async let running = cluster.requestKey(requestID: request, at: asked)
                    try await Task.sleep(for: .milliseconds(delay))
                    try await cluster.kill("node", "\(old)")
                    let outcome = try await running
                    #expect([0, 1, 3, 4].contains(outcome.exitCode), "\(outcome.everything)")

                    try await cluster.newLeader(otherThan: old, at: asked)
                    let key = try await cluster.generate(requestID: request, at: asked)
                    #expect(key.isUsable)
                    let again = try await cluster.generate(requestID: request)
                    #expect(again.label == key.label)
                    try await cluster.start("node", "\(old)")

                    let keys = try await cluster.masterKeys(at: asked)
                    #expect(Set(keys.map(\.label)).count == keys.count, "round \(round)")
                    let made = keys.filter { $0.requestID?.lowercased() == request.uuidString.lowercased() }
                    #expect(made.map(\.label) == [key.label])
                    #expect(keys.allSatisfy { !$0.isUsable || $0.verified.count >= 2 })
                    try await eventually("all nodes are alive") {
                        try await cluster.status(at: asked).alive == [1, 2, 3] ? true : nil
                    }
                }
                // On every token each label stands once: no attempt left a second key that anybody could use.
                let usable = try await cluster.masterKeys().filter(\.isUsable).map(\.label)
                #expect(usable.count == 5)
                for label in usable { try await cluster.replicas(of: label) }
                for endpoint in cluster.endpoints {
                    try await eventually(
                        "\(endpoint) holds the usable keys and nothing else", within: .seconds(90)
                    ) {
                        try await cluster.keys(on: endpoint).map(\.label) == usable ? true : nil
                    }
                }
            }
        }

        @Test func frozenLeaderIsReplacedAndFollowsWhenItThaws() async throws {
            try await withCluster { cluster in
                let old = try await cluster.newLeader()
                let other = old % 3 + 1
                try await cluster.pause("node", "\(old)")
                let new = try await cluster.newLeader(otherThan: old, at: other)
                try await cluster.generate(at: other)

                try await cluster.resume("node", "\(old)")
                try await eventually("the thawed node follows") {
                    let status = try await cluster.status(at: old)
                    return status.leader != old && status.quorum ? true : nil
                }
                #expect(new != old)
                try await eventually("the thawed node knows the key made without it") {
                    try await cluster.masterKeys(at: old).count == 2 ? true : nil
                }
            }
        }

        @Test func restartOfAllNodesLosesNothing() async throws {
            try await withCluster { cluster in
                try await cluster.generate(algorithm: "aes128")
                try await cluster.replicas(of: "CMS MK 4099")
                try await cluster.replicas(of: "CMS MK 4100")
                let before = try await cluster.masterKeys()
                let term = try await cluster.status().term

                for node in 1...3 { try await cluster.kill("node", "\(node)") }
                for node in 1...3 { try await cluster.start("node", "\(node)") }
                try await cluster.newLeader()
                try await cluster.endpointsInService()
                #expect(try await cluster.masterKeys() == before)
                #expect(try await cluster.status().term >= term)
                #expect(try await cluster.generate().label == "CMS MK 4101")
            }
        }

        @Test func minoritySaysNoQuorumAndRefusesToGenerateAtOnce() async throws {
            try await withCluster { cluster in
                try await cluster.kill("node", "2")
                try await cluster.kill("node", "3")
                try await eventually("node 1 notices") {
                    try await cluster.status(at: 1).quorum ? nil : true
                }
                let status = try await cluster.hsmcluster("status", at: 1)
                #expect(status.exitCode == 0 || status.exitCode == 3)
                #expect(status.output.lowercased().contains("no quorum"), "\(status.everything)")

                // 'At once': well below any time-out of an election or a generation.
                let clock = ContinuousClock()
                var refusal: Outcome?
                let duration = try await clock.measure { refusal = try await cluster.requestKey(at: 1) }
                #expect(refusal?.exitCode == 3, "\(refusal?.everything ?? "")")
                #expect(refusal?.everything.contains("quorum") == true, "\(refusal?.everything ?? "")")
                #expect(duration < .seconds(10))

                try await cluster.start("node", "2")
                try await cluster.newLeader(at: 1)
                #expect(try await cluster.generate(at: 1).label == "CMS MK 4100")
            }
        }

        @Test func nodeThatLostItsProcessOnlyFindsItsTokenHostsAgain() async throws {
            try await withCluster { cluster in
                let old = try await cluster.newLeader()
                try await cluster.kill("node", "\(old)", "--process-only")
                try await cluster.start("node", "\(old)")
                try await cluster.endpointsInService()
                try await cluster.newLeader()
                let key = try await cluster.generate()
                try await cluster.replicas(of: key.label)
            }
        }
    }
}
