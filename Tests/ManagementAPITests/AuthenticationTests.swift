// Who gets in: certificates of the cluster's authority that name this cluster, over TLS 1.3, and nobody else.

import ClusterModel
import Foundation
import ManagementAPI
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct AuthenticationTests {
    private func refusedBeforeHTTP(_ answer: CurlAnswer) -> Bool {
        answer.status == 0 && answer.exitStatus != 0
    }

    @Test func nobodyGetsInWithoutACertificate() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/status", nil, authority: certificates.authority.file)
            #expect(refusedBeforeHTTP(answer))
            #expect(await cluster.calls == 0)
        }
    }

    @Test func nobodyGetsInWithACertificateOfAnotherAuthority() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/status", certificates.strangerClient, authority: certificates.authority.file
            )
            #expect(refusedBeforeHTTP(answer))
            #expect(await cluster.calls == 0)
        }
    }

    @Test func olderTLSIsRefused() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let old = try await Curl.call(
                server.url + "/v1/status", certificates.client, "--tls-max", "1.2")
            #expect(refusedBeforeHTTP(old))
            let new = try await Curl.call(server.url + "/v1/status", certificates.client, "--tlsv1.3")
            #expect(new.status == 200)
        }
    }

    @Test func plainHTTPAndNoiseAreRefusedAndTheServerGoesOn() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let plain = try await Curl.call("http://127.0.0.1:\(server.port)/v1/status", nil)
            #expect(plain.status == 0)
            let noise = try await Command.run(
                "/bin/bash",
                ["-c", "head -c 100000 /dev/urandom > /dev/tcp/127.0.0.1/\(server.port) 2>/dev/null; true"])
            #expect(noise.status == 0)
            let next = try await Curl.call(server.url + "/v1/status", certificates.client)
            #expect(next.status == 200)
        }
    }

    @Test(arguments: [
        "URI:hsmcluster://other/client/admin", "URI:hsmcluster://local/admin",
        "URI:hsmcluster://local/client/",
        "URI:hsmcluster://local/client/a/b", "URI:hsmcluster://local/node/01",
        "URI:hsmcluster://LOCAL/client/admin",
        "URI:https://local/client/admin", "DNS:localhost",
        "URI:hsmcluster://local/client/a, URI:hsmcluster://other/client/a",
    ])
    func certificatesThatDoNotNameThisClusterAreForbidden(names: String) async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let odd = try await certificates.authority.issue("odd-\(UUID().uuidString)", names)
            let answer = try await Curl.call(server.url + "/v1/status", odd)
            #expect(answer.status == 403)
            #expect(answer.problem?.code == .unauthorized)
            #expect(await cluster.calls == 0)
        }
    }

    @Test func nodesMayCallAsWell() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(server.url + "/v1/status", certificates.node)
            #expect(answer.status == 200)
        }
    }

    @Test(
        arguments: [
            ("hsmcluster://local/client/admin", "client admin"), ("hsmcluster://local/node/12", "node 12"),
            ("hsmcluster://local/client/eve@example.com", "client eve@example.com"),
            ("hsmcluster://local/node/0", nil), ("hsmcluster://local/node/-1", nil),
            ("hsmcluster://local/node/+1", nil),
            ("hsmcluster://local/client/a b", nil), ("hsmcluster://local//admin", nil),
            ("hsmcluster://local", nil),
            ("hsmcluster://locale/client/a", nil), ("HSMCLUSTER://local/client/a", nil),
        ] as [(String, String?)])
    func callersHaveExactlyOneSpelling(uri: String, caller: String?) {
        #expect(CallerIdentity(uri: uri, cluster: "local")?.description == caller)
    }

    @Test func filesThatAreNotWhatTheyShouldBeAreNamedBeforeListening() async throws {
        let certificates = try await TestCertificates.shared.value
        let good = certificates.node
        let cases: [(TestCertificate, String)] = [
            (
                TestCertificate(authority: "/none.pem", certificate: good.certificate, key: good.key),
                "/none.pem"
            ),
            (TestCertificate(authority: good.authority, certificate: good.key, key: good.key), "certificate"),
            (
                TestCertificate(
                    authority: good.authority, certificate: good.certificate, key: good.certificate),
                "private key"
            ),
            (
                TestCertificate(
                    authority: good.authority, certificate: good.certificate, key: certificates.client.key),
                "is not the key of"
            ),
        ]
        for (files, word) in cases {
            let error = await #expect(throws: ManagementServerError.self) {
                _ = try await RunningServer(ScriptedCluster(), files)
            }
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
    }

    @Test func aTakenPortIsAnError() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            await #expect(throws: (any Error).self) {
                _ = try await RunningServer(ScriptedCluster(), certificates.node) { $0.port = server.port }
            }
        }
    }
}
