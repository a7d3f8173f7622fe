import ArgumentParser
import ClusterConfiguration
import Coordinator
import Dispatch
import Glibc
import Logging
import ManagementAPI
import ManagementModel
import ServiceLifecycle
import SystemdNotify

// The coordinator node as a process: reads its configuration, opens its state, and runs until it is told to
// stop. Whatever is wrong at the start is one line on stderr that says what to do, and exit code 78 (EX_CONFIG) or
// 74 (EX_IOERR), so that a service manager can tell a mistake from a crash.

@main
struct NodeProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hsmclusterd",
        abstract: "One coordinator node of an HSM cluster.",
        discussion: """
            Keeps, with the other nodes, one agreed view of several HSMs; starts one hsmtokend per endpoint; serves \
            the management API over HTTPS. Runs in the foreground; logs to the journal under systemd, else to stderr.
            """,
        version: SoftwareVersion.current)

    @Option(name: .customLong("config"), help: "The node's configuration file (YAML).")
    var configurationFile: String

    @Option(help: "The program that serves an endpoint; by default hsmtokend beside this program.")
    var tokenHostProgram: String?

    @Flag(help: "Read and check the configuration, then exit.")
    var check = false

    func run() async throws {
        let configuration: NodeConfiguration
        do {
            configuration = try NodeConfiguration.load(file: configurationFile)
        } catch {
            throw fail("\(error)", code: EX_CONFIG)
        }
        if check {
            print("\(configurationFile): in order")
            return
        }
        // Keys and PINs never belong into a core dump, nor state into others' hands.
        umask(0o077)
        LogOutput.bootstrap(level: configuration.logLevel.logging, identifier: "hsmclusterd")
        var logger = Logger(label: "hsmclusterd")
        logger[metadataKey: "node"] = "\(configuration.node)"
        do {
            try await serve(configuration, logger)
        } catch let error as CoordinatorError {
            throw fail(error.description, code: EX_CONFIG)
        } catch {
            throw fail("\(error)", code: EX_IOERR)
        }
    }

    private func serve(_ configuration: NodeConfiguration, _ logger: Logger) async throws {
        let notifier = SystemdNotifier()
        let program = tokenHostProgram ?? Self.besideThisProgram("hsmtokend")
        let coordinator = try Coordinator(
            configuration: configuration, tokenHostProgram: program, logger: logger)
        var apiConfiguration = ManagementServerConfiguration(
            cluster: configuration.cluster, host: configuration.apiListener.host,
            port: configuration.apiListener.port, authorityFile: configuration.tls.authority,
            certificateFile: configuration.tls.certificate, keyFile: configuration.tls.key)
        apiConfiguration.requestDeadline = configuration.deadlines.generation + .seconds(10)
        let server = try ManagementServer(
            configuration: apiConfiguration, service: coordinator, logger: logger)
        let joined = JoinNotice(notifier: notifier)
        try coordinator.start { summary in joined.roleChanged(summary) }
        logger.info(
            "node started",
            metadata: [
                "version": "\(SoftwareVersion.current)", "peers": "\(configuration.peerListener)",
                "api": "\(configuration.apiListener)",
            ])
        notifier.startWatchdog { coordinator.isResponsive }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger))
        defer {
            notifier.stopping()
            notifier.stopWatchdog()
            coordinator.stop()
            logger.info("node stopped")
        }
        try await group.run()
    }

    private func fail(_ message: String, code: Int32) -> ExitCode {
        let line = Array("hsmclusterd: error: \(message)\n".utf8)
        _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        return ExitCode(code)
    }

    private static func besideThisProgram(_ name: String) -> String {
        guard let resolved = realpath("/proc/self/exe", nil) else { return name }
        defer { free(resolved) }
        let path = String(cString: resolved)
        return path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
            + "/" + name
    }
}
