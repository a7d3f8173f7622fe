// Runs the built program against a server in this process, with a configuration file as a person would have
// it. On a terminal it runs under `script` from util-linux, which gives it one.

import Foundation
import ManagementFixture
import ManagementModel
import Testing

/// The program with a configuration for one cluster.
struct CommandLine {
    let folder: String
    let environment: [String: String]

    /// Writes a configuration for these nodes. The folder is removed by `remove`.
    init(nodes: [String], _ certificate: TestCertificate, cluster: String = "local") throws {
        folder = NSTemporaryDirectory() + "hsmcluster-client-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let list = nodes.map { "\"\($0)\"" }.joined(separator: ", ")
        let text = """
            cluster: \(cluster)
            nodes: [\(list)]
            tls:
              authority: \(certificate.authority)
              certificate: \(certificate.certificate)
              key: \(certificate.key)

            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/client.yaml"))
        environment = ["HSMCLUSTER_CONFIG": folder + "/client.yaml", "PATH": "/usr/bin:/bin", "HOME": folder]
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    /// The program lies beside the test bundle.
    static var program: String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let beside = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent(
            "hsmcluster"
        ).path
        guard !FileManager.default.isExecutableFile(atPath: beside) else { return beside }
        // The test runner of the toolchain loads the bundle from elsewhere; its path is an argument.
        let bundle = ProcessInfo.processInfo.arguments.first { $0.contains(".xctest") } ?? ""
        let path = bundle.hasPrefix("/") ? bundle : FileManager.default.currentDirectoryPath + "/" + bundle
        return URL(fileURLWithPath: path).deletingLastPathComponent().appendingPathComponent("hsmcluster")
            .path
    }

    func run(_ arguments: String..., environment: [String: String]? = nil) async throws -> CommandResult {
        try await Command.run(Self.program, arguments, environment: environment ?? self.environment)
    }

    /// Runs the program on a terminal of its own and types `answer`. Both outputs come back as one.
    func runOnTerminal(typing answer: String, _ arguments: String...) async throws -> CommandResult {
        let line = ([Self.program] + arguments).map { "'\($0)'" }.joined(separator: " ")
        return try await Command.run(
            "/usr/bin/script", ["--quiet", "--return", "--command", line, "/dev/null"],
            environment: environment,
            input: answer)
    }

    /// Runs `body` with a server and the program configured for it.
    static func with(
        _ cluster: ScriptedCluster, _ body: (CommandLine) async throws -> Void
    ) async throws {
        try await RunningServer.with(cluster) { server, certificates in
            let line = try CommandLine(nodes: [server.url], certificates.client)
            defer { line.remove() }
            try await body(line)
        }
    }
}

extension CommandResult {
    /// Standard output as JSON.
    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(standardOutput.utf8))
    }

    /// The last line of standard error as JSON.
    func failure() throws -> [String: JSONText] {
        let line = standardError.split(separator: "\n").last ?? ""
        return try JSONDecoder().decode([String: JSONText].self, from: Data(line.utf8))
    }
}

/// A JSON string, number or boolean as text.
struct JSONText: Decodable, Equatable, ExpressibleByStringLiteral {
    var text: String

    init(stringLiteral text: String) { self.text = text }

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            text = String(flag)
        } else if let number = try? value.decode(Int.self) {
            text = String(number)
        } else {
            text = try value.decode(String.self)
        }
    }
}
