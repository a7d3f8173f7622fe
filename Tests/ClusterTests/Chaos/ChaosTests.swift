import Foundation
import Testing

// Rounds of faults against real processes under a load of generates and linearizable reads. Among the other tests
// a few rounds are enough; Tests/chaos runs as many as one likes, each twenty with a cluster of their own, since
// tokens get slow with many objects.

extension ClusterScenarios {
    @Suite struct ChaosTests {
        private static func setting(_ name: String) -> UInt64? {
            ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
        }

        @Test func nothingAcknowledgedIsLostAndEveryHistoryIsLinearizable() async throws {
            let first = Int(Self.setting("HSMCLUSTER_CHAOS_FIRST") ?? 1) - 1
            let count = Int(Self.setting("HSMCLUSTER_CHAOS_ROUNDS") ?? 8)
            let plan = ChaosPlan.rounds(first + count, seed: Self.setting("HSMCLUSTER_CHAOS_SEED") ?? 1)
            try await run(Array(plan.dropFirst(first)), first: first)
        }

        private func run(_ rounds: [ChaosRound], first: Int) async throws {
            var chaos: ChaosCluster?
            defer { chaos?.stop() }
            try await withCluster(
                firstKey: false, prepare: { chaos = try ChaosCluster($0) },
                { cluster in
                    let chaos = try #require(chaos)
                    #expect(try await cluster.hsmcluster("keystore", "add", "HSM Keystore").exitCode == 0)
                    try await chaos.converge()
                    let load = ChaosLoad(cluster: cluster)
                    async let working: Void = load.run()
                    do {
                        for (index, round) in rounds.enumerated() {
                            let count = load.recorded.operations.count
                            print(
                                "chaos: round \(first + index + 1): \(round.faults), \(count) operations so far"
                            )
                            try await chaos.carryOut(round)
                            try await chaos.converge()
                            chaos.checkTerms()
                            #expect(load.recorded.violation == nil, "round \(first + index + 1)")
                        }
                    } catch {
                        load.stop()
                        throw error
                    }
                    load.stop()
                    try await working
                    let doubled = try await chaos.checkTokens()
                    #expect(doubled == 0, "objects doubled by overtaking imports")
                    let keys = try await load.finalRead()
                    let history = load.recorded
                    #expect(history.violation == nil)
                    let usable = keys.filter { $0.state == .active }
                    #expect(usable.allSatisfy { $0.replicas.filter(\.verified).count >= 2 })
                    print(
                        "chaos: \(rounds.count) rounds, \(history.operations.count) operations, "
                            + "\(usable.count) usable keys, \(history.failedRequests.count) refused for good, "
                            + "\(doubled) objects doubled by overtaking imports")
                })
        }

        @Test func sameSeedGivesTheSamePlan() {
            #expect(ChaosPlan.rounds(200, seed: 7) == ChaosPlan.rounds(200, seed: 7))
            #expect(ChaosPlan.rounds(200, seed: 7) != ChaosPlan.rounds(200, seed: 8))
        }
    }
}
