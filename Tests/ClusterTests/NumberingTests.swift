import Testing

// Tokens that already hold CMS keys, from another program or an earlier life.

extension ClusterScenarios {
    @Suite struct NumberingTests {
        @Test func tokensThatAlreadyHoldCMSKeysContinueTheNumbering() async throws {
            try await withCluster(
                prepare: { cluster in
                    try await cluster.token("hsm-a", "make", "CMS MK 00")
                    try await cluster.token("hsm-b", "make", "CMS MK 4105")
                },
                { cluster in
                    let made = try await cluster.masterKeys().filter(\.isUsable).map(\.label)
                    #expect(made == ["CMS MK 4106"])
                    // What the cluster didn't make, it doesn't touch.
                    let present = try await cluster.keys(on: "hsm-b").map(\.label)
                    #expect(present.contains("CMS MK 4105"))
                })
        }

        @Test func labelsThatOnlyHexadecimalExplainsBlockTheNumbering() async throws {
            try await withCluster(
                firstKey: false,
                prepare: { cluster in try await cluster.token("hsm-b", "make", "CMS MK 410A") },
                { cluster in
                    #expect(try await cluster.hsmcluster("keystore", "add", "HSM Keystore").exitCode == 0)
                    try await cluster.endpointsInService()
                    let refusal = try await cluster.requestKey()
                    #expect(refusal.exitCode == 2, "\(refusal.everything)")
                    #expect(refusal.everything.contains("label"), "\(refusal.everything)")
                    #expect(try await cluster.masterKeys().allSatisfy { !$0.isUsable })
                })
        }
    }
}
