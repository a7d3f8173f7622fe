// A cluster that hangs must cost its callers a bounded time and the node a bounded number of calls.

import Foundation
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct DeadlineTests {
    @Test func aGenerationThatTakesTooLongIsPendingAndNamesItsRequest() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster, adjust: { $0.requestDeadline = .milliseconds(200) }) {
            server, certificates in
            let id = "8e03978e-40d5-43e8-bc93-6894a57f9324"
            let answer = try await Curl.post(
                server.url + "/v1/master-keys", certificates.client, #"{"algorithm":"aes256"}"#, key: id)
            #expect(answer.status == 504)
            #expect(answer.problem?.code == .generationPending)
            #expect(answer.problem?.requestID?.description == id)
            #expect(answer.problem?.retryable == true)
            await cluster.release()
            let again = try await Curl.post(
                server.url + "/v1/master-keys", certificates.client, #"{"algorithm":"aes256"}"#, key: id)
            #expect(again.status == 201)
            #expect(try again.decoded(MasterKeyStatus.self).label == "CMS MK 4099")
        }
    }

    @Test func aQuestionThatTakesTooLongTimesOut() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster, adjust: { $0.requestDeadline = .milliseconds(200) }) {
            server, certificates in
            for path in ["/v1/status", "/v1/master-keys"] {
                let answer = try await Curl.call(server.url + path, certificates.client)
                #expect(answer.status == 504)
                #expect(answer.problem?.code == .timeout)
            }
            await cluster.release()
        }
    }

    @Test func abandonedCallsAreCountedAndBounded() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(
            cluster,
            adjust: {
                $0.requestDeadline = .milliseconds(100)
                $0.maximumCalls = 2
            }
        ) { server, certificates in
            var codes: [ManagementError.Code?] = []
            for _ in 0..<4 {
                let answer = try await Curl.call(server.url + "/v1/endpoints", certificates.client)
                codes.append(answer.problem?.code)
            }
            #expect(codes == [.timeout, .timeout, .busy, .busy])
            #expect(await cluster.calls == 2)
            await cluster.follow(.answer)
            let view = try await Curl.call(server.url + "/v1/status", certificates.client)
            #expect(view.problem?.code != .busy)
            await cluster.release()
            var status = 0
            for _ in 0..<200 where status != 200 {
                status = try await Curl.call(server.url + "/v1/endpoints", certificates.client).status
            }
            #expect(status == 200)
        }
    }

    @Test func aBodyThatNeverEndsIsCutOff() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster, adjust: { $0.requestDeadline = .milliseconds(300) }) {
            server, certificates in
            // The upload is one byte a second and would take an hour.
            let answer = try await Curl.call(
                server.url + "/v1/master-keys", certificates.client, "--header",
                "Content-Type: application/json",
                "--header", "Expect:", "--limit-rate", "1", "--data-binary", "@-",
                input: String(repeating: " ", count: 60_000))
            #expect(answer.status != 201)
            #expect(await cluster.calls == 0)
        }
    }

    @Test func silentConnectionsAreClosed() async throws {
        try await RunningServer.with(ScriptedCluster(), adjust: { $0.idleTimeout = .milliseconds(300) }) {
            server, _ in
            // bash holds a TCP connection that never starts TLS; `read` returns when the server closes it.
            let result = try await Command.run(
                "/bin/bash",
                ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(server.port); read -t 50 -u 3; echo $?"])
            #expect(result.standardOutput == "1\n", "142 would mean that the connection was still open")
        }
    }

    @Test func stoppingLetsRequestsUnderWayFinish() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        let certificates = try await TestCertificates.shared.value
        let server = try await RunningServer(cluster, certificates.node)
        async let answer = Curl.call(server.url + "/v1/endpoints", certificates.client)
        await cluster.waitUntilHanging()
        async let stopped: Void = server.stop()
        try await Task.sleep(for: .milliseconds(100))
        await cluster.release()
        #expect(try await answer.status == 200)
        try await stopped
        let late = try await Curl.call(server.url + "/v1/status", certificates.client)
        #expect(late.status == 0)
    }

    @Test func cancellingWhileConnectionsArriveEndsTheServerAndNotTheProcess() async throws {
        let certificates = try await TestCertificates.shared.value
        for _ in 0..<20 {
            let server = try await RunningServer(ScriptedCluster(), certificates.node, isAlone: true)
            let connecting = Task.detached {
                (0..<50).compactMap { _ in LoopbackSocket.connect(port: server.port) }
            }
            await Task.yield()
            await server.cancel()
            for descriptor in await connecting.value { close(descriptor) }
        }
    }
}
