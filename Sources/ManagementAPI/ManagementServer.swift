// The HTTPS server of one node: Hummingbird over NIOSSL, TLS 1.3 only, and nobody without a certificate of
// the cluster's authority gets as far as HTTP. Whether the certificate belongs to this cluster is checked
// per request, where a refusal can be explained.

import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import ManagementModel
import NIOCore
import NIOSSL
import ServiceLifecycle

/// Serves the management API of one node until it is cancelled or shut down gracefully.
public struct ManagementServer: Service {
    private let application: Application<RouterResponder<ManagementContext>>

    /// Sets the server up; reads the PEM files. Nothing listens before `run`.
    ///
    /// - Parameters:
    ///   - configuration: Where and how to serve.
    ///   - service: What answers.
    ///   - logger: Gets one line for each request that changes something or fails.
    ///   - onListening: Called once with the port, when connections are accepted.
    public init(
        configuration: ManagementServerConfiguration, service: any ClusterService, logger: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws(ManagementServerError) {
        let tls = try Self.tls(configuration)
        let handshakes = HandshakeLog(logger: logger)
        let router = Router(context: ManagementContext.self)
        router.add(middleware: ProblemMiddleware(cluster: configuration.cluster, logger: logger))
        Routes(
            service: service, gate: CallGate(limit: configuration.maximumCalls),
            statusGate: CallGate(limit: configuration.maximumCalls), deadline: configuration.requestDeadline
        ).add(to: router)
        let http = HTTPServerBuilder.http1(
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [HandshakeFailureHandler(log: handshakes)],
                idleTimeout: TimeAmount(configuration.idleTimeout),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8_192, maxHeaderListSize: 16_384, maxHeaderFieldCount: 64)))
        do {
            application = Application(
                responder: router.buildResponder(), server: try .tls(http, tlsConfiguration: tls),
                configuration: ApplicationConfiguration(
                    address: .hostname(configuration.host, port: configuration.port),
                    availableConnectionsDelegate: MaximumAvailableConnections(
                        configuration.maximumConnections, logger: logger)),
                onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) },
                logger: logger)
        } catch {
            throw ManagementServerError(description: "TLS cannot be set up: \(error).")
        }
    }

    /// Serves until the task is cancelled or the surrounding service group shuts down gracefully; requests
    /// under way are finished in both cases. Throws when the address cannot be listened on.
    ///
    /// The serving task itself is never cancelled: NIO stops the process when a connection that has just been
    /// accepted is dropped by a cancelled task ("Deinited NIOAsyncWriter", apple/swift-nio #3481).
    public func run() async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [application], logger: application.logger))
        let serving = Task { try await group.run() }
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await serving.value
            } onGracefulShutdown: {
                Task { await group.triggerGracefulShutdown() }
            }
        } onCancel: {
            Task { await group.triggerGracefulShutdown() }
        }
    }

    private static func tls(
        _ configuration: ManagementServerConfiguration
    ) throws(ManagementServerError) -> TLSConfiguration {
        let authority = try read("authority", configuration.authorityFile) {
            try NIOSSLCertificate.fromPEMFile($0)
        }
        let chain = try read("certificate", configuration.certificateFile) {
            try NIOSSLCertificate.fromPEMFile($0)
        }
        let key = try read("private key", configuration.keyFile) {
            try NIOSSLPrivateKey(file: $0, format: .pem)
        }
        guard !authority.isEmpty, !chain.isEmpty else {
            throw ManagementServerError(
                description: "\(configuration.authorityFile) or \(configuration.certificateFile) holds no "
                    + "certificate. Name PEM files.")
        }
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        tls.minimumTLSVersion = .tlsv13
        tls.trustRoots = .certificates(authority)
        // A client that went away does not say goodbye; stopping the node should not wait for that.
        tls.shutdownTimeout = .seconds(1)
        tls.certificateVerification = .noHostnameVerification
        do {
            _ = try NIOSSLContext(configuration: tls)
        } catch {
            throw ManagementServerError(
                description: "\(configuration.keyFile) is not the key of \(configuration.certificateFile). "
                    + "Name a pair that belongs together.")
        }
        return tls
    }

    private static func read<Value>(
        _ what: String, _ file: String, _ body: (String) throws -> Value
    ) throws(ManagementServerError) -> Value {
        do {
            return try body(file)
        } catch {
            throw ManagementServerError(
                description:
                    "\(file) cannot be read as the \(what). Check that it is a PEM file and readable.")
        }
    }
}
