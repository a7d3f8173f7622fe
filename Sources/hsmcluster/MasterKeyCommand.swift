// `hsmcluster masterkey`: generating a master key is the step that cannot be undone, so a person is asked and
// a script has to say that it knows.

import ArgumentParser
import ClusterModel
import ManagementClient
import ManagementModel

/// `hsmcluster masterkey`.
struct MasterKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "masterkey",
        abstract: "Generates and shows master keys.",
        subcommands: [Generate.self, List.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Shows the master keys and where their replicas stand; the active one is marked with *.",
            discussion: """
                Examples:
                  hsmcluster masterkey list
                  hsmcluster masterkey list --output json | jq -r '.[] | select(.active) | .label'
                """)

        @OptionGroup var options: GlobalOptions

        func run() async throws {
            try await options.perform { client throws(ManagementClientError) in
                let keys = try await client.masterKeys()
                switch options.output {
                case .json: Output.json(keys)
                case .text: print(Tables.masterKeys(keys))
                }
            }
        }
    }

    struct Generate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Generates a master key on the HSMs and makes it the active one. Cannot be undone.",
            discussion: """
                The key is generated on one endpoint, replicated to the others, and becomes usable once the \
                minimum of verified replicas stands. When the outcome is not known (exit status 4), repeat \
                the command with the request id that was shown: it cannot make a second key.

                Examples:
                  hsmcluster masterkey generate --algorithm aes256
                  hsmcluster masterkey generate --algorithm aes256 --comment "new cards"
                  hsmcluster masterkey generate --algorithm aes256 --yes \\
                    --request-id 8e03978e-40d5-43e8-bc93-6894a57f9324
                """)

        @Option(
            help: "The algorithm: aes256, aes128 or des-ede3 (withdrawn by NIST).",
            completion: .list(KeyAlgorithm.allCases.map(\.rawValue)))
        var algorithm: String

        @Option(help: "What to remember about the key.")
        var comment = ""

        @Flag(help: "Do not ask; needed where there is no terminal.")
        var yes = false

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let body = try checkedBody()
            let access = try options.resolved()
            if body.algorithm.isWithdrawn {
                Terminal.note(
                    "warning: \(body.algorithm.displayName) (triple DES) has been withdrawn by NIST since "
                        + "the end of 2023. Use it only for smart cards that know nothing better.")
            }
            try ask(body)
            let id = request.idOrNew
            if request.requestID == nil { Terminal.note("request id: \(id)") }
            try await options.perform(access: access) { client throws(ManagementClientError) in
                let name = body.algorithm.displayName
                let key = try await Terminal.showingProgress("Generating an \(name) master key") {
                    () async throws(ManagementClientError) in
                    try await client.generateMasterKey(body, requestID: id)
                }
                switch options.output {
                case .json: Output.json(key)
                case .text: print(Self.text(key))
                }
            }
        }

        private func checkedBody() throws -> GenerateMasterKey {
            do throws(ManagementError) {
                let algorithm = try GenerateMasterKey.algorithm(named: algorithm)
                let body = GenerateMasterKey(algorithm: algorithm, comment: comment)
                try body.validate()
                return body
            } catch {
                CommandFailure.usage(error.detail, whatToDo: error.whatToDo).report(options.output)
                throw ExitCode(ExitStatus.usage)
            }
        }

        private func ask(_ body: GenerateMasterKey) throws {
            guard !yes else { return }
            guard Terminal.isInteractive else {
                return try options.fail(
                    .usage(
                        "Generating a master key cannot be undone, and there is no terminal to ask on.",
                        whatToDo: "Repeat the command with --yes."))
            }
            Terminal.note(
                "An \(body.algorithm.displayName) master key will be generated on the HSMs and become the "
                    + "active one. This cannot be rolled back.")
            guard Terminal.confirms("Generate it?") else { return try options.fail(.declined) }
        }

        static func text(_ key: MasterKeyStatus) -> String {
            let verified = key.replicas.filter(\.verified).map(\.endpoint.rawValue).joined(separator: ", ")
            let missing = key.replicas.filter { !$0.verified }.map(\.endpoint.rawValue)
            var text =
                "Generated \(key.label)\(key.active ? " *" : ""): \(key.algorithm), KCV \(key.kcv ?? "-"), "
                + "state \(key.state), verified replicas on \(verified.isEmpty ? "no endpoint" : verified)."
            if !missing.isEmpty { text += " Not yet on \(missing.joined(separator: ", "))." }
            return text.printable
        }
    }
}
