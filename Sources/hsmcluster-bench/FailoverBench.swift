// How long the cluster takes no writes when its leader goes: killed, told to stop, or asked to hand over. A client
// with an open connection to another node asks for a write at that moment and waits; what it waits is counted.

import ArgumentParser
import ClusterModel
import Foundation
import Glibc
import ManagementClient
import ManagementModel

struct FailoverBench: AsyncParsableCommand {
    enum Output: String, ExpressibleByArgument { case table, json }

    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Measures how long a lost leader is missed, on a local cluster.",
        discussion: "Kills and restarts nodes of the cluster in --directory, which cluster/local/up has made."
    )

    @Option(help: "The folder of a running local cluster.")
    var directory: String
    @Option(help: "The repository, whose cluster/local scripts restart nodes.")
    var repository = "."
    @Option(help: "How often each is measured.")
    var rounds = 50
    @Option(help: "table or json.")
    var output = Output.table

    func validate() throws {
        guard (1...10_000).contains(rounds) else {
            throw ValidationError("--rounds is from 1 to 10000.")
        }
    }

    func run() async throws {
        let cluster = try BenchCluster(directory: directory, repository: repository)
        var killed: [Duration] = []
        var stopped: [Duration] = []
        var transferred: [Duration] = []
        var written: [Duration] = []
        for round in 1...rounds {
            written.append(try await steadyWrite(cluster))
            transferred.append(try await transfer(cluster))
            stopped.append(try await loseLeader(cluster, signal: SIGTERM))
            killed.append(try await loseLeader(cluster, signal: SIGKILL))
            FileHandle.standardError.write(Data("round \(round) of \(rounds)\n".utf8))
        }
        let rows = [
            Percentiles("kill -9 of the leader to the next accepted write", killed),
            Percentiles("SIGTERM of the leader to the next accepted write", stopped),
            Percentiles("planned transfer, asked for to done", transferred),
            Percentiles("a write while nothing happens", written),
        ].compactMap { $0 }
        switch output {
        case .table: print(Percentiles.table(rows))
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(rows), as: UTF8.self))
        }
    }

    private func steadyWrite(_ cluster: BenchCluster) async throws -> Duration {
        let leader = try await cluster.settled()
        return try await cluster.withClient(except: leader) { client in
            try await Self.measure { try await Self.write(client) }
        }
    }

    private func transfer(_ cluster: BenchCluster) async throws -> Duration {
        let leader = try await cluster.settled()
        let target = NodeID(UInt64(leader % cluster.nodes + 1))
        return try await cluster.withClient(except: leader) { client in
            var random = SystemRandomNumberGenerator()
            let request = RequestID.version4(using: &random)
            return try await Self.measure {
                _ = try await client.transferLeadership(to: target, requestID: request)
            }
        }
    }

    private func loseLeader(_ cluster: BenchCluster, signal: Int32) async throws -> Duration {
        let leader = try await cluster.settled()
        let process = try cluster.process(ofNode: leader)
        let duration = try await cluster.withClient(except: leader) { client in
            try await Self.measure {
                kill(process, signal)
                try await Self.write(client)
            }
        }
        try await cluster.restart(leader)
        return duration
    }

    /// A write is a new key store: one log entry, and no HSM has a part in it.
    private static func write(_ client: ManagementClient) async throws {
        var random = SystemRandomNumberGenerator()
        let request = RequestID.version4(using: &random)
        let name = "bench-\("\(request)".prefix(18))"
        for _ in 0..<longestWrite {
            do throws(ManagementClientError) {
                _ = try await client.createKeyStore(CreateKeyStore(name: name), requestID: request)
                return
            } catch {
                // Between two leaders a refusal that invites to ask again is a fair answer.
                if case .problem(let problem) = error.kind, !problem.retryable { throw error }
                try await Task.sleep(for: .milliseconds(5))
            }
        }
        throw BenchError(description: "the cluster takes no writes any more")
    }

    private static let longestWrite = 2_000

    private static func measure(_ body: () async throws -> Void) async throws -> Duration {
        try await ContinuousClock().measure { try await body() }
    }
}

/// Why a benchmark ended early.
struct BenchError: Error, CustomStringConvertible {
    let description: String
}
