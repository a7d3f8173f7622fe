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
