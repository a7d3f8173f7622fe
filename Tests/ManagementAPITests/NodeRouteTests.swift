// The resources about nodes, seen by curl.

import ClusterModel
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct NodeRouteTests {
    @Test func nodesAreListedWithoutALeader() async throws {
        let cluster = ScriptedCluster()
        await cluster.follow(.fail(ManagementError(.noQuorum, detail: "one of three")))
        try await RunningServer.with(cluster) { server, certificates in
            let answer = try await Curl.call(server.url + "/v1/nodes", certificates.client)
            #expect(answer.status == 200)
            #expect(try answer.decoded([NodeStatus].self).map(\.id) == [NodeID(1), NodeID(2)])
        }
    }

    @Test func leadershipGoesToANamedNodeOrToAny() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let url = server.url + "/v1/nodes/transfer-leadership"
            for body in ["{}", #"{"to":2}"#] {
                let answer = try await Curl.post(url, certificates.client, body)
                #expect(answer.status == 200)
                #expect(try answer.decoded([NodeStatus].self).count == 2)
            }
            let unknown = try await Curl.post(url, certificates.client, #"{"to":9}"#)
            #expect(unknown.status == 404 && unknown.problem?.code == .nodeUnknown)
            let misspelt = try await Curl.post(url, certificates.client, #"{"too":2}"#)
            #expect(misspelt.status == 400 && misspelt.problem?.code == .invalidRequest)
            #expect(try await Curl.call(url, certificates.client).status == 405)
        }
    }
}

@Suite(.serialized) struct MemberRouteTests {
    @Test func nodesAreAddedPromotedAndRemoved() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let url = server.url + "/v1/nodes"
            let body = #"{"id":4,"address":"10.0.0.4:7100","api":"https://10.0.0.4:7200"}"#
            let added = try await Curl.post(url, certificates.client, body)
            #expect(added.status == 201)
            #expect(try added.decoded([NodeStatus].self).last?.membership == .learner)
            #expect(try await Curl.post(url + "/2/promote", certificates.client, "").status == 200)
            let removed = try await Curl.post(url + "/2/remove", certificates.client, "")
            #expect(try removed.decoded([NodeStatus].self).map(\.id) == [NodeID(1)])
        }
    }

    @Test func impossibleNodesAreRefused() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let url = server.url + "/v1/nodes"
            for body in [
                #"{"id":0,"address":"a:1","api":"https://a:1"}"#,
                #"{"id":4,"address":"","api":"https://a:1"}"#,
                #"{"id":4,"address":"a:1"}"#,
                #"{"id":4,"address":"a:1","api":"https://a:1","role":"voter"}"#,
            ] {
                let answer = try await Curl.post(url, certificates.client, body)
                #expect(answer.status == 400 && answer.problem?.code == .invalidRequest, "\(body)")
            }
            for number in ["0", "x", "99999999999999999999999"] {
                let answer = try await Curl.post(url + "/\(number)/remove", certificates.client, "")
                #expect(answer.status == 404 && answer.problem?.code == .nodeUnknown, "\(number)")
            }
        }
    }
}
