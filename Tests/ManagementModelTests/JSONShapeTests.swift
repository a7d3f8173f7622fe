// The JSON keys are documented and scripts depend on them, so the exact shapes are pinned here.

import ClusterModel
import Foundation
import ManagementModel
import Testing

@Suite struct JSONShapeTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private var status: ClusterStatus {
        ClusterStatus(
            cluster: "local", node: NodeID(1), quorum: false, leader: nil, term: Term(4),
            commitIndex: LogIndex(9), appliedIndex: LogIndex(8), version: "1",
            nodes: [
                NodeStatus(
                    id: NodeID(1), role: .candidate, state: .alive, address: "127.0.0.1:7101", isLocal: true)
            ],
            endpoints: [
                EndpointStatus(name: EndpointName("hsm-a"), state: .credentialError, inService: false)
            ])
    }

    @Test func statusHasTheDocumentedKeysWithNumbersForNodesAndNullForNoLeader() throws {
        #expect(
            try json(status) == """
                {"appliedIndex":8,"cluster":"local","commitIndex":9,\
                "endpoints":[{"inService":false,"name":"hsm-a","state":"credential error"}],\
                "keyStores":[],"leader":null,"masterKeys":[],"node":1,\
                "nodes":[{"address":"127.0.0.1:7101","id":1,"isLocal":true,"role":"candidate",\
                "state":"alive"}],\
                "orphans":0,"quorum":false,"term":4,"version":"1","warnings":[]}
                """)
    }

    @Test func statusSurvivesTheRoundTripWithAndWithoutLeader() throws {
        var led = status
        led.leader = NodeID(3)
        for value in [status, led] {
            let data = Data(try json(value).utf8)
            #expect(try JSONDecoder().decode(ClusterStatus.self, from: data) == value)
        }
    }

    @Test func unknownWordsAndMembersOfNewerNodesAreKept() throws {
        let text = #"{"address":"a:1","id":2,"isLocal":false,"role":"witness","state":"sleeping","mood":1}"#
        let node = try JSONDecoder().decode(NodeStatus.self, from: Data(text.utf8))
        #expect(node.role.rawValue == "witness")
        #expect(node.state.rawValue == "sleeping")
    }

    @Test func masterKeyHasTheDocumentedKeys() throws {
        let key = MasterKeyStatus(
            label: "CMS MK 4099", keyID: 4099, algorithm: .desEDE3, kcv: "8BAF47", active: true,
            state: .active,
            createdAt: "2026-11-25T02:11:09Z", keyStore: "main", comment: "first",
            origin: EndpointName("hsm-a"), requestID: Identifier128(high: 1, low: 2),
            replicas: [
                ReplicaStatus(
                    endpoint: EndpointName("hsm-a"), verified: true, verifiedAt: "2026-11-25T02:11:10Z"),
                ReplicaStatus(endpoint: EndpointName("hsm-b"), verified: false, error: "gone"),
            ])
        #expect(
            try json([key]) == """
                [{"active":true,"algorithm":"DES-EDE3","comment":"first","createdAt":"2026-11-25T02:11:09Z",\
                "kcv":"8BAF47","keyID":4099,"keyStore":"main","label":"CMS MK 4099","origin":"hsm-a",\
                "replicas":[{"endpoint":"hsm-a","verified":true,"verifiedAt":"2026-11-25T02:11:10Z"},\
                {"endpoint":"hsm-b","error":"gone","verified":false}],\
                "requestID":"00000000-0000-0001-0000-000000000002","state":"active"}]
                """)
        #expect(try JSONDecoder().decode([MasterKeyStatus].self, from: Data(try json([key]).utf8)) == [key])
    }

    @Test func endpointsShowWhatEachNodeObserves() throws {
        let endpoint = EndpointStatus(
            name: EndpointName("hsm-a"), state: .inService, inService: true, tokenLabel: "hsm-a",
            serialNumber: "1",
            observedBy: [
                EndpointObservation(node: NodeID(1), state: .inService, latencyMicroseconds: 250)
            ])
        #expect(
            try json(endpoint) == """
                {"inService":true,"name":"hsm-a",\
                "observedBy":[{"latencyMicroseconds":250,"node":1,"state":"in service"}],\
                "serialNumber":"1","state":"in service","tokenLabel":"hsm-a"}
                """)
    }

    @Test func problemDetailsCarryCodeStatusAdviceAndRequest() throws {
        let error = ManagementError(
            .noQuorum, detail: "1 of 3 nodes answers.", requestID: Identifier128(high: 0, low: 1))
        let text = try json(error)
        #expect(
            text == """
                {"code":"no-quorum","detail":"1 of 3 nodes answers.",\
                "requestID":"00000000-0000-0000-0000-000000000001","retryable":true,"status":503,\
                "title":"The cluster has no quorum","type":"urn:hsmcluster:problem:no-quorum",\
                "whatToDo":"Bring a majority of the nodes back, then repeat the request."}
                """)
        #expect(try JSONDecoder().decode(ManagementError.self, from: Data(text.utf8)) == error)
    }
}
