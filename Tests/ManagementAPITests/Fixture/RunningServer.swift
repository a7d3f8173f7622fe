// A management server on a port of the system's choice, for the time of one test.

import Logging
import ManagementAPI
import ManagementModel
import ServiceLifecycle

/// A server that listens.
public final class RunningServer: Sendable {
    /// The port on 127.0.0.1.
    public let port: Int
    private let group: ServiceGroup
    private let task: Task<Void, any Error>

    /// `https://127.0.0.1:port`.
    public var url: String { "https://127.0.0.1:\(port)" }

    /// Starts a server for the cluster `local` and waits until it listens; `isAlone` runs it outside a
    /// service group, so that only `cancel` stops it.
    public init(
        _ service: any ClusterService, _ certificate: TestCertificate, isAlone: Bool = false,
        adjust: (inout ManagementServerConfiguration) -> Void = { _ in }
    ) async throws {
        var configuration = ManagementServerConfiguration(
            cluster: "local", host: "127.0.0.1", port: 0, authorityFile: certificate.authority,
            certificateFile: certificate.certificate, keyFile: certificate.key)
        adjust(&configuration)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let server = try ManagementServer(configuration: configuration, service: service, logger: logger) {
            port in
            continuation.yield(port)
            continuation.finish()
        }
        let group = ServiceGroup(configuration: .init(services: [server], logger: logger))
        task = Task {
            defer { continuation.finish() }
            if isAlone { try await server.run() } else { try await group.run() }
        }
        self.group = group
        var found: Int?
        for await port in ports { found = port }
        guard let found else {
            try await task.value
            throw CommandError(text: "the server stopped before it listened")
        }
        port = found
    }

    /// Stops accepting, lets requests finish, and waits for the end.
    public func stop() async throws {
        await group.triggerGracefulShutdown()
        try await task.value
    }

    /// Cancels the task that serves, and waits for the end.
    public func cancel() async {
        task.cancel()
        _ = await task.result
    }

    /// Runs `body` with a server and stops it.
    public static func with(
        _ service: any ClusterService, adjust: (inout ManagementServerConfiguration) -> Void = { _ in },
        _ body: (RunningServer, TestCertificates) async throws -> Void
    ) async throws {
        let certificates = try await TestCertificates.shared.value
        let server = try await RunningServer(service, certificates.node, adjust: adjust)
        do {
            try await body(server, certificates)
        } catch {
            await server.cancel()
            throw error
        }
        try await server.stop()
    }
}
