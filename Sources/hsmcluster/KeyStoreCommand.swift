// `hsmcluster keystore`: the operator service key stores.

import ArgumentParser
import ManagementClient
import ManagementModel

/// `hsmcluster keystore`.
struct KeyStore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keystore",
        abstract: "Makes and shows key stores.",
        subcommands: [Add.self, List.self], defaultSubcommand: List.self)

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a key store and activates it; the one before is deactivated.",
            discussion: """
                Example:
                  hsmcluster keystore add "HSM Keystore" --minimum-replicas 2
                """)

        @Argument(help: "The name: letters, digits, spaces, '.', '_', '-'; at most 64.")
        var name: String

        @Option(
            help: ArgumentHelp(
                "How many verified replicas a master key needs before it is usable; else as configured.",
                valueName: "number"))
        var minimumReplicas: Int?

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let body = CreateKeyStore(name: name, minimumReplicas: minimumReplicas)
            do throws(ManagementError) {
                try body.validate()
            } catch {
                try options.fail(.usage(error.detail, whatToDo: error.whatToDo))
            }
            let id = request.idOrNew
            try await options.perform { client throws(ManagementClientError) in
                let store = try await client.createKeyStore(body, requestID: id)
                switch options.output {
                case .json: Output.json(store)
                case .text: print("The key store '\(store.name.printable)' has been made and activated.")
                }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the key stores; the active one is marked with *.",
            discussion: """
                Example:
                  hsmcluster keystore list
                """)

        @OptionGroup var options: GlobalOptions

        func run() async throws {
            try await options.perform { client throws(ManagementClientError) in
                let stores = try await client.keyStores()
                switch options.output {
                case .json: Output.json(stores)
                case .text: print(Tables.keyStores(stores))
                }
            }
        }
    }
}
