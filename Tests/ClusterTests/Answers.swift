// The documented JSON of hsmcluster, as a script would read it: declared here once more on purpose, so that a
// renamed key breaks a test and not only somebody's script.

struct StatusAnswer: Decodable, Sendable {
    struct Node: Decodable, Sendable {
        let id: Int
        let role: String
        let state: String
    }
    struct Endpoint: Decodable, Sendable {
        let name: String
        let state: String
        let inService: Bool
        let error: String?
    }

    let node: Int
    let quorum: Bool
    let leader: Int?
    let term: Int
    let commitIndex: Int
    let nodes: [Node]
    let endpoints: [Endpoint]

    func state(of endpoint: String) -> String? { endpoints.first { $0.name == endpoint }?.state }
    var inService: [String] { endpoints.filter { $0.state == "in service" }.map(\.name).sorted() }
    var alive: [Int] { nodes.filter { $0.state == "alive" }.map(\.id).sorted() }
}

struct MasterKeyAnswer: Decodable, Sendable, Equatable {
    struct Replica: Decodable, Sendable, Equatable {
        let endpoint: String
        let verified: Bool
    }

    let label: String
    let keyID: Int
    let algorithm: String
    let kcv: String?
    let active: Bool
    let state: String
    let requestID: String?
    let replicas: [Replica]

    var verified: [String] { replicas.filter(\.verified).map(\.endpoint).sorted() }
    /// Usable: activated at some time, whether or not it still carries the `*`.
    var isUsable: Bool { state == "active" }
}

/// A key as Tests/support/token describes it.
struct TokenKey: Decodable, Sendable {
    let label: String
    let id: String
    let keyType: String
    let sensitive: Bool
    let extractable: Bool
    let derive: Bool
    let encrypt: Bool
    let decrypt: Bool
}
