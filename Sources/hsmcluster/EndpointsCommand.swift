// `hsmcluster endpoints`: what the cluster knows of its HSMs, and the one thing that only a person may
// decide: that a PIN which was rejected may be tried again (too many wrong PINs lock a token).

import ArgumentParser
import ClusterModel
import ManagementClient
import ManagementModel

/// `hsmcluster endpoints`.
struct Endpoints: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows the HSM endpoints and sees to their logins.",
        subcommands: [List.self, RetryLogin.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the endpoints and what each node observes of them.",
            discussion: """
                States: in service, out of service, unreachable, credential error, starting.

                Example:
                  hsmcluster endpoints list --output json | jq '.[] | {name, state}'
                """)

        @OptionGroup var options: GlobalOptions

        func run() async throws {
            try await options.perform { client throws(ManagementClientError) in
                let endpoints = try await client.endpoints()
                switch options.output {
                case .json: Output.json(endpoints)
                case .text: print(Tables.endpoints(endpoints))
                }
            }
        }
    }

    struct RetryLogin: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "retry-login",
            abstract: "Lets an endpoint's PIN be tried once more after it was rejected.",
            discussion: """
                A PIN that an HSM rejected is never tried again by itself, since too many wrong PINs lock \
                the token. Correct the PIN at its source first.

                Example:
                  hsmcluster endpoints retry-login hsm-a
                """)

        @Argument(help: "The endpoint's name.")
        var name: String

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let id = request.idOrNew
            try await options.perform { client throws(ManagementClientError) in
                let endpoint = try await client.retryLogin(endpoint: EndpointName(name), requestID: id)
                switch options.output {
                case .json: Output.json(endpoint)
                case .text: print(Tables.endpoints([endpoint]))
                }
            }
        }
    }
}
