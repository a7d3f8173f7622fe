import Foundation
import Glibc

// A real cluster for one test: cluster/local/up in a folder and on ports of its own, with the programs of this
// very build. Whatever happens in the test, the cluster is taken down afterwards.

/// Where the tests find things.
enum Place {
    static let repository = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The programs lie beside the test bundle, which is this process's own executable.
    static let programs: URL = {
        if let folder = ProcessInfo.processInfo.environment["HSMCLUSTER_BIN"] { return URL(filePath: folder) }
        return URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }()

    /// Short, because the paths of Unix sockets are bounded (107 bytes).
    static let clusters = URL(
        filePath: ProcessInfo.processInfo.environment["HSMCLUSTER_TEST_DIR"] ?? "/tmp")
}

/// One local cluster.
struct LocalCluster: Sendable {
    let directory: URL
    let basePort: Int
    let nodes: Int
    let endpoints: [String]

    // MARK: The scripts of cluster/local

    /// Runs `up`; throws with everything it said when it fails.
    @discardableResult
    func up(_ options: String...) async throws -> String {
        let ports = ["--base-port", "\(basePort)", "--nodes", "\(nodes)"]
        let names = ["--endpoints", endpoints.joined(separator: ","), "--bin", Place.programs.path]
        return try await script("up", ports + names + options)
    }

    @discardableResult
    func kill(_ what: String...) async throws -> String { try await script("kill", what) }
    @discardableResult
    func pause(_ what: String...) async throws -> String { try await script("pause", what) }
    @discardableResult
    func resume(_ what: String...) async throws -> String { try await script("resume", what) }
    @discardableResult
    func start(_ what: String...) async throws -> String { try await script("start", what) }

    @discardableResult
    func script(_ name: String, _ arguments: [String]) async throws -> String {
        let outcome = try await Command.run(
            Place.repository.appending(path: "cluster/local/\(name)").path,
            ["--dir", directory.path] + arguments)
        guard outcome.exitCode == 0 else { throw CommandError(description: outcome.everything) }
        return outcome.output
    }

    // MARK: The command line tool

    /// Runs hsmcluster against all nodes, or against one only.
    func hsmcluster(_ arguments: String..., at node: Int? = nil, limit: Duration = .seconds(120)) async throws
        -> Outcome
    {
        try await Command.run(
            Place.programs.appending(path: "hsmcluster").path, arguments,
            environment: ["HSMCLUSTER_CONFIG": try clientConfiguration(node)], limit: limit)
    }

    func status(at node: Int? = nil) async throws -> StatusAnswer {
        try decode(StatusAnswer.self, from: try await hsmcluster("status", "--output", "json", at: node))
    }

    func masterKeys(at node: Int? = nil) async throws -> [MasterKeyAnswer] {
        let outcome = try await hsmcluster("masterkey", "list", "--output", "json", at: node)
        return try decode([MasterKeyAnswer].self, from: outcome)
    }

    func key(_ label: String, at node: Int? = nil) async throws -> MasterKeyAnswer {
        // Not #require: this is asked again and again until it is so.
        guard let key = try await masterKeys(at: node).first(where: { $0.label == label }) else {
            throw CommandError(description: "no key \(label)")
        }
        return key
    }

    /// Asks for a key; the outcome may be a refusal.
    func requestKey(
        algorithm: String = "aes256", requestID: UUID = UUID(), at node: Int? = nil
    ) async throws -> Outcome {
        try await hsmcluster(
            "masterkey", "generate", "--algorithm", algorithm, "--request-id",
            requestID.uuidString.lowercased(), "--yes",
            "--output", "json", at: node)
    }

    /// Asks for a key until there is one: while a leader or an endpoint is being replaced, a refusal that
    /// invites to ask again (exit code 3 or 4) is a fair answer.
    @discardableResult
    func generate(
        algorithm: String = "aes256", requestID: UUID = UUID(), at node: Int? = nil
    ) async throws -> MasterKeyAnswer {
        let deadline = ContinuousClock.now + .seconds(90)
        while true {
            let outcome = try await requestKey(algorithm: algorithm, requestID: requestID, at: node)
            if outcome.exitCode == 0 { return try decode(MasterKeyAnswer.self, from: outcome) }
            guard [3, 4].contains(outcome.exitCode), ContinuousClock.now < deadline else {
                throw CommandError(description: outcome.everything)
            }
            try await Task.sleep(for: .milliseconds(300))
        }
    }

    func decode<Answer: Decodable>(_ type: Answer.Type, from outcome: Outcome) throws -> Answer {
        do {
            return try JSONDecoder().decode(type, from: Data(outcome.output.utf8))
        } catch {
            throw CommandError(
                description: "not the JSON that was expected (\(error)):\n\(outcome.everything)")
        }
    }

    /// The client configuration, narrowed to one node if one is named.
    private func clientConfiguration(_ node: Int?) throws -> String {
        let common = directory.appending(path: "client/client.yaml")
        guard let node else { return common.path }
        let narrowed = directory.appending(path: "client/client-\(node).yaml")
        let lines = try String(contentsOf: common, encoding: .utf8).split(separator: "\n").map { line in
            line.hasPrefix("nodes:")
                ? "nodes: [\"https://127.0.0.1:\(basePort + 100 + node)\"]" : String(line)
        }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: narrowed, options: .atomic)
        return narrowed.path
    }

    // MARK: The tokens, seen by other programs

    /// The CMS keys on a token, by label.
    func keys(on endpoint: String) async throws -> [TokenKey] {
        let outcome = try await token(endpoint, "list")
        return try decode([TokenKey].self, from: outcome).filter { $0.label.hasPrefix("CMS MK") }
            .sorted { $0.label < $1.label }
    }

    /// Derives from a key on a token by encrypting `data` with it.
    func derive(on endpoint: String, id: String, data: String) async throws -> String {
        struct Derived: Decodable { let value: String }
        return try decode(Derived.self, from: try await token(endpoint, "derive", id, data)).value
    }

    @discardableResult
    func token(_ endpoint: String, _ verb: String, _ arguments: String...) async throws -> Outcome {
        let outcome = try await Command.run(
            Place.repository.appending(path: "Tests/support/token").path, [verb, endpoint] + arguments,
            environment: try tokenEnvironment(endpoint))
        guard outcome.exitCode == 0 else { throw CommandError(description: outcome.everything) }
        return outcome
    }

    func tokenEnvironment(_ endpoint: String) throws -> [String: String] {
        [
            "SOFTHSM2_CONF": directory.appending(path: "\(endpoint)/softhsm2.conf").path,
            "TOKEN_PIN": try String(contentsOf: pinFile(endpoint), encoding: .utf8),
        ]
    }

    func pinFile(_ endpoint: String) -> URL { directory.appending(path: "secrets/\(endpoint).pin") }
    func folder(ofNode node: Int) -> URL { directory.appending(path: "node-\(node)") }
    func log(ofNode node: Int) -> String {
        (try? String(contentsOf: folder(ofNode: node).appending(path: "log"), encoding: .utf8)) ?? ""
    }

    /// Changes every node's configuration by replacing text.
    func editConfigurations(_ change: (String) -> String) throws {
        for node in 1...nodes {
            let file = folder(ofNode: node).appending(path: "node.yaml")
            try Data(change(try String(contentsOf: file, encoding: .utf8)).utf8).write(to: file)
        }
    }

    // MARK: Waiting

    /// Waits until the leader is another than `old`, as the node `at` sees it, and returns it.
    @discardableResult
    func newLeader(otherThan old: Int? = nil, at node: Int? = nil) async throws -> Int {
        try await eventually("a leader other than \(old.map(String.init) ?? "none")") {
            let leader = try await status(at: node).leader
            return leader == old ? nil : leader
        }
    }

    /// Waits until exactly these endpoints are in service, all of them by default.
    func endpointsInService(_ names: [String]? = nil, at node: Int? = nil) async throws {
        try await eventually("\(names ?? endpoints) in service") {
            try await status(at: node).inService == (names ?? endpoints).sorted() ? true : nil
        }
    }

    /// Waits until the key has a verified replica on each of these endpoints, all of them by default.
    @discardableResult
    func replicas(of label: String, on names: [String]? = nil) async throws -> MasterKeyAnswer {
        try await eventually("replicas of \(label) on \(names ?? endpoints)") {
            let key = try await key(label)
            return Set(names ?? endpoints).isSubset(of: key.verified) ? key : nil
        }
    }
}

/// Polls until the body returns something, at most `limit`. Errors count as "not yet" and are told at the end.
@discardableResult
func eventually<Result>(
    _ what: String, within limit: Duration = .seconds(60), every pause: Duration = .milliseconds(200),
    _ body: () async throws -> Result?
) async throws -> Result {
    let deadline = ContinuousClock.now + limit
    var last = "nothing"
    while true {
        do {
            if let result = try await body() { return result }
            last = "not so"
        } catch {
            last = "\(error)"
        }
        guard ContinuousClock.now < deadline else {
            throw CommandError(description: "waited \(limit) in vain for: \(what); last: \(last)")
        }
        try await Task.sleep(for: pause)
    }
}

/// Runs a test against a cluster of its own. `prepare` runs when tokens, certificates and configurations exist
/// and no node runs yet; `release` when nothing runs any more, before the folder is removed.
func withCluster(
    nodes: Int = 3, endpoints: [String] = ["hsm-a", "hsm-b", "hsm-c"], firstKey: Bool = true,
    prepare: ((LocalCluster) async throws -> Void)? = nil,
    release: ((LocalCluster) async -> Void)? = nil, _ body: (LocalCluster) async throws -> Void
) async throws {
    let name = "hc-\(UUID().uuidString.prefix(8).lowercased())"
    let cluster = LocalCluster(
        directory: Place.clusters.appending(path: name), basePort: try FreePorts.base(nodes: nodes),
        nodes: nodes, endpoints: endpoints)
    var failure: (any Error)?
    do {
        if let prepare {
            try await cluster.up("--no-start")
            try await prepare(cluster)
        }
        if firstKey { try await cluster.up() } else { try await cluster.up("--no-key") }
        try await body(cluster)
    } catch {
        failure = error
        for node in 1...nodes {
            let lines = cluster.log(ofNode: node).split(separator: "\n").suffix(25)
            print("the last lines of node \(node)'s log:\n    " + lines.joined(separator: "\n    "))
        }
    }
    do {
        try await cluster.script("down", [])
        await release?(cluster)
        try await cluster.script("down", ["--wipe"])
    } catch {
        failure = failure ?? error
    }
    if let failure { throw failure }
}
