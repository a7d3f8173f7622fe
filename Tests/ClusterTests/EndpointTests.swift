import Foundation
import Testing

// Endpoints die, freeze and come back, while keys are made and afterwards.

extension ClusterScenarios {
    @Suite struct EndpointTests {
        @Test func sameLabelAndIdentityOnAllTokensAndSensitive() async throws {
            try await withCluster { cluster in
                try await cluster.generate(algorithm: "aes128")
                try await cluster.generate(algorithm: "des-ede3")
                let labels = ["CMS MK 4099", "CMS MK 4100", "CMS MK 4101"]
                for label in labels { try await cluster.replicas(of: label) }

                let reference = try await cluster.keys(on: "hsm-a")
                #expect(reference.map(\.label) == labels)
                #expect(reference.map(\.keyType) == ["AES", "AES", "DES3"])
                for endpoint in cluster.endpoints {
                    let keys = try await cluster.keys(on: endpoint)
                    #expect(keys.map(\.label) == labels)
                    #expect(keys.map(\.id) == reference.map(\.id))
                    // A key that anybody could encrypt with would give every card's key away.
                    #expect(keys.allSatisfy { $0.sensitive && $0.derive && !$0.encrypt && !$0.decrypt })
                    try await expectPKCS11ToolAgrees(cluster, endpoint, keys)
                }
            }
        }

        /// The same, seen by a program that everybody has.
        private func expectPKCS11ToolAgrees(
            _ cluster: LocalCluster, _ endpoint: String, _ keys: [TokenKey]
        ) async throws {
            let outcome = try await Command.run(
                "pkcs11-tool",
                [
                    "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", endpoint, "--login",
                    "--pin",
                    "env:TOKEN_PIN", "--list-objects", "--type", "secrkey",
                ], environment: try cluster.tokenEnvironment(endpoint))
            #expect(outcome.exitCode == 0, "\(outcome.everything)")
            for key in keys {
                #expect(outcome.output.contains(key.label))
                #expect(outcome.output.contains(key.id))
            }
            #expect(outcome.output.contains("sensitive"))
        }

        @Test(arguments: ["aes256", "aes128", "des-ede3"])
        func derivingFromEachReplicaGivesTheSameKey(algorithm: String) async throws {
            try await withCluster(nodes: 1, firstKey: false) { cluster in
                #expect(try await cluster.hsmcluster("keystore", "add", "HSM Keystore").exitCode == 0)
                try await cluster.endpointsInService()
                let made = try await cluster.generate(algorithm: algorithm)
                let key = try await cluster.replicas(of: made.label)
                let data = "000102030405060708090a0b0c0d0e0f"
                var derived: Set<String> = []
                for endpoint in cluster.endpoints {
                    let id = try #require(try await cluster.keys(on: endpoint).first?.id)
                    derived.insert(try await cluster.derive(on: endpoint, id: id, data: data))
                    // The check value is what one gets by encrypting zeros, not what the token reports (which is
                    // nothing for an unwrapped key).
                    let zeros = String(repeating: "0", count: algorithm == "des-ede3" ? 16 : 32)
                    let block = try await cluster.derive(on: endpoint, id: id, data: zeros)
                    #expect(key.kcv == block.prefix(6).uppercased())
                }
                #expect(derived.count == 1)
            }
        }

        @Test func desEde3ComesWithAWarning() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                let outcome = try await cluster.hsmcluster(
                    "masterkey", "generate", "--algorithm", "des-ede3", "--yes")
                #expect(outcome.exitCode == 0, "\(outcome.everything)")
                #expect(outcome.errorOutput.contains("NIST"), "\(outcome.everything)")
            }
        }

        @Test func killedEndpointDuringGenerateLeavesAKeyOnTheOthers() async throws {
            try await withCluster { cluster in
                for delay in [0, 150, 400] {
                    let request = UUID()
                    async let running = cluster.requestKey(requestID: request)
                    try await Task.sleep(for: .milliseconds(delay))
                    try await cluster.kill("endpoint", "hsm-c")
                    let outcome = try await running
                    #expect([0, 1, 3, 4].contains(outcome.exitCode), "\(outcome.everything)")
                    let key = try await finished(request, cluster)
                    #expect(key.map { $0.verified.count >= 2 } ?? true)
                    try await expectNothingHalfDone(cluster)

                    try await cluster.start("endpoint", "hsm-c")
                    try await cluster.endpointsInService()
                    if let key { try await cluster.replicas(of: key.label) }
                }
            }
        }

        @Test func frozenEndpointDuringGenerateLeavesAKeyOnTheOthers() async throws {
            try await withCluster { cluster in
                for delay in [0, 150, 400] {
                    let request = UUID()
                    async let running = cluster.requestKey(requestID: request)
                    try await Task.sleep(for: .milliseconds(delay))
                    try await cluster.pause("endpoint", "hsm-b")
                    let outcome = try await running
                    #expect([0, 1, 3, 4].contains(outcome.exitCode), "\(outcome.everything)")
                    let key = try await finished(request, cluster)
                    #expect(key.map { $0.verified.count >= 2 } ?? true)
                    try await expectNothingHalfDone(cluster)
                    // The nodes replace what is frozen by themselves.
                    try await cluster.endpointsInService()
                    if let key { try await cluster.replicas(of: key.label) }
                }
            }
        }

        /// Waits until the request has come to an end; nil when it was given up.
        private func finished(_ request: UUID, _ cluster: LocalCluster) async throws -> MasterKeyAnswer? {
            try await eventually("an end of request \(request)", within: .seconds(120)) {
                () -> MasterKeyAnswer?? in
                let key = try await cluster.masterKeys().first {
                    $0.requestID?.lowercased() == request.uuidString.lowercased()
                }
                guard let key, key.state == "pending" else { return .some(key?.isUsable == true ? key : nil) }
                return nil
            }
        }

        /// No key is usable without its replicas, and at most one carries the `*`.
        private func expectNothingHalfDone(_ cluster: LocalCluster) async throws {
            let keys = try await cluster.masterKeys()
            #expect(keys.filter(\.isUsable).allSatisfy { $0.verified.count >= 2 })
            #expect(keys.filter { !$0.isUsable }.allSatisfy { !$0.active })
            #expect(keys.filter(\.active).count == 1)
        }

        @Test func missingReplicaIsRepairedWhenTheEndpointReturns() async throws {
            try await withCluster { cluster in
                try await cluster.kill("endpoint", "hsm-b")
                try await cluster.endpointsInService(["hsm-a", "hsm-c"])
                let key = try await cluster.generate()
                #expect(key.isUsable)
                #expect(try await cluster.key(key.label).verified == ["hsm-a", "hsm-c"])

                try await cluster.start("endpoint", "hsm-b")
                try await cluster.endpointsInService()
                try await cluster.replicas(of: key.label)
                let original = try #require(try await cluster.keys(on: "hsm-a").last)
                let repaired = try #require(try await cluster.keys(on: "hsm-b").last)
                #expect(original.id == repaired.id)
                let data = String(repeating: "5a", count: 32)
                let expected = try await cluster.derive(on: "hsm-a", id: original.id, data: data)
                #expect(try await cluster.derive(on: "hsm-b", id: repaired.id, data: data) == expected)
            }
        }

        @Test func replicaDeletedBehindTheClustersBackIsMadeAgain() async throws {
            try await withCluster { cluster in
                try await cluster.replicas(of: "CMS MK 4099")
                let lost = try #require(try await cluster.keys(on: "hsm-c").first)
                try await cluster.token("hsm-c", "destroy", lost.id)
                #expect(try await cluster.keys(on: "hsm-c").isEmpty)
                // The reconciler looks at what is there when an endpoint comes back.
                try await cluster.kill("endpoint", "hsm-c")
                try await cluster.endpointsInService(["hsm-a", "hsm-b"])
                try await cluster.start("endpoint", "hsm-c")
                try await eventually("the replica is back on hsm-c", within: .seconds(120)) {
                    try await cluster.keys(on: "hsm-c").map(\.id) == [lost.id] ? true : nil
                }
            }
        }

        @Test func tooFewEndpointsRefuseAKeyAndLeaveNothing() async throws {
            try await withCluster { cluster in
                try await cluster.kill("endpoint", "hsm-b")
                try await cluster.kill("endpoint", "hsm-c")
                try await cluster.endpointsInService(["hsm-a"])
                let refusal = try await cluster.requestKey()
                #expect(refusal.exitCode == 3, "\(refusal.everything)")
                #expect(refusal.everything.contains("endpoints"), "\(refusal.everything)")
                #expect(try await cluster.masterKeys().filter(\.isUsable).map(\.label) == ["CMS MK 4099"])
                #expect(try await cluster.keys(on: "hsm-a").map(\.label) == ["CMS MK 4099"])

                try await cluster.start("endpoint", "hsm-b")
                try await cluster.start("endpoint", "hsm-c")
                try await cluster.endpointsInService()
                #expect(try await cluster.generate().isUsable)
            }
        }

        @Test func killedTokenHostIsReplacedWithoutAnyoneNoticing() async throws {
            try await withCluster { cluster in
                for endpoint in cluster.endpoints { try await cluster.kill("tokenhost", endpoint) }
                try await cluster.endpointsInService()
                #expect(try await cluster.generate().label == "CMS MK 4100")
            }
        }
    }
}
