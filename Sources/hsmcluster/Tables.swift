// How each kind of answer looks as text.

import ClusterModel
import ManagementModel

enum Tables {
    static func nodes(_ nodes: [NodeStatus]) -> String {
        var table = Table("NODE", "ROLE", "MEMBER", "STATE", "TERM", "MATCH", "ADDRESS")
        for node in nodes {
            table.add(
                node.isLocal ? "\(node.id) (answers)" : "\(node.id)", node.role.rawValue,
                node.membership?.rawValue ?? "-", node.state.rawValue, node.term.map(\.description) ?? "-",
                node.matchIndex.map(\.description) ?? "-", node.address)
        }
        return table.text(otherwise: "no nodes")
    }

    static func endpoints(_ endpoints: [EndpointStatus]) -> String {
        var table = Table("ENDPOINT", "STATE", "TOKEN", "SERIAL NUMBER", "OBSERVED BY", "ERROR")
        for endpoint in endpoints {
            let observations = (endpoint.observedBy ?? []).map { observation in
                let latency = observation.latencyMicroseconds.map { ", \(milliseconds($0)) ms" } ?? ""
                return "\(observation.node): \(observation.state)\(latency)"
            }
            table.add(
                endpoint.name.rawValue, endpoint.state.rawValue, endpoint.tokenLabel ?? "-",
                endpoint.serialNumber ?? "-",
                observations.isEmpty ? "-" : observations.joined(separator: "; "),
                endpoint.error ?? "-")
        }
        return table.text(otherwise: "no endpoints")
    }

    static func keyStores(_ keyStores: [KeyStoreStatus]) -> String {
        var table = Table("KEY STORE", "MINIMUM REPLICAS", "MASTER KEYS")
        for store in keyStores {
            table.add(
                store.active ? "\(store.name) *" : store.name, "\(store.minimumReplicas)",
                "\(store.masterKeys)")
        }
        return table.text(otherwise: "no key stores; make one with 'hsmcluster keystore add NAME'")
    }

    static func masterKeys(_ keys: [MasterKeyStatus]) -> String {
        var table = Table(
            "MASTER KEY", "ALGORITHM", "KCV", "STATE", "KEY STORE", "CREATED", "REPLICAS", "COMMENT")
        for key in keys {
            table.add(
                key.active ? "\(key.label) *" : key.label, key.algorithm, key.kcv ?? "-",
                key.error.map { "\(key.state) (\($0))" } ?? key.state.rawValue, key.keyStore, key.createdAt,
                replicas(key.replicas), key.comment.isEmpty ? "-" : key.comment)
        }
        return table.text(otherwise: "no master keys")
    }

    /// `hsm-a, hsm-b, hsm-c (not verified: gone)`.
    static func replicas(_ replicas: [ReplicaStatus]) -> String {
        guard !replicas.isEmpty else { return "-" }
        return replicas.map { replica in
            let reason = replica.error.map { ": \($0)" } ?? ""
            return replica.verified
                ? replica.endpoint.rawValue : "\(replica.endpoint) (not verified\(reason))"
        }.joined(separator: ", ")
    }

    private static func milliseconds(_ microseconds: UInt64) -> String {
        "\(microseconds / 1_000).\(microseconds % 1_000 / 100)"
    }
}
