// Exit statuses and messages: what a script decides by, and what a person reads.

import ClusterModel
import Foundation
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct FailureTests {
    @Test(
        arguments: [
            (.noQuorum, 3), (.noLeader, 3), (.notEnoughEndpoints, 3), (.storageReadOnly, 3), (.noKeyStore, 2),
            (.invalidRequest, 2), (.unknownAlgorithm, 2), (.requestIDConflict, 2), (.labelAmbiguous, 2),
            (.generationFailed, 1), (.generationPending, 4), (.timeout, 4), (.unauthorized, 77),
            (.internalError, 1),
        ] as [(ManagementError.Code, Int32)])
    func everyProblemHasItsExitStatus(code: ManagementError.Code, status: Int32) async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.fail(ManagementError(code, detail: "Scripted.")))
        let id = "8e03978e-40d5-43e8-bc93-6894a57f9324"
        try await CommandLine.with(cluster) { line in
            let result = try await line.run(
                "masterkey", "generate", "--algorithm", "aes256", "--yes", "--output", "json", "--request-id",
                id)
            #expect(result.status == status, "\(result.standardError)")
            #expect(result.standardOutput.isEmpty)
            let problem = ManagementError(code, detail: "")
            #expect(result.standardError.hasPrefix("error: \(problem.title). Scripted. \(problem.whatToDo)"))
            let failure = try result.failure()
            #expect(failure["code"]?.text == code.rawValue)
            #expect(failure["exitStatus"]?.text == "\(status)")
            #expect(failure["requestID"]?.text == id)
            #expect(failure["status"]?.text == "\(problem.httpStatus)")
            #expect(result.standardError.contains("The request id is \(id).") == (status == 4))
        }
    }

    @Test func nodesThatAreDownAreUnavailable() async throws {
        let certificates = try await TestCertificates.shared.value
        let line = try CommandLine(
            nodes: ["https://127.0.0.1:1", "https://127.0.0.1:2"], certificates.client)
        defer { line.remove() }
        let result = try await line.run("masterkey", "generate", "--algorithm", "aes256", "--yes")
        #expect(result.status == 3)
        #expect(
            result.standardError.contains(
                "error: No node can be reached. https://127.0.0.1:1: the connection is"))
        let json = try await line.run("status", "--output", "json")
        #expect(try json.failure()["code"] == "unreachable")
    }

    @Test func aNodeThatDiesInTheMiddleLeavesTheOutcomeOpenAndTheSameRequestSettlesIt() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster) { server, certificates in
            let proxy = try CuttableProxy(target: server.port)
            let line = try CommandLine(nodes: [proxy.url], certificates.client)
            defer { line.remove() }
            async let cut = line.run("masterkey", "generate", "--algorithm", "aes256", "--yes")
            await cluster.waitUntilHanging()
            proxy.cut()
            let result = try await cut
            #expect(result.status == 4, "\(result.standardError)")
            let id = try #require(await cluster.requestIDs.first?.description)
            #expect(result.standardError.hasPrefix("request id: \(id)\n"))
            #expect(result.standardError.contains("The request id is \(id)."))
            await cluster.release()
            let again = try await line.run(
                "masterkey", "generate", "--algorithm", "aes256", "--yes", "--request-id", id, "--node",
                server.url)
            #expect(again.status == 0, "\(again.standardError)")
            #expect(again.standardError.isEmpty)
            #expect(await cluster.masterKeysMade == 1)
        }
    }

    @Test func aQuestionWithoutAnswerMeansThatTheClusterIsUnavailable() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await CommandLine.with(cluster) { line in
            let question = try await line.run("masterkey", "list", "--timeout", "1s")
            #expect(question.status == 3)
            #expect(question.standardError.hasPrefix("error: No answer in time."))
            await cluster.release()
        }
    }

    @Test func certificatesThatAreMissingForeignOrRefusedAreStatus77() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let line = try CommandLine(nodes: [server.url], certificates.client)
            defer { line.remove() }
            let missing = try await line.run("status", "--key", "/none.key")
            #expect(missing.status == 77)
            #expect(missing.standardError.contains("/none.key does not exist."))
            let foreign = try await line.run("status", "--ca", certificates.otherAuthority.file)
            #expect(foreign.status == 77)
            let stranger = certificates.strangerClient
            let refused = try await line.run("status", "--cert", stranger.certificate, "--key", stranger.key)
            #expect(refused.status == 77, "\(refused.standardError)")
            let other = try await certificates.authority.issue("other", "URI:hsmcluster://other/client/admin")
            let forbidden = try await line.run("status", "--cert", other.certificate, "--key", other.key)
            #expect(forbidden.status == 77)
            #expect(forbidden.standardError.contains("Not authorised"))
        }
    }

    @Test(arguments: [
        ["status", "--output", "xml"], ["status", "--timeout", "0"], ["status", "--timeout", "soon"],
        ["status", "--node", "http://127.0.0.1:1"], ["status", "--node", "127.0.0.1"], ["nonsense"],
        ["status", "--config", "/none.yaml"], ["masterkey", "generate", "--yes"],
        ["masterkey", "generate", "--yes", "--algorithm", "aes512"],
        ["masterkey", "generate", "--yes", "--algorithm", "aes256", "--request-id", "7"],
        ["masterkey", "generate", "--yes", "--algorithm", "aes256", "--comment", "a\nb"],
        ["keystore", "add", "a/b"], ["keystore", "add", "a", "--minimum-replicas", "0"], ["keystore", "add"],
        ["endpoints", "retry-login"], ["completion", "tcsh"],
    ])
    func mistakesOnTheCommandLineAreStatus64AndReachNobody(arguments: [String]) async throws {
        let cluster = ScriptedCluster()
        try await CommandLine.with(cluster) { line in
            let result = try await Command.run(CommandLine.program, arguments, environment: line.environment)
            #expect(result.status == 64, "\(result.standardError)")
            #expect(result.standardError.lowercased().hasPrefix("error: "))
            #expect(result.standardOutput.isEmpty)
            #expect(await cluster.calls == 0)
        }
    }

    @Test func withoutConfigurationTheUsualPlacesAreNamed() async throws {
        let result = try await Command.run(
            CommandLine.program, ["status"], environment: ["HOME": "/nonexistent"])
        // A machine that has /etc/hsmcluster/client.yaml answers otherwise.
        guard !FileManager.default.fileExists(atPath: "/etc/hsmcluster/client.yaml") else { return }
        #expect(result.status == 64)
        #expect(result.standardError.contains("~/.config/hsmcluster/client.yaml"))
    }

    @Test func mistakesInTheConfigurationNameTheLine() async throws {
        let certificates = try await TestCertificates.shared.value
        let line = try CommandLine(nodes: ["http://127.0.0.1:1"], certificates.client)
        defer { line.remove() }
        let result = try await line.run("status")
        #expect(result.status == 64)
        #expect(result.standardError.contains("client.yaml:2: nodes[0]: this is not the address"))
    }
}

extension ScriptedCluster {
    fileprivate var masterKeysMade: Int {
        get async { await status().masterKeys.count }
    }
}
