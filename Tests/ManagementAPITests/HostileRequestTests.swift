// Bodies that are too large, broken, wrongly declared or not understood. None reaches the cluster.

import Foundation
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct HostileRequestTests {
    static let bodies: [(String, String)] = [
        ("", "not JSON"), ("{", "not JSON"), ("nonsense", "not JSON"), ("\u{0}\u{1}", "not JSON"),
        ("[]", "object"), ("7", "object"), ("null", "object"), ("\"aes256\"", "object"),
        ("{}", "'algorithm' is missing"), (#"{"algorithm":null}"#, "algorithm"),
        (#"{"algorithm":256}"#, "'algorithm' has the wrong type"),
        (#"{"algorithm":["aes256"]}"#, "wrong type"),
        (#"{"algorithm":"aes512"}"#, "'aes512' is not a known algorithm"),
        (#"{"algorithm":"aes256","comment":7}"#, "'comment' has the wrong type"),
        (#"{"algorithm":"aes256","Comment":"x"}"#, "'Comment' is not known"),
        (#"{"algorithm":"aes256","pin":"1234"}"#, "'pin' is not known"),
        (#"{"algorithm":"aes256","comment":"\u0000"}"#, "control character"),
        (#"{"algorithm":"aes256","comment":"\ud800"}"#, "not JSON"),
        (#"{"algorithm":"aes256"} {"algorithm":"aes128"}"#, "not JSON"),
        (String(repeating: "[", count: 60_000), "not JSON"),
        (String(repeating: #"{"a":"#, count: 12_000), "not JSON"),
        (#"{"algorithm":"aes256","comment":"\#(String(repeating: "x", count: 60_000))"}"#, "60000 bytes"),
        (#"{"\#(String(repeating: "k", count: 60_000))":1}"#, "not known here"),
    ]

    @Test(arguments: bodies.indices)
    func hostileJSONIsRefusedWithAReasonAndNeverReachesTheCluster(index: Int) async throws {
        let (body, reason) = Self.bodies[index]
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.post(server.url + "/v1/master-keys", certificates.client, body)
            #expect(answer.status == 400)
            #expect(answer.problem?.detail.contains(reason) == true, "\(answer.body)")
            #expect(answer.body.utf8.count < 1_000)
            #expect(await cluster.calls == 0)
        }
    }

    @Test(arguments: [
        (#"{"name":"a","minimumReplicas":1e999}"#), (#"{"name":"a","minimumReplicas":2.5}"#),
        (#"{"name":"a","minimumReplicas":99999999999999999999}"#), (#"{"name":"a","minimumReplicas":"2"}"#),
        (#"{"name":"a","minimumReplicas":true}"#), (#"{"name":"../a"}"#), (#"{"name":""}"#),
    ])
    func hostileNumbersAndNamesAreRefused(body: String) async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.post(server.url + "/v1/key-stores", certificates.client, body)
            #expect(answer.status == 400)
            #expect(answer.problem?.code == .invalidRequest)
        }
    }

    @Test(arguments: ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"])
    func otherMediaTypesAreRefused(type: String) async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/master-keys", certificates.client, "--header", "Content-Type: \(type)",
                "--data", #"{"algorithm":"aes256"}"#)
            #expect(answer.status == 415)
            #expect(answer.problem?.code == .unsupportedMediaType)
        }
    }

    @Test func jsonWithACharacterSetIsFine() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/master-keys", certificates.client, "--header",
                "Content-Type: Application/JSON; charset=utf-8", "--data", #"{"algorithm":"aes256"}"#)
            #expect(answer.status == 201)
        }
    }

    @Test(arguments: [false, true])
    func bodiesOverTheLimitAreRefused(chunked: Bool) async throws {
        let cluster = ScriptedCluster()
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/master-keys", certificates.client, "--header",
                "Content-Type: application/json",
                "--header", chunked ? "Transfer-Encoding: chunked" : "X-None: 1", "--data-binary", "@-",
                input: String(repeating: " ", count: 4_000_000))
            #expect(answer.status == 413)
            #expect(answer.problem?.code == .bodyTooLarge)
            #expect(await cluster.calls == 0)
            let next = try await Curl.call(server.url + "/v1/status", certificates.client)
            #expect(next.status == 200)
        }
    }

    @Test func aBodyOfExactlyTheLimitIsRead() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let json = #"{"algorithm":"aes256"}"#
            let padding = String(repeating: " ", count: ManagementLimits.bodyBytes - json.utf8.count)
            let fits = try await Curl.post(
                server.url + "/v1/master-keys", certificates.client, json + padding)
            #expect(fits.status == 201)
            let over = try await Curl.post(
                server.url + "/v1/master-keys", certificates.client, json + padding + " ")
            #expect(over.status == 413)
        }
    }

    @Test func hugeHeadersAreRefused() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let answer = try await Curl.call(
                server.url + "/v1/status", certificates.client, "--header",
                "X-Long: \(String(repeating: "x", count: 100_000))")
            #expect(answer.status != 200)
            let next = try await Curl.call(server.url + "/v1/status", certificates.client)
            #expect(next.status == 200)
        }
    }
}
