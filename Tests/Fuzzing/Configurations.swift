import ClusterConfiguration

// Configuration files. They are an administrator's, but mistakes come in every shape, and the YAML parser below
// is written in C.

enum Target: FuzzTarget {
    static let longestInput = 4096

    static func check(_ input: [UInt8]) {
        guard let text = String(validating: input, as: UTF8.self) else { return }
        if let node = try? NodeConfiguration.parse(text, file: "/c/node.yaml") {
            hold(node.nodes.contains { $0.id == node.node }, "the node is not in its own list")
            hold(node.nodes.count <= ConfigurationLimits.nodes, "too many nodes")
            hold(node.endpoints.count <= ConfigurationLimits.endpoints, "too many endpoints")
            hold(node.stateDirectory.hasPrefix("/"), "a relative path")
            for address in [node.peerListener, node.apiListener] + node.nodes.map(\.address) {
                hold(NetworkAddress(address.description) == address, "an address has two meanings")
            }
        }
        if let client = try? ClientConfiguration.parse(text, file: "/c/client.yaml") {
            hold(!client.nodes.isEmpty, "a client without nodes")
            for api in client.nodes {
                hold(APIAddress(api.description) == api, "an address has two meanings")
            }
        }
    }

    static func seeds() throws -> [Seed] {
        let words = (node + client).split { !$0.isLetter }.filter { $0.utf8.count > 2 }.map {
            Array("\($0): ".utf8)
        }
        let flow = #"""
            {cluster: a, node: 1, stateDirectory: ., listen: {peers: "[::1]:1", api: "h:2"}, tls: {authority: a,
            certificate: b, key: c}, nodes: [{id: 1, address: "h:1", api: "https://h:2"}], endpoints: []}

            """#
        return [
            Seed(name: "node", bytes: Array(node.utf8), words: words),
            Seed(name: "client", bytes: Array(client.utf8)), Seed(name: "flow", bytes: Array(flow.utf8)),
            Seed(name: "alias", bytes: Array("a: &x [1, 2]\nb: *x\n".utf8)),
            Seed(name: "block", bytes: Array("a: |\n  text\nb: >-\n  more\n? c\n: !!str d\n---\n...\n".utf8)),
        ]
    }

    private static let node = """
        cluster: local
        node: 1
        stateDirectory: .
        listen: { peers: "127.0.0.1:7101", api: "127.0.0.1:7201" }
        tls: { authority: ../ca/ca.pem, certificate: node.pem, key: node.key }
        nodes:
          - { id: 1, address: "127.0.0.1:7101", api: "https://127.0.0.1:7201" }
          - { id: 2, address: "127.0.0.1:7102", api: "https://127.0.0.1:7202" }
        endpoints:
          - name: hsm-a
            module: /usr/lib/softhsm/libsofthsm2.so
            token: "pkcs11:token=hsm-a"
            pin: { file: ../secrets/hsm-a.pin }
            environment: { SOFTHSM2_CONF: ../hsm-a/softhsm2.conf, MODE: "a *b & c" }
            weight: 2
            priority: 1
          - name: hsm-b
            module: ./lib/other.so
            token: pkcs11:token=hsm%20b
            pin: { environment: HSM_B_PIN }
        replicas: { minimum: 2, sources: 3 }
        deadlines: { endpointCall: 250ms, generation: 2m }
        log: { level: debug }

        """

    private static let client = """
        cluster: local
        nodes: ["https://127.0.0.1:7201", "https://[::1]:7202/"]
        tls: { authority: ca/ca.pem, certificate: client/admin.pem, key: client/admin.key }

        """
}
