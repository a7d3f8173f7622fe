// The documented example means what the documentation says; every way to spoil it is met with the line, the
// key and advice.

import ClusterConfiguration
import ClusterModel
import Testing

@Suite struct NodeConfigurationTests {
    @Test func theDocumentedExampleIsRead() throws {
        let node = try NodeConfiguration.parse(Samples.node, file: "/c/node-1/node.yaml")
        #expect(node.cluster == "local")
        #expect(node.node == NodeID(1))
        #expect(node.stateDirectory == "/c/node-1")
        #expect(node.peerListener == NetworkAddress(host: "127.0.0.1", port: 7101))
        #expect(node.apiListener.description == "127.0.0.1:7201")
        #expect(
            node.tls
                == .init(
                    authority: "/c/ca/ca.pem", certificate: "/c/node-1/node.pem", key: "/c/node-1/node.key"))
        #expect(node.nodes.map(\.id) == [NodeID(1), NodeID(2)])
        #expect(node.nodes[1].api.description == "https://127.0.0.1:7202")
        let first = node.endpoints[0]
        #expect(first.name == EndpointName("hsm-a"))
        #expect(first.module == "/usr/lib/softhsm/libsofthsm2.so")
        #expect(first.token == "pkcs11:token=hsm-a")
        #expect(first.pin == .file("/c/secrets/hsm-a.pin"))
        #expect(
            first.environment
                == ["SOFTHSM2_CONF": "/c/hsm-a/softhsm2.conf", "DEBUG": "1", "MODE": "a *b & c"])
        #expect(first.weight == 2 && first.priority == 1)
        #expect(node.endpoints[1].module == "/c/node-1/lib/other.so")
        #expect(node.endpoints[1].pin == .environment("HSM_B_PIN"))
        #expect(node.endpoints[2].pin == .credential("hsm-c.pin"))
        #expect(node.replicas == .init(minimum: 2, sources: 3))
        #expect(node.deadlines == .init(endpointCall: .milliseconds(250), generation: .seconds(120)))
        #expect(node.logLevel == .debug)
    }

    @Test func optionalPartsHaveTheDocumentedDefaults() throws {
        let text = Samples.node.split(separator: "\n").filter {
            !$0.hasPrefix("replicas") && !$0.hasPrefix("deadlines") && !$0.hasPrefix("log")
        }.joined(separator: "\n")
        let node = try NodeConfiguration.parse(text, file: "/c/node.yaml")
        #expect(node.replicas == .init(minimum: 2, sources: 2))
        #expect(node.deadlines == .init(endpointCall: .seconds(10), generation: .seconds(20)))
        #expect(node.logLevel == .info)
        #expect(node.endpoints[1].environment.isEmpty)
        #expect(node.endpoints[1].weight == 1 && node.endpoints[1].priority == 0)
    }

    /// What to replace, by what, and the line and key that the error has to name.
    struct Spoilt: Sendable, CustomTestStringConvertible {
        var old: String
        var new: String
        var line: Int?
        var key: String
        var testDescription: String { "\(key): \(new.prefix(40))" }
        init(_ old: String, _ new: String, _ line: Int?, _ key: String) {
            (self.old, self.new, self.line, self.key) = (old, new, line, key)
        }
    }

    static let spoilt: [Spoilt] = [
        Spoilt("cluster: local", "", 2, "cluster"),
        Spoilt("cluster: local", "cluster: [a]", 1, "cluster"),
        Spoilt("cluster: local", "cluster: \"lo cal\"", 1, "cluster"),
        Spoilt("cluster: local", "cluster: a/b", 1, "cluster"),
        Spoilt("cluster: local", "cluster:", 1, "cluster"),
        Spoilt("cluster: local", "clutser: local", 1, "cluster"),
        Spoilt("node: 1\n", "node: one\n", 2, "node"),
        Spoilt("node: 1\n", "node: 0\n", 2, "node"),
        Spoilt("node: 1\n", "node: 1.0\n", 2, "node"),
        Spoilt("node: 1\n", "node: -1\n", 2, "node"),
        Spoilt("node: 1\n", "node: 99999999999999999999\n", 2, "node"),
        Spoilt("node: 1\n", "node: 3\n", nil, "node"),
        Spoilt("node: 1\n", "node: 1\nverbose: true\n", 3, "verbose"),
        Spoilt("node: 1\n", "node: 1\nnode: 2\n", 2, ""),
        Spoilt("node: 1\n", "node: 1\n\"node\": 2\n", 2, ""),
        Spoilt("127.0.0.1:7101\"", "127.0.0.1\"", 4, "listen.peers"),
        Spoilt("127.0.0.1:7101\"", "127.0.0.1:0\"", 4, "listen.peers"),
        Spoilt("127.0.0.1:7101\"", "127.0.0.1:65536\"", 4, "listen.peers"),
        Spoilt("127.0.0.1:7101\"", "127.0.0.1:71O1\"", 4, "listen.peers"),
        Spoilt("127.0.0.1:7101\"", "::1:7101\"", 4, "listen.peers"),
        Spoilt("127.0.0.1:7101\"", "127.0.0.1:7201\"", 4, "listen.api"),
        Spoilt("api: \"127.0.0.1:7201\"", "http: \"127.0.0.1:7201\"", 4, "listen.api"),
        Spoilt("key: node.key", "kei: node.key", 5, "tls.key"),
        Spoilt("key: node.key", "key: node.key, ca: a", 5, "tls.ca"),
        Spoilt("id: 2", "id: 1", 8, "nodes[1].id"),
        Spoilt("127.0.0.1:7102", "127.0.0.1:7101", 8, "nodes[1].address"),
        Spoilt("https://127.0.0.1:7202", "http://127.0.0.1:7202", 8, "nodes[1].api"),
        Spoilt("https://127.0.0.1:7202", "https://127.0.0.1:7202/v1", 8, "nodes[1].api"),
        Spoilt("https://127.0.0.1:7202", "https://me:pw@127.0.0.1:7202", 8, "nodes[1].api"),
        Spoilt("- name: hsm-a", "- name: HSM-A", 10, "endpoints[0].name"),
        Spoilt("- name: hsm-a", "- name: \"\"", 10, "endpoints[0].name"),
        Spoilt("- name: hsm-a", "- name: a234567890123456789012345678901-3", 10, "endpoints[0].name"),
        Spoilt("- name: hsm-a", "- name: hsm-b", 17, "endpoints[1].name"),
        Spoilt("- name: hsm-a", "- modul: x\n    name: hsm-a", 10, "endpoints[0].modul"),
        Spoilt("\"pkcs11:token=hsm-a\"", "hsm-a", 12, "endpoints[0].token"),
        Spoilt("\"pkcs11:token=hsm-a\"", "\"pkcs11:\"", 12, "endpoints[0].token"),
        Spoilt("\"pkcs11:token=hsm-a\"", "\"pkcs11:token=hsm a\"", 12, "endpoints[0].token"),
        Spoilt("token=hsm-a", "token=hsm-a?pin-value=1234", 12, "endpoints[0].token"),
        Spoilt("token=hsm-a", "token=hsm-a;pin-source=a", 12, "endpoints[0].token"),
        Spoilt("token=hsm-a", "token=hsm-a?module-path=/m", 12, "endpoints[0].token"),
        Spoilt("pin: { file: ../secrets/hsm-a.pin }", "pin: 1234", 13, "endpoints[0].pin"),
        Spoilt("pin: { file: ../secrets/hsm-a.pin }", "pin: { value: 1234 }", 13, "endpoints[0].pin.value"),
        Spoilt("pin: { file: ../secrets/hsm-a.pin }", "pin: {}", 13, "endpoints[0].pin"),
        Spoilt(
            "pin: { file: ../secrets/hsm-a.pin }", "pin: { file: a, credential: B }", 13, "endpoints[0].pin"),
        Spoilt("environment: HSM_B_PIN", "environment: 1234", 20, "endpoints[1].pin.environment"),
        Spoilt("credential: hsm-c.pin", "credential: ../x", 24, "endpoints[2].pin.credential"),
        Spoilt("DEBUG: 1", "\"A=B\": 1", 14, "endpoints[0].environment"),
        Spoilt("DEBUG: 1", "DEBUG: [1]", 14, "endpoints[0].environment.DEBUG"),
        Spoilt("DEBUG: 1", "DEBUG: \"a\\0b\"", 14, "endpoints[0].environment.DEBUG"),
        Spoilt("weight: 2", "weight: 0", 15, "endpoints[0].weight"),
        Spoilt("priority: 1", "priority: high", 16, "endpoints[0].priority"),
        Spoilt("minimum: 2", "minimum: 4", 25, "replicas.minimum"),
        Spoilt("minimum: 2", "minimum: 0", 25, "replicas.minimum"),
        Spoilt("sources: 3", "source: 3", 25, "replicas.source"),
        Spoilt("250ms", "250", 26, "deadlines.endpointCall"),
        Spoilt("250ms", "1ms", 26, "deadlines.endpointCall"),
        Spoilt("250ms", "11m", 26, "deadlines.endpointCall"),
        Spoilt("250ms", "-5s", 26, "deadlines.endpointCall"),
        Spoilt("250ms", "٣s", 26, "deadlines.endpointCall"),
        Spoilt("level: debug", "level: loud", 27, "log.level"),
        Spoilt("listen: {", "listen: }", 4, ""),
        Spoilt("node: 1", "\tnode: 1", 2, ""),
    ]

    @Test(arguments: spoilt)
    func everyMistakeNamesItsLineAndKeyAndWhatToDo(spoilt: Spoilt) throws {
        let error = try #require(try Samples.nodeError(spoilt.old, spoilt.new), "this was accepted")
        #expect(error.file == "/c/node-1/node.yaml")
        #expect(error.line == spoilt.line, "\(error)")
        #expect(error.key == spoilt.key, "\(error)")
        #expect(!error.problem.isEmpty && error.whatToDo.hasSuffix("."))
    }

    @Test func pinsInTheFileAreRefusedWithoutRepeatingThem() throws {
        let pin = "pin: { file: ../secrets/hsm-a.pin }"
        for secret in [
            "pin: 739155", "pin: \"739155\"", "pin: { environment: 739155 }", "pin: [739155", "pin: {739155",
        ] {
            let error = try #require(try Samples.nodeError(pin, secret))
            #expect(!"\(error)".contains("739155"), "\(error)")
        }
        let literal = try #require(try Samples.nodeError(pin, "pin: 739155"))
        #expect(literal.whatToDo.contains("pin: { file: hsm-a.pin }"))
    }

    @Test func aMisspeltKeyIsNamedWithTheKnownOnes() throws {
        let error = try #require(try Samples.nodeError("weight: 2", "wieght: 2"))
        #expect(
            error.description
                == "/c/node-1/node.yaml:15: endpoints[0].wieght: the key is not known here. Remove it; known "
                + "are environment, module, name, pin, priority, token, weight.")
    }

    @Test func aVotingNodeWithoutEndpointsIsAllowed() throws {
        let start = try #require(Samples.node.range(of: "endpoints:\n"))
        let end = try #require(Samples.node.range(of: "replicas:"))
        var text = Samples.node
        text.replaceSubrange(start.lowerBound..<end.lowerBound, with: "endpoints: []\n")
        #expect(try NodeConfiguration.parse(text, file: "/n.yaml").endpoints.isEmpty)
    }

    @Test func oneEndpointNeedsAnExplicitMinimumOfOne() throws {
        let start = try #require(Samples.node.range(of: "  - name: hsm-b"))
        let end = try #require(Samples.node.range(of: "replicas:"))
        var text = Samples.node
        text.replaceSubrange(start.lowerBound..<end.lowerBound, with: "")
        #expect(throws: ConfigurationError.self) { try NodeConfiguration.parse(text, file: "/n.yaml") }
        text = text.replacing("minimum: 2", with: "minimum: 1")
        #expect(try NodeConfiguration.parse(text, file: "/n.yaml").replicas.minimum == 1)
    }
}
