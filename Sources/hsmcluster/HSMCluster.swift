// The command line for people and scripts. Results go to standard output, everything else to standard error,
// so that `--output json` can be piped. Exit statuses say what a script should do next.

import ArgumentParser
import ManagementModel

/// `hsmcluster`.
@main
struct HSMCluster: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hsmcluster",
        abstract: "Sees to a cluster of redundant HSMs: its nodes, endpoints, key stores and master keys.",
        discussion: """
            Any node takes any command and passes it to the leader. The configuration is read from --config, \
            else $HSMCLUSTER_CONFIG, else ~/.config/hsmcluster/client.yaml, else /etc/hsmcluster/client.yaml:

              cluster: local
              nodes: ["https://10.0.0.1:7201", "https://10.0.0.2:7201"]
              tls:
                authority: ca.pem
                certificate: admin.pem
                key: admin.key

            Examples:
              hsmcluster status
              hsmcluster keystore add "HSM Keystore"
              hsmcluster masterkey generate --algorithm aes256
              hsmcluster masterkey list --output json | jq '.[] | select(.active)'

            Exit status:
              0   done
              1   failed, or stopped at the question
              2   refused by the cluster: the request is wrong or in conflict
              3   the cluster is unavailable or has no quorum
              4   the outcome is not known yet: ask again with the same --request-id
              64  the command line or the configuration is wrong
              77  not authorised, or a certificate is missing or not accepted
            """,
        version: "hsmcluster \(SoftwareVersion.current)",
        subcommands: [
            Status.self, Nodes.self, Endpoints.self, KeyStore.self, MasterKey.self, Completion.self,
        ])

    static var _errorLabel: String { "error" }

    /// Options may stand before the command as well as behind it.
    static func main() async {
        await main(GlobalOptions.behindTheCommand(Array(CommandLine.arguments.dropFirst())))
    }
}

/// `hsmcluster completion`.
struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints a completion script for a shell.",
        discussion: """
            Examples:
              hsmcluster completion bash > ~/.local/share/bash-completion/completions/hsmcluster
              hsmcluster completion zsh > ~/.zfunc/_hsmcluster
              hsmcluster completion fish > ~/.config/fish/completions/hsmcluster.fish
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

    @Argument(help: "The shell.")
    var shell: Shell

    func run() throws {
        let target: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        print(HSMCluster.completionScript(for: target))
    }
}
