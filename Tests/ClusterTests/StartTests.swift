import Foundation
import Testing

// Nothing goes wrong here: what a newcomer meets after the first command.

extension ClusterScenarios {
    @Suite struct StartTests {
        @Test func upPrintsALeaderAndAKeyOnThreeEndpoints() async throws {
            try await withCluster(firstKey: false) { cluster in
                let printed = try await cluster.up()
                #expect(printed.contains("CMS MK 4099"))
                #expect(printed.contains("leader"))
                for endpoint in cluster.endpoints { #expect(printed.contains(endpoint)) }

                let status = try await cluster.status()
                #expect(status.quorum)
                #expect(status.term >= 1)
                #expect(status.commitIndex >= 1)
                #expect(status.nodes.map(\.id) == [1, 2, 3])
                #expect(status.nodes.filter { $0.role == "leader" }.map(\.id) == [status.leader])
                try await cluster.endpointsInService()

                let key = try await cluster.replicas(of: "CMS MK 4099")
                #expect(key.algorithm == "AES256")
                #expect(key.active)
                #expect(key.state == "active")
                #expect(key.kcv?.wholeMatch(of: #/[0-9A-F]{6}/#) != nil)
            }
        }

        @Test func repeatedUpChangesNothing() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                let before = try await cluster.replicas(of: "CMS MK 4099")
                let printed = try await cluster.up()
                #expect(printed.contains("running already"))
                #expect(try await cluster.masterKeys() == [before])

                try await cluster.script("down", [])
                try await cluster.up()
                #expect(try await cluster.masterKeys().map(\.label) == ["CMS MK 4099"])
            }
        }

        @Test func twoClustersRunSideBySide() async throws {
            try await withCluster(nodes: 1, endpoints: ["left-a", "left-b"]) { left in
                try await withCluster(nodes: 1, endpoints: ["right-a", "right-b"]) { right in
                    try await left.generate()
                    #expect(try await left.masterKeys().count == 2)
                    #expect(try await right.masterKeys().count == 1)
                }
                #expect(try await left.status().leader == 1)
            }
        }

        @Test func takenPortsAreRefusedWithTheNameOfWhoHoldsThem() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"], firstKey: false) { cluster in
                let other = LocalCluster(
                    directory: Place.clusters.appending(path: "hc-other"), basePort: cluster.basePort,
                    nodes: 1,
                    endpoints: ["hsm-a"])
                let error = await #expect(throws: CommandError.self) { try await other.up() }
                let text = error?.description ?? ""
                #expect(text.contains("\(cluster.basePort + 1) is taken by hsmclusterd"))
                #expect(!FileManager.default.fileExists(atPath: other.directory.path))
            }
        }

        @Test func anyNodeTakesACommand() async throws {
            try await withCluster { cluster in
                for node in 1...3 {
                    let key = try await cluster.generate(at: node)
                    #expect(key.keyID == 4099 + node)
                }
                for node in 1...3 {
                    let labels = try await eventually("four keys at node \(node)") {
                        let labels = try await cluster.masterKeys(at: node).map(\.label)
                        return labels.count == 4 ? labels : nil
                    }
                    #expect(labels == ["CMS MK 4099", "CMS MK 4100", "CMS MK 4101", "CMS MK 4102"])
                }
                #expect(try await cluster.masterKeys().filter(\.active).map(\.keyID) == [4102])
            }
        }

        @Test func sameRequestIdReturnsTheSameKey() async throws {
            try await withCluster(firstKey: false) { cluster in
                #expect(try await cluster.hsmcluster("keystore", "add", "HSM Keystore").exitCode == 0)
                try await cluster.endpointsInService()
                let request = UUID()
                let first = try await cluster.generate(requestID: request, at: 1)
                let second = try await cluster.generate(requestID: request, at: 2)
                #expect(first.label == second.label)
                #expect(first.kcv == second.kcv)
                #expect(try await cluster.masterKeys().count == 1)

                // The same id with other parameters is another request under a name that is taken.
                let conflict = try await cluster.requestKey(algorithm: "aes128", requestID: request)
                #expect(conflict.exitCode == 2, "\(conflict.everything)")
                #expect(try await cluster.masterKeys().count == 1)
            }
        }
    }
}
