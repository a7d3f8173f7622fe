// The file system side: what is missing, unreadable, not a file or open to everybody.

import ClusterConfiguration
import Foundation
import Testing

@Suite struct FileTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "configuration-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder + "/node", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private func write(_ text: String, _ path: String, mode: Int = 0o600) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private var sample: String { Samples.node.replacing("../ca/ca.pem", with: "ca.pem") }

    @Test func loadsWhenThePEMFilesAreThere() throws {
        try withFolder { folder in
            let file = folder + "/node/node.yaml"
            try write(sample, file)
            try write("x", folder + "/node/ca.pem", mode: 0o644)
            try write("x", folder + "/node/node.pem", mode: 0o644)
            try write("x", folder + "/node/node.key")
            #expect(try NodeConfiguration.load(file: file).tls.key == folder + "/node/node.key")
        }
    }

    @Test func missingPEMFilesAreNamed() throws {
        try withFolder { folder in
            let file = folder + "/node/node.yaml"
            try write(sample, file)
            try write("x", folder + "/node/ca.pem")
            let error = #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(file: file) }
            #expect(error?.key == "tls.certificate")
            #expect(error?.problem == folder + "/node/node.pem: No such file or directory")
        }
    }

    @Test func aPrivateKeyThatEverybodyCanReadIsRefused() throws {
        try withFolder { folder in
            let file = folder + "/node/node.yaml"
            try write(sample, file)
            for name in ["ca.pem", "node.pem", "node.key"] {
                try write("x", folder + "/node/\(name)", mode: 0o644)
            }
            let error = #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(file: file) }
            #expect(error?.key == "tls.key")
            #expect(error?.whatToDo.contains("chmod 600") == true)
        }
    }

    @Test func whatIsNotAFileIsRefused() throws {
        try withFolder { folder in
            #expect(mkfifo(folder + "/pipe", 0o600) == 0)
            try Data([0xFF, 0xFE, 0x00]).write(to: URL(fileURLWithPath: folder + "/binary"))
            for path in [folder, folder + "/none", folder + "/pipe", folder + "/binary", "/dev/zero", ""] {
                let error = #expect(throws: ConfigurationError.self) {
                    try NodeConfiguration.load(file: path)
                }
                #expect(error?.file == path)
            }
        }
    }

    @Test func relativePathsAreRelativeToTheFile() throws {
        let node = try NodeConfiguration.parse(Samples.node, file: "node.yaml")
        let here = FileManager.default.currentDirectoryPath
        #expect(node.tls.certificate == here + "/node.pem")
        let dotted = try NodeConfiguration.parse(Samples.node, file: "./a/../b/node.yaml")
        #expect(dotted.tls.certificate == here + "/b/node.pem")
    }

    @Test func theClientConfigurationIsRead() throws {
        let client = try ClientConfiguration.parse(Samples.client, file: "/c/client.yaml")
        #expect(client.cluster == "local")
        #expect(client.nodes.map(\.description) == ["https://127.0.0.1:7201", "https://[::1]:7202"])
        #expect(client.tls.key == "/c/client/admin.key")
    }

    @Test(arguments: [
        ("\"https://127.0.0.1:7201\", ", "\"https://[::1]:7202\", ", "nodes[1]"),
        ("\"https://127.0.0.1:7201\", ", "7, ", "nodes[0]"),
        ("cluster: local\n", "cluster: local\ntoken: x\n", "token"),
        ("key: client/admin.key", "", "tls.key"),
    ])
    func mistakesInTheClientConfigurationAreNamed(old: String, new: String, key: String) throws {
        let text = Samples.client.replacing(old, with: new)
        let error = #expect(throws: ConfigurationError.self) {
            try ClientConfiguration.parse(text, file: "c")
        }
        #expect(error?.key == key, "\(String(describing: error))")
    }

    @Test func theDefaultFileIsTheNamedOneThenHomeThenEtc() throws {
        #expect(ClientConfiguration.defaultFile(environment: ["HSMCLUSTER_CONFIG": "/x"]) == "/x")
        try withFolder { folder in
            try FileManager.default.createDirectory(
                atPath: folder + "/.config/hsmcluster", withIntermediateDirectories: true)
            let path = folder + "/.config/hsmcluster/client.yaml"
            try write(Samples.client, path)
            #expect(ClientConfiguration.defaultFile(environment: ["HOME": folder]) == path)
        }
    }
}
