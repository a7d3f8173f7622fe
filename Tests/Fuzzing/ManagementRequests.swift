import ClusterModel
import Foundation
import ManagementModel

// JSON from clients, and JSON that a client gets from whatever answers at a node's address.

enum Target: FuzzTarget {
    static let longestInput = 4096

    static func check(_ input: [UInt8]) {
        let data = Data(input)
        if let request = checked(CreateKeyStore.self, data) {
            hold(
                (1...ManagementLimits.keyStoreNameBytes).contains(request.name.utf8.count), "a name's length")
        }
        if let request = checked(GenerateMasterKey.self, data) {
            hold(request.comment.utf8.count <= ManagementLimits.commentBytes, "a comment is too long")
            hold(!request.comment.unicodeScalars.contains { $0.isControl }, "a comment has two lines")
        }
        _ = checked(ManagementError.self, data)
        _ = checked(ClusterStatus.self, data)
        _ = checked([MasterKeyStatus].self, data)
        _ = checked([KeyStoreStatus].self, data)
        let quoted = String(decoding: input, as: UTF8.self).quotable
        hold(quoted.utf8.count <= ManagementLimits.quotedBytes + "…".utf8.count, "a quotation is too long")
        hold(!quoted.unicodeScalars.contains { $0.isControl }, "a quotation has a control character")
    }

    private static func checked<Value: Codable & Equatable>(_ type: Value.Type, _ data: Data) -> Value? {
        guard let value = try? JSONDecoder().decode(type, from: data) else { return nil }
        let written = try? JSONEncoder().encode(value)
        hold(written != nil, "\(type) can be read but not written")
        let again = written.flatMap { try? JSONDecoder().decode(type, from: $0) }
        hold(again == value, "\(type) reads as another value")
        return value
    }

    static func seeds() throws -> [Seed] {
        let id = RequestID(high: 0x0123_4567_89AB_4DEF, low: 0x8123_4567_89AB_CDEF)
        let key = MasterKeyStatus(
            label: "CMS MK 4099", keyID: 4_099, algorithm: .aes256, kcv: "A1B2C3", active: true,
            state: .active, createdAt: Timestamp.text(secondsSince1970: 1_700_000_000), keyStore: "HSM",
            comment: "first", origin: EndpointName("hsm-a"), requestID: id,
            replicas: [ReplicaStatus(endpoint: EndpointName("hsm-a"), verified: true)])
        let store = KeyStoreStatus(name: "HSM", active: true, minimumReplicas: 2, masterKeys: 1)
        let node = NodeStatus(
            id: NodeID(1), role: .leader, state: .alive, address: "127.0.0.1:7101", isLocal: true,
            term: Term(3), matchIndex: LogIndex(9))
        let endpoint = EndpointStatus(
            name: EndpointName("hsm-a"), state: .inService, inService: true, tokenLabel: "hsm-a",
            serialNumber: "1", observedBy: [EndpointObservation(node: NodeID(1), state: .inService)])
        let status = ClusterStatus(
            cluster: "local", node: NodeID(1), quorum: true, leader: nil, term: Term(3),
            commitIndex: LogIndex(9), appliedIndex: LogIndex(8), version: "1", nodes: [node],
            endpoints: [endpoint], keyStores: [store], masterKeys: [key], orphans: 1, warnings: ["w"])
        return [
            try seed("key-store", CreateKeyStore(name: "HSM Keystore", minimumReplicas: 2)),
            try seed("master-key", GenerateMasterKey(algorithm: .aes128, comment: "für Karten")),
            try seed("error", ManagementError(.noQuorum, detail: "2 of 5.", requestID: id)),
            try seed("status", status), try seed("master-keys", [key]), try seed("key-stores", [store]),
            Seed(name: "unknown-member", bytes: Array(#"{"name":"a","minimumReplica":1}"#.utf8)),
            Seed(name: "escapes", bytes: Array(#"{"algorithm":"AES256","comment":"\u0000\ud83d"}"#.utf8)),
        ]
    }

    private static func seed(_ name: String, _ value: some Encodable) throws -> Seed {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let bytes = Array(try encoder.encode(value))
        // Member names and other texts, with their quotes.
        let parts = String(decoding: bytes, as: UTF8.self).split(
            separator: "\"", omittingEmptySubsequences: false)
        let words = parts.enumerated().filter { $0.offset % 2 == 1 && $0.element.utf8.count < 40 }
            .map { Array("\"\($0.element)\"".utf8) }
        return Seed(name: name, bytes: bytes, words: words)
    }
}
