// Options that every command takes: whom to call, with which certificate, and how to show the answer. What is
// given on the command line replaces the part of the configuration file that it names.

import ArgumentParser
import ClusterConfiguration
import Foundation
import ManagementClient

/// How answers are shown.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// A time such as `90`, `90s`, `500ms` or `2m`.
struct TimeoutArgument: ExpressibleByArgument {
    static let longest = 86_400_000

    var duration: Duration

    init(duration: Duration) { self.duration = duration }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Int] = ["": 1_000, "ms": 1, "s": 1_000, "m": 60_000]
        guard (1...9).contains(digits.count), let number = Int(digits),
            let milliseconds = units[String(argument.dropFirst(digits.count))],
            (1...Self.longest).contains(number * milliseconds)
        else { return nil }
        duration = .milliseconds(number * milliseconds)
    }

    var defaultValueDescription: String { "60s" }
}

struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The client configuration to read.", valueName: "file"), completion: .file())
    var config: String?

    @Option(
        help: ArgumentHelp(
            "A node to call, https://host:port, instead of the configured ones; may be repeated.",
            valueName: "url"))
    var node: [String] = []

    @Option(
        help: ArgumentHelp("The PEM file of the cluster's authority.", valueName: "file"),
        completion: .file())
    var ca: String?

    @Option(
        help: ArgumentHelp("The PEM file of the client's certificate.", valueName: "file"),
        completion: .file())
    var cert: String?

    @Option(
        help: ArgumentHelp("The PEM file of the client's private key.", valueName: "file"),
        completion: .file())
    var key: String?

    @Option(help: "How to show the answer.")
    var output: OutputFormat = .text

    @Option(
        help: ArgumentHelp(
            "How long to wait over all nodes: seconds, or a number with ms, s or m.", valueName: "time"))
    var timeout = TimeoutArgument(duration: .seconds(60))

    private static let names: Set<String> = [
        "--config", "--node", "--ca", "--cert", "--key", "--output", "--timeout",
    ]

    /// The same arguments, with the options that stand before the command moved behind it, where the parser
    /// looks for them.
    static func behindTheCommand(_ arguments: [String]) -> [String] {
        var rest = arguments[...]
        var moved: [String] = []
        while let first = rest.first {
            if names.contains(first), rest.count >= 2 {
                moved += rest.prefix(2)
                rest = rest.dropFirst(2)
            } else if let name = first.split(separator: "=").first, first.contains("="),
                names.contains(String(name))
            {
                moved.append(first)
                rest = rest.dropFirst()
            } else {
                break
            }
        }
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return Array(rest[..<end]) + moved + Array(rest[end...])
    }

    /// Whom to call, and the name of the cluster where the configuration tells it.
    func access() throws(CommandFailure) -> (client: ManagementClientConfiguration, cluster: String?) {
        let isComplete = !node.isEmpty && ca != nil && cert != nil && key != nil
        let file = config ?? ClientConfiguration.defaultFile(environment: ProcessInfo.processInfo.environment)
        var configured: ClientConfiguration?
        if let file, config != nil || !isComplete {
            do throws(ConfigurationError) {
                configured = try ClientConfiguration.load(file: file)
            } catch {
                throw CommandFailure(configuration: error)
            }
        }
        guard configured != nil || isComplete else { throw CommandFailure.noConfiguration }
        for url in node where APIAddress(url) == nil {
            throw CommandFailure.usage("'\(url.printable)' is not a node's address. Write https://host:port.")
        }
        let nodes = node.isEmpty ? configured?.nodes ?? [] : node.compactMap { APIAddress($0) }
        var client = ManagementClientConfiguration(
            nodes: nodes.map(\.description), authorityFile: ca ?? configured?.tls.authority ?? "",
            certificateFile: cert ?? configured?.tls.certificate ?? "",
            keyFile: key ?? configured?.tls.key ?? "")
        client.deadline = timeout.duration
        return (client, configured?.cluster)
    }
}
