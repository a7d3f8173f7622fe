// A local cluster as the benchmarks use it: its clients, its processes, and its scripts.

import ClusterModel
import Foundation
import Glibc
import ManagementClient
import ManagementModel

/// A running cluster that cluster/local/up has made.
struct BenchCluster {
    let directory: String
    let repository: String
    let nodes: Int
    private let basePort: Int

    init(directory: String, repository: String) throws {
        self.directory = URL(filePath: directory).resolvingSymlinksInPath().path
        self.repository = repository
        let text = try String(contentsOfFile: directory + "/settings", encoding: .utf8)
        func setting(_ name: String) throws -> Int {
            let line = text.split(separator: "\n").first { $0.hasPrefix(name + "=") }
            guard let number = line.flatMap({ Int($0.dropFirst(name.count + 1)) }) else {
                throw BenchError(description: "\(directory)/settings names no \(name)")
            }
            return number
        }
        nodes = try setting("nodes")
        basePort = try setting("base_port")
    }

    /// Runs `body` with a client of all nodes but one, whose connection stands already.
    func withClient<Value>(
        except excluded: Int?, _ body: (ManagementClient) async throws -> Value
    ) async throws -> Value {
        var configuration = ManagementClientConfiguration(
            nodes: (1...nodes).filter { $0 != excluded }.map { "https://127.0.0.1:\(basePort + 100 + $0)" },
            authorityFile: directory + "/ca/ca.pem", certificateFile: directory + "/client/admin.pem",
            keyFile: directory + "/client/admin.key")
        configuration.deadline = .seconds(10)
        let client = try ManagementClient(configuration)
        do {
            _ = try await client.status()
            let value = try await body(client)
            await client.shutdown()
            return value
        } catch {
            await client.shutdown()
            throw error
        }
    }

    /// Waits until every node is alive and all agree on the leader, and a little more. Returns the leader.
    func settled() async throws -> Int {
        for _ in 0..<Self.longestSettling {
            if let leader = try? await agreedLeader() {
                try await Task.sleep(for: Self.calm)
                if try await agreedLeader() == leader { return leader }
            }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw BenchError(description: "the cluster does not settle; see cluster/local/status")
    }

    private static let longestSettling = 300
    private static let calm = Duration.milliseconds(1500)

    private func agreedLeader() async throws -> Int? {
        var leaders: Set<NodeID?> = []
        for node in 1...nodes {
            let status = try await status(of: node)
            guard status.nodes.allSatisfy({ $0.state == .alive }) else { return nil }
            leaders.insert(status.leader)
        }
        guard leaders.count == 1, let leader = leaders.first ?? nil else { return nil }
        return Int(leader.rawValue)
    }

    private func status(of node: Int) async throws -> ClusterStatus {
        var configuration = ManagementClientConfiguration(
            nodes: ["https://127.0.0.1:\(basePort + 100 + node)"], authorityFile: directory + "/ca/ca.pem",
            certificateFile: directory + "/client/admin.pem", keyFile: directory + "/client/admin.key")
        configuration.deadline = .seconds(2)
        return try await ManagementClient.with(configuration) {
            client throws(ManagementClientError) in try await client.status()
        }
    }

    /// The process of a node, found by the configuration file that its command line names.
    func process(ofNode node: Int) throws -> pid_t {
        let wanted = "\(directory)/node-\(node)/node.yaml"
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let number = pid_t(name),
                let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline")
            else { continue }
            let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard words.first?.hasSuffix("hsmclusterd") == true, words.contains(wanted) else { continue }
            return number
        }
        throw BenchError(description: "node \(node) of \(directory) does not run")
    }

    /// Starts a node again once its process is gone.
    func restart(_ node: Int) async throws {
        for _ in 0..<Self.longestSettling where (try? process(ofNode: node)) != nil {
            try await Task.sleep(for: .milliseconds(100))
        }
        let script = Process()
        script.executableURL = URL(filePath: repository + "/cluster/local/start")
        script.arguments = ["--dir", directory, "node", "\(node)"]
        script.standardOutput = FileHandle.nullDevice
        try script.run()
        script.waitUntilExit()
        guard script.terminationStatus == 0 else {
            throw BenchError(description: "node \(node) does not start again; see its log in \(directory)")
        }
    }
}
