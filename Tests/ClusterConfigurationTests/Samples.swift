// The example of the documentation, which the tests load and then spoil in one place each.

import ClusterConfiguration
import Testing

enum Samples {
    static let node = """
        cluster: local                       # name, in the certificates
        node: 1
        stateDirectory: .
        listen: { peers: "127.0.0.1:7101", api: "127.0.0.1:7201" }
        tls: { authority: ../ca/ca.pem, certificate: node.pem, key: node.key }
        nodes:                               # the voters, this node included
          - { id: 1, address: "127.0.0.1:7101", api: "https://127.0.0.1:7201" }
          - { id: 2, address: "127.0.0.1:7102", api: "https://127.0.0.1:7202" }
        endpoints:
          - name: hsm-a
            module: /usr/lib/softhsm/libsofthsm2.so
            token: "pkcs11:token=hsm-a"
            pin: { file: ../secrets/hsm-a.pin }
            environment: { SOFTHSM2_CONF: ../hsm-a/softhsm2.conf, DEBUG: 1, MODE: "a *b & c" }
            weight: 2
            priority: 1
          - name: hsm-b
            module: ./lib/other.so
            token: pkcs11:token=hsm%20b
            pin: { environment: HSM_B_PIN }
          - name: hsm-c
            module: /m.so
            token: "pkcs11:serial=12"
            pin: { credential: hsm-c.pin }
        replicas: { minimum: 2, sources: 3 }
        deadlines: { endpointCall: 250ms, generation: 2m }
        log: { level: debug }

        """

    static let client = """
        cluster: local
        nodes: ["https://127.0.0.1:7201", "https://[::1]:7202/"]
        tls: { authority: ca/ca.pem, certificate: client/admin.pem, key: client/admin.key }

        """

    /// The error that the sample gives when `old` is replaced by `new`.
    static func nodeError(_ old: String, _ new: String) throws -> ConfigurationError? {
        try #require(node.contains(old), "the sample does not contain \(old)")
        let text = node.replacing(old, with: new, maxReplacements: 1)
        do {
            _ = try NodeConfiguration.parse(text, file: "/c/node-1/node.yaml")
            return nil
        } catch {
            return error
        }
    }
}
