// Every resource, seen by curl: what it answers, and how it refuses.

import ClusterModel
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct RouteTests {
    @Test func statusIsTheServicesOwn() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(server.url + "/v1/status", certificates.client)
            #expect(answer.status == 200)
            #expect(answer.headers["content-type"] == "application/json")
            #expect(answer.headers["cache-control"] == "no-store")
            #expect(try answer.decoded(ClusterStatus.self) == (await cluster.status()))
            #expect(answer.body.contains(#""leader":2"#))
        }
    }

    @Test func livenessAnswersWithoutAskingTheCluster() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.hang)
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(server.url + "/healthz/live", certificates.client)
            #expect(answer.status == 200)
            #expect(await cluster.calls == 0)
        }
    }

    @Test func endpointsAndKeyStoresAreArrays() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let endpoints = try await Curl.call(server.url + "/v1/endpoints", certificates.client)
            #expect(
                try endpoints.decoded([EndpointStatus].self).map(\.state) == [.inService, .credentialError])
            let made = try await Curl.post(
                server.url + "/v1/key-stores", certificates.client, #"{"name":"HSM Keystore"}"#)
            #expect(made.status == 201)
            let stores = try await Curl.call(server.url + "/v1/key-stores", certificates.client)
            #expect(try stores.decoded([KeyStoreStatus].self).map(\.name) == ["HSM Keystore"])
            let again = try await Curl.post(
                server.url + "/v1/key-stores", certificates.client, #"{"name":"HSM Keystore"}"#)
            #expect(again.status == 409)
            #expect(again.problem?.code == .keyStoreExists)
        }
    }

    @Test func theSameRequestIDGivesTheSameKeyAndOtherParametersAreAConflict() async throws {
        let id = "8E03978E-40D5-43E8-BC93-6894A57F9324"
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let url = server.url + "/v1/master-keys"
            let first = try await Curl.post(url, certificates.client, #"{"algorithm":"aes256"}"#, key: id)
            #expect(first.status == 201)
            #expect(first.headers["idempotency-key"] == id.lowercased())
            let quoted = try await Curl.post(
                url, certificates.client, #"{"algorithm":"AES256"}"#, key: "\"\(id)\"")
            #expect(try quoted.decoded(MasterKeyStatus.self) == first.decoded(MasterKeyStatus.self))
            let other = try await Curl.post(url, certificates.client, #"{"algorithm":"aes128"}"#, key: id)
            #expect(other.status == 409)
            #expect(other.problem?.code == .requestIDConflict)
            #expect(other.problem?.requestID == RequestID(id))
            let keys = try await Curl.call(url, certificates.client)
            #expect(try keys.decoded([MasterKeyStatus].self).count == 1)
            let operation = try await Curl.call(server.url + "/v1/operations/\(id)", certificates.client)
            #expect(try operation.decoded(MasterKeyStatus.self).label == "CMS MK 4099")
        }
    }

    @Test func aMissingRequestIDIsMadeAndReturned() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.post(
                server.url + "/v1/master-keys", certificates.client, #"{"algorithm":"des-ede3"}"#)
            let id = try #require(answer.headers["idempotency-key"])
            #expect(await cluster.requestIDs.map(\.description) == [id])
            #expect(try answer.decoded(MasterKeyStatus.self).requestID?.description == id)
        }
    }

    @Test(arguments: [
        "1", "8e03978e40d543e8bc936894a57f9324", "\"", "", "8e03978e-40d5-43e8-bc93-6894a57f9324, x",
    ])
    func aMalformedRequestIDIsRefused(id: String) async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            // curl leaves out a header without value unless it ends in a semicolon.
            let header = id.isEmpty ? "Idempotency-Key;" : "Idempotency-Key: \(id)"
            let answer = try await Curl.call(
                server.url + "/v1/master-keys", certificates.client, "--header",
                "Content-Type: application/json", "--header", header, "--data", #"{"algorithm":"aes256"}"#)
            #expect(answer.status == 400)
            #expect(answer.problem?.detail.contains("Idempotency-Key") == true)
            #expect(await cluster.calls == 0)
        }
    }

    @Test func operationsThatNobodyStartedAreUnknown() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let unknown = try await Curl.call(
                server.url + "/v1/operations/8e03978e-40d5-43e8-bc93-6894a57f9324", certificates.client)
            #expect(unknown.status == 404)
            #expect(unknown.problem?.code == .operationUnknown)
            let malformed = try await Curl.call(server.url + "/v1/operations/x", certificates.client)
            #expect(malformed.status == 400)
        }
    }

    @Test func retryLoginNeedsAKnownEndpoint() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            func retry(_ name: String) async throws -> CurlAnswer {
                try await Curl.call(
                    server.url + "/v1/endpoints/\(name)/retry-login", certificates.client, "--request", "POST"
                )
            }
            #expect(try await retry("hsm-b").decoded(EndpointStatus.self).state == .credentialError)
            for name in ["hsm-z", "HSM-A", "%2e%2e", "a%00b", String(repeating: "a", count: 300)] {
                let answer = try await retry(name)
                #expect(answer.status == 404)
                #expect(answer.problem?.code == .endpointUnknown)
            }
        }
    }

    @Test(arguments: [
        "/", "/v1", "/v1/", "/v1/statuses", "/v2/status", "/v1/status/x", "/../etc/passwd", "/v1/%2e%2e/x",
    ])
    func unknownPathsAreProblems(path: String) async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(server.url + path, certificates.client, "--path-as-is")
            #expect(answer.status == 404)
            #expect(answer.headers["content-type"] == "application/problem+json")
            #expect(answer.problem?.code == .notFound)
        }
    }

    @Test(arguments: ["DELETE", "PUT", "PATCH", "OPTIONS", "POST"])
    func otherMethodsAreRefusedWithTheAllowedOnes(method: String) async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/status", certificates.client, "--request", method)
            #expect(answer.status == 405)
            #expect(answer.headers["allow"] == "GET")
            #expect(answer.problem?.code == .methodNotAllowed)
        }
    }

    @Test func theServicesErrorsBecomeProblemDetails() async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            for code in ManagementError.Code.all {
                await cluster.follow(.fail(ManagementError(code, detail: "Scripted.")))
                let answer = try await Curl.call(server.url + "/v1/master-keys", certificates.client)
                let problem = try #require(answer.problem)
                #expect(problem.code == code && problem.detail == "Scripted.")
                #expect(answer.status == problem.httpStatus)
                #expect(answer.headers["content-type"] == "application/problem+json")
            }
            await cluster.follow(.fail(ManagementError(.noQuorum, detail: "Scripted.")))
            let answer = try await Curl.call(server.url + "/v1/master-keys", certificates.client)
            #expect(answer.headers["retry-after"] == "1")
            #expect(answer.body.contains(#""type":"urn:hsmcluster:problem:no-quorum""#))
        }
    }
}
