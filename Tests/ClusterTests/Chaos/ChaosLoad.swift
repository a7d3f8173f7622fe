import ClusterModel
import Foundation
import ManagementClient
import ManagementModel
import Synchronization

// The clients of a chaos run: each talks to the nodes in an order of its own, generates keys and reads the
// catalog, and writes down what it asked and heard.

/// Clients that work until they are stopped.
final class ChaosLoad: Sendable {
    private let history = Mutex(CatalogHistory())
    private let isStopped = Mutex(false)
    private let cluster: LocalCluster
    private static let clients = 4
    private static let pause = Duration.milliseconds(200)
    /// How often a generation is asked for again before its outcome counts as unknown.
    private static let attempts = 3

    init(cluster: LocalCluster) { self.cluster = cluster }

    func stop() { isStopped.withLock { $0 = true } }
    var recorded: CatalogHistory { history.withLock { $0 } }

    /// Works until `stop`. Client 1 and 2 mostly generate, the others read.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...Self.clients {
                group.addTask { try await self.work(as: number) }
            }
            try await group.waitForAll()
        }
    }

    /// The keys at the end, read by a client of its own, as part of the history.
    func finalRead() async throws -> [MasterKeyStatus] {
        let client = try ManagementClient(configuration(for: 0, deadline: .seconds(30)))
        let began = Self.now()
        let result: Result<[MasterKeyStatus], any Error>
        do { result = .success(try await client.masterKeys()) } catch { result = .failure(error) }
        await client.shutdown()
        let keys = try result.get()
        record(.init(client: 0, kind: .read(Self.usable(keys)), began: began, ended: Self.now()))
        return keys
    }

    private func work(as number: Int) async throws {
        let client = try ManagementClient(configuration(for: number, deadline: .seconds(8)))
        while !isStopped.withLock({ $0 }) {
            if number <= 2 { await generate(client, number) } else { await read(client, number) }
            try? await Task.sleep(for: Self.pause)
        }
        await client.shutdown()
    }

    private func generate(_ client: ManagementClient, _ number: Int) async {
        var random = SystemRandomNumberGenerator()
        let request = RequestID.version4(using: &random)
        // Written down before it is sent, so that a read may already see it.
        let place = history.withLock { history in
            history.operations.append(
                .init(
                    client: number, kind: .generate(request: "\(request)", label: nil), began: Self.now(),
                    ended: .max))
            return history.operations.count - 1
        }
        for _ in 0..<Self.attempts {
            do throws(ManagementClientError) {
                let key = try await client.generateMasterKey(
                    GenerateMasterKey(algorithm: .aes256), requestID: request)
                let ended = Self.now()
                return history.withLock { history in
                    history.operations[place].kind = .generate(request: "\(request)", label: key.label)
                    history.operations[place].ended = ended
                }
            } catch {
                if case .problem(let problem) = error.kind, problem.code == .generationFailed {
                    return history.withLock { $0.failedRequests.append("\(request)") }
                }
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    private func read(_ client: ManagementClient, _ number: Int) async {
        let began = Self.now()
        guard let keys = try? await client.masterKeys() else { return }
        record(.init(client: number, kind: .read(Self.usable(keys)), began: began, ended: Self.now()))
    }

    private func record(_ operation: CatalogHistory.Operation) {
        history.withLock { $0.operations.append(operation) }
    }

    private static func usable(_ keys: [MasterKeyStatus]) -> [String: String] {
        var result: [String: String] = [:]
        for key in keys where key.state == .active {
            result["\(key.requestID ?? Identifier128(high: 0, low: 0))"] = key.label
        }
        return result
    }

    private func configuration(for number: Int, deadline: Duration) -> ManagementClientConfiguration {
        let order = (0..<cluster.nodes).map { ($0 + number) % cluster.nodes + 1 }
        let folder = cluster.directory.path
        var configuration = ManagementClientConfiguration(
            nodes: order.map { "https://127.0.0.1:\(cluster.basePort + 100 + $0)" },
            authorityFile: folder + "/ca/ca.pem", certificateFile: folder + "/client/admin.pem",
            keyFile: folder + "/client/admin.key")
        configuration.deadline = deadline
        configuration.questionPatience = .seconds(2)
        configuration.changePatience = .seconds(5)
        return configuration
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
