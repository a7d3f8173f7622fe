import Foundation
import Glibc
import Testing

// Wrong commands, wrong configurations, wrong PINs, strangers at the door.

extension ClusterScenarios {
    @Suite struct BadInputTests {
        @Test func unknownAlgorithmIsRefusedWithTheKnownOnes() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                let refusal = try await cluster.requestKey(algorithm: "rot13")
                #expect([2, 64].contains(refusal.exitCode), "\(refusal.everything)")
                #expect(refusal.everything.contains("aes256"), "\(refusal.everything)")
                #expect(try await cluster.masterKeys().count == 1)
            }
        }

        @Test func withoutATerminalGenerateWantsYes() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                let refusal = try await cluster.hsmcluster("masterkey", "generate", "--algorithm", "aes256")
                #expect([2, 64].contains(refusal.exitCode), "\(refusal.everything)")
                #expect(refusal.everything.contains("--yes"), "\(refusal.everything)")
                #expect(try await cluster.masterKeys().count == 1)
            }
        }

        @Test func unreachableModuleTakesOneEndpointOutAndNoMore() async throws {
            try await withCluster(
                prepare: { cluster in
                    try cluster.editConfigurations { text in
                        replaceModule(of: "hsm-c", by: "/nonexistent/libvendor.so", in: text)
                    }
                },
                { cluster in
                    try await eventually("hsm-c is unreachable") {
                        try await cluster.status().state(of: "hsm-c") == "unreachable" ? true : nil
                    }
                    let listed = try await cluster.hsmcluster("endpoints", "list")
                    #expect(listed.everything.contains("/nonexistent/libvendor.so"), "\(listed.everything)")
                    #expect(try await cluster.key("CMS MK 4099").verified == ["hsm-a", "hsm-b"])
                })
        }

        @Test func wrongPINIsTriedOnceAndNeverAgain() async throws {
            try await withCluster(
                prepare: { cluster in
                    try FileManager.default.copyItem(
                        at: cluster.pinFile("hsm-c"),
                        to: cluster.directory.appending(path: "secrets/right.pin"))
                    try Data("not-the-pin".utf8).write(to: cluster.pinFile("hsm-c"))
                    // OpenSC's spy stands between the token host and SoftHSM and writes down every call.
                    try cluster.editConfigurations { text in
                        replaceModule(of: "hsm-c", by: "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", in: text)
                            .replacing(
                                "SOFTHSM2_CONF: ../hsm-c/softhsm2.conf",
                                with: "SOFTHSM2_CONF: ../hsm-c/softhsm2.conf, "
                                    + "PKCS11SPY: /usr/lib/softhsm/libsofthsm2.so, PKCS11SPY_OUTPUT: ./spy")
                    }
                },
                { cluster in
                    func logins(_ node: Int) -> Int {
                        let spy = cluster.folder(ofNode: node).appending(path: "spy")
                        let text = (try? String(contentsOf: spy, encoding: .isoLatin1)) ?? ""
                        return text.ranges(of: "C_Login").count
                    }
                    try await eventually("hsm-c has a credential error") {
                        try await cluster.status().state(of: "hsm-c") == "credential error" ? true : nil
                    }
                    // Neither a new process nor a new leader nor time makes it worth another try.
                    try await cluster.kill("tokenhost", "hsm-c")
                    let leader = try await cluster.newLeader()
                    try await cluster.kill("node", "\(leader)")
                    try await cluster.newLeader(otherThan: leader)
                    try await cluster.start("node", "\(leader)")
                    try await Task.sleep(for: .seconds(4))
                    // Once in the whole cluster: three nodes with the same wrong PIN would lock many a token.
                    #expect((1...3).map(logins).reduce(0, +) == 1)
                    #expect(try await cluster.status().state(of: "hsm-c") == "credential error")
                    #expect(try await cluster.key("CMS MK 4099").verified == ["hsm-a", "hsm-b"])

                    let right = try Data(contentsOf: cluster.directory.appending(path: "secrets/right.pin"))
                    try right.write(to: cluster.pinFile("hsm-c"))
                    let retried = try await cluster.hsmcluster("endpoints", "retry-login", "hsm-c")
                    #expect(retried.exitCode == 0, "\(retried.everything)")
                    try await cluster.endpointsInService()
                    try await cluster.replicas(of: "CMS MK 4099")
                })
        }

        @Test func noSecretShowsInLogsOrCommandLines() async throws {
            try await withCluster { cluster in
                let pins = try cluster.endpoints.map {
                    try String(contentsOf: cluster.pinFile($0), encoding: .utf8)
                }
                for node in 1...3 {
                    let log = cluster.log(ofNode: node)
                    for pin in pins { #expect(!log.contains(pin)) }
                }
                let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc")
                for process in processes where Int(process) != nil {
                    let line = (try? Data(contentsOf: URL(filePath: "/proc/\(process)/cmdline"))) ?? Data()
                    let text = String(decoding: line, as: UTF8.self)
                    for pin in pins { #expect(!text.contains(pin)) }
                }
            }
        }

        @Test func garbageOnThePortsChangesNothing() async throws {
            try await withCluster { cluster in
                let before = try await cluster.status()
                var open: [Int32] = []
                defer { open.forEach { close($0) } }
                let noise = (0..<200_000).map { _ in UInt8.random(in: 0...255) }
                let http = Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
                // A TLS handshake record that promises more than it brings.
                let halfHello: [UInt8] = [0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00]
                for node in 1...3 {
                    for port in [cluster.basePort + node, cluster.basePort + 100 + node] {
                        for bytes in [noise, http, halfHello, []] {
                            if let descriptor = LoopbackSocket.send(bytes, to: port) {
                                open.append(descriptor)
                            }
                        }
                    }
                }
                try await Task.sleep(for: .seconds(2))
                let after = try await cluster.status()
                #expect(after.alive == [1, 2, 3])
                #expect(after.leader == before.leader)
                #expect(after.term == before.term)
                #expect(try await cluster.generate().label == "CMS MK 4100")
            }
        }

        @Test func strangersWithAnotherAuthorityStayOutside() async throws {
            try await withCluster { cluster in
                // A second cluster's folder brings certificates with the same names from another authority.
                let other = LocalCluster(
                    directory: cluster.directory.appending(path: "other"), basePort: cluster.basePort,
                    nodes: 3,
                    endpoints: ["hsm-a"])
                try await other.up("--no-start")
                let files = FileManager.default
                try await cluster.kill("node", "3")
                for name in ["node.pem", "node.key"] {
                    let own = cluster.folder(ofNode: 3).appending(path: name)
                    try files.moveItem(at: own, to: own.appendingPathExtension("own"))
                    try files.copyItem(at: other.folder(ofNode: 3).appending(path: name), to: own)
                }
                // The node may refuse to start with a certificate that its own authority did not sign; if it
                // starts, nobody may talk to it.
                _ = try? await cluster.start("node", "3")
                try await eventually("the others go on without node 3") {
                    let status = try await cluster.status(at: 1)
                    return status.quorum && !status.alive.contains(3) && status.leader != 3 ? true : nil
                }
                #expect(try await cluster.generate(at: 1).isUsable)

                let stranger = try await Command.run(
                    Place.programs.appending(path: "hsmcluster").path, ["status"],
                    environment: [
                        "HSMCLUSTER_CONFIG": other.directory.appending(path: "client/client.yaml").path
                    ])
                #expect(stranger.exitCode != 0, "\(stranger.everything)")
                #expect(!stranger.output.contains("CMS MK"))

                try await cluster.kill("node", "3")
                for name in ["node.pem", "node.key"] {
                    let own = cluster.folder(ofNode: 3).appending(path: name)
                    try files.removeItem(at: own)
                    try files.moveItem(at: own.appendingPathExtension("own"), to: own)
                }
                try await cluster.start("node", "3")
                try await eventually("node 3 is back") {
                    try await cluster.status(at: 1).alive == [1, 2, 3] ? true : nil
                }
            }
        }

        /// The endpoint's block in node.yaml begins with its name; its module is the next line.
        private func replaceModule(of endpoint: String, by module: String, in text: String) -> String {
            text.replacing(
                "- name: \(endpoint)\n    module: /usr/lib/softhsm/libsofthsm2.so",
                with: "- name: \(endpoint)\n    module: \(module)")
        }
    }
}
