// Our own client against real servers and against everything else that can stand at an address.

import ClusterModel
import Foundation
import ManagementClient
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct ClientTests {
    private func configuration(_ nodes: [String], _ certificate: TestCertificate)
        -> ManagementClientConfiguration
    {
        ManagementClientConfiguration(
            nodes: nodes, authorityFile: certificate.authority, certificateFile: certificate.certificate,
            keyFile: certificate.key)
    }

    private func failure<Value: Sendable>(
        _ configuration: ManagementClientConfiguration,
        _ body: (ManagementClient) async throws(ManagementClientError) -> Value
    ) async -> ManagementClientError? {
        do throws(ManagementClientError) {
            _ = try await ManagementClient.with(configuration, body)
            return nil
        } catch {
            return error
        }
    }

    private let id = Identifier128(high: 1, low: 2)

    @Test func everyCallReachesTheService() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            try await ManagementClient.with(configuration([server.url], certificates.client)) {
                client throws(ManagementClientError) in
                #expect(try await client.status().leader == NodeID(2))
                #expect(try await client.endpoints().count == 2)
                let store = try await client.createKeyStore(
                    CreateKeyStore(name: "main", minimumReplicas: 3), requestID: id)
                #expect(store.minimumReplicas == 3)
                let key = try await client.generateMasterKey(
                    GenerateMasterKey(algorithm: .desEDE3, comment: "Schlüssel"), requestID: id)
                #expect(key.algorithm == "DES-EDE3" && key.comment == "Schlüssel" && key.requestID == id)
                #expect(try await client.masterKeys() == [key])
                #expect(try await client.operation(id) == key)
                #expect(try await client.keyStores() == [store])
                let endpoint = try await client.retryLogin(endpoint: EndpointName("hsm-a"), requestID: id)
                #expect(endpoint.name == EndpointName("hsm-a"))
            }
        }
    }

    @Test func theNextNodeIsAskedWhenOneIsDownSilentOrForeign() async throws {
        let cluster = ScriptedCluster(node: NodeID(2))
        let silent = try OddListener(.silent)
        let closing = try OddListener(.closes)
        let plain = try OddListener(.plainHTTP)
        try await RunningServer.with(cluster) { server, certificates in
            for first in ["https://127.0.0.1:1", silent.url, closing.url, plain.url] {
                var configuration = configuration([first, server.url], certificates.client)
                configuration.connectTimeout = .seconds(first == silent.url ? 3 : 30)
                let status = try await ManagementClient.with(configuration) {
                    client throws(ManagementClientError) in try await client.status()
                }
                #expect(status.node == NodeID(2))
            }
        }
    }

    @Test func theNextNodeIsAskedWhenOneIsUnavailable() async throws {
        let (first, second) = (ScriptedCluster(node: NodeID(1)), ScriptedCluster(node: NodeID(2)))
        await first.follow(.fail(ManagementError(.storageReadOnly, detail: "Disk full.")))
        try await RunningServer.with(first) { one, certificates in
            try await RunningServer.with(second) { two, _ in
                let key = try await ManagementClient.with(
                    configuration([one.url, two.url], certificates.client)
                ) {
                    client throws(ManagementClientError) in
                    try await client.generateMasterKey(GenerateMasterKey(algorithm: .aes256), requestID: id)
                }
                #expect(key.requestID == id)
                #expect(await first.requestIDs == [id])
                #expect(await second.requestIDs == [id])
            }
        }
    }

    @Test func refusalsAreNotTakenToAnotherNode() async throws {
        let (first, second) = (ScriptedCluster(node: NodeID(1)), ScriptedCluster(node: NodeID(2)))
        await first.follow(.fail(ManagementError(.noKeyStore, detail: "None.")))
        try await RunningServer.with(first) { one, certificates in
            try await RunningServer.with(second) { two, _ in
                let error = await failure(configuration([one.url, two.url], certificates.client)) {
                    client throws(ManagementClientError) in try await client.masterKeys()
                }
                guard case .problem(let problem) = error?.kind else {
                    Issue.record("no problem: \(String(describing: error))")
                    return
                }
                #expect(problem.code == .noKeyStore)
                #expect(await second.calls == 0)
            }
        }
    }

    @Test func anElectionIsWaitedFor() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.failTimes(3, ManagementError(.noLeader, detail: "Election.")))
        try await RunningServer.with(cluster) { server, certificates in
            var configuration = configuration([server.url], certificates.client)
            configuration.electionPatience = .seconds(60)
            let keys = try await ManagementClient.with(configuration) {
                client throws(ManagementClientError) in
                try await client.masterKeys()
            }
            #expect(keys.isEmpty)
            #expect(await cluster.calls == 4)
        }
    }

    @Test func aLostQuorumIsToldAtOnceEvenWhenOtherNodesAreDown() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.fail(ManagementError(.noQuorum, detail: "1 of 3 nodes answers.")))
        try await RunningServer.with(cluster) { server, certificates in
            let nodes = ["https://127.0.0.1:1", server.url, "https://127.0.0.1:2"]
            let error = await failure(configuration(nodes, certificates.client)) {
                client throws(ManagementClientError) in
                try await client.generateMasterKey(GenerateMasterKey(algorithm: .aes256), requestID: id)
            }
            guard case .problem(let problem) = error?.kind else {
                Issue.record("no problem: \(String(describing: error))")
                return
            }
            #expect(problem.code == .noQuorum)
            #expect(await cluster.calls == 1)
        }
    }

    @Test func aNodeKilledInTheMiddleIsFollowedByTheNextWithTheSameRequestID() async throws {
        let (first, second) = (ScriptedCluster(node: NodeID(1)), ScriptedCluster(node: NodeID(2)))
        await first.follow(.hang)
        try await RunningServer.with(first) { one, certificates in
            let proxy = try CuttableProxy(target: one.port)
            try await RunningServer.with(second) { two, _ in
                let configuration = configuration([proxy.url, two.url], certificates.client)
                async let key = ManagementClient.with(configuration) { client throws(ManagementClientError) in
                    try await client.generateMasterKey(GenerateMasterKey(algorithm: .aes256), requestID: id)
                }
                await first.waitUntilHanging()
                proxy.cut()
                let made = try await key
                #expect(made.requestID == id)
                #expect(await second.requestIDs == [id])
            }
            await first.release()
        }
    }

    @Test func aChangeWhoseOnlyNodeIsKilledMayHaveArrived() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster) { server, certificates in
            let proxy = try CuttableProxy(target: server.port)
            let configuration = configuration([proxy.url], certificates.client)
            async let error = failure(configuration) { client throws(ManagementClientError) in
                try await client.generateMasterKey(GenerateMasterKey(algorithm: .aes256), requestID: id)
            }
            await cluster.waitUntilHanging()
            proxy.cut()
            let found = await error
            #expect(found?.kind == .unreachable)
            #expect(found?.mayHaveArrived == true && found?.requestID == id)
            await cluster.release()
        }
    }

    @Test func nodesThatAreDownAreAllNamed() async throws {
        let certificates = try await TestCertificates.shared.value
        let error = await failure(
            configuration(["https://127.0.0.1:1", "https://127.0.0.1:2"], certificates.client)
        ) { client throws(ManagementClientError) in try await client.status() }
        #expect(error?.kind == .unreachable)
        #expect(error?.mayHaveArrived == false)
        #expect(
            error?.detail
                == "https://127.0.0.1:1: the connection is refused. "
                + "https://127.0.0.1:2: the connection is refused."
        )
    }

    @Test func aNodeThatNeverAnswersMeetsTheDeadline() async throws {
        let silent = try OddListener(.silent)
        let certificates = try await TestCertificates.shared.value
        var configuration = configuration([silent.url], certificates.client)
        configuration.deadline = .milliseconds(400)
        let error = await failure(configuration) { client throws(ManagementClientError) in
            try await client.status()
        }
        #expect(error?.kind == .timeout)
    }

    @Test func aChangeWithoutAnswerMayHaveArrived() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster) { server, certificates in
            var configuration = configuration([server.url], certificates.client)
            configuration.deadline = .seconds(6)
            let error = await failure(configuration) { client throws(ManagementClientError) in
                try await client.generateMasterKey(GenerateMasterKey(algorithm: .aes256), requestID: id)
            }
            #expect(error?.kind == .timeout)
            #expect(error?.mayHaveArrived == true && error?.requestID == id)
            #expect(error?.whatToDo == "Ask again with the same request id.")
            await cluster.release()
        }
    }

    @Test func anotherAuthorityIsToldFromANodeThatIsDown() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            var configuration = configuration([server.url], certificates.client)
            configuration.authorityFile = certificates.otherAuthority.file
            let error = await failure(configuration) { client throws(ManagementClientError) in
                try await client.status()
            }
            #expect(error?.kind == .certificate)
            #expect(error?.whatToDo.contains("--ca") == true)
        }
    }

    @Test func aRefusedClientCertificateIsTold() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            var configuration = configuration([server.url], certificates.strangerClient)
            configuration.authorityFile = certificates.authority.file
            let error = await failure(configuration) { client throws(ManagementClientError) in
                try await client.status()
            }
            #expect(error?.kind == .certificate, "\(String(describing: error))")
            #expect(error?.title.contains("does not accept") == true)
        }
    }

    @Test func aNodeCertificateForAnotherAddressIsRefused() async throws {
        let certificates = try await TestCertificates.shared.value
        let elsewhere = try await certificates.authority.issue(
            "elsewhere", "URI:hsmcluster://local/node/1", "IP:10.0.0.1", "DNS:elsewhere.example")
        let server = try await RunningServer(ScriptedCluster(), elsewhere)
        let error = await failure(configuration([server.url], certificates.client)) {
            client throws(ManagementClientError) in try await client.status()
        }
        #expect(error?.kind == .certificate)
        #expect(error?.title.contains("another address") == true, "\(String(describing: error))")
        try await server.stop()
    }

    @Test func aClientCertificateCannotPassForANode() async throws {
        let certificates = try await TestCertificates.shared.value
        let server = try await RunningServer(ScriptedCluster(), certificates.client)
        let error = await failure(configuration([server.url], certificates.client)) {
            client throws(ManagementClientError) in try await client.status()
        }
        #expect(error?.kind == .certificate)
        try await server.stop()
    }

    @Test func aServerWithoutTLSIsForeign() async throws {
        let plain = try OddListener(.plainHTTP)
        let certificates = try await TestCertificates.shared.value
        let error = await failure(configuration([plain.url], certificates.client)) {
            client throws(ManagementClientError) in try await client.status()
        }
        #expect(error?.kind == .unexpectedAnswer, "\(String(describing: error))")
    }

    @Test func hostNamesAreVerifiedToo() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let named = configuration(["https://localhost:\(server.port)"], certificates.client)
            let status = try await ManagementClient.with(named) { client throws(ManagementClientError) in
                try await client.status()
            }
            #expect(status.cluster == "local")
            let unknown = configuration(["https://no-such-host.invalid:1"], certificates.client)
            let error = await failure(unknown) { client throws(ManagementClientError) in
                try await client.status()
            }
            #expect(error?.kind == .unreachable, "\(String(describing: error))")
        }
    }

    @Test func missingAndWrongFilesAreNamedBeforeAnythingIsSent() async throws {
        let certificates = try await TestCertificates.shared.value
        var missing = configuration(["https://127.0.0.1:1"], certificates.client)
        missing.keyFile = "/none.key"
        #expect(
            await failure(missing) { client throws(ManagementClientError) in try await client.status() }?
                .detail
                == "/none.key does not exist.")
        var pair = configuration(["https://127.0.0.1:1"], certificates.client)
        pair.keyFile = certificates.node.key
        let error = await failure(pair) { client throws(ManagementClientError) in try await client.status() }
        #expect(error?.kind == .certificate)
        #expect(error?.detail.contains("is not the key of") == true)
    }
}
