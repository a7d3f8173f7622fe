// `hsmcluster status`: one node's view of everything. Works without quorum, which is when it is needed most.

import ArgumentParser
import ManagementClient
import ManagementModel

/// `hsmcluster status`.
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows nodes, endpoints, key stores and master keys as one node sees them.",
        discussion: """
            The first node that answers tells what it knows; it needs no quorum for that. The active key \
            store and the active master key are marked with *.

            Examples:
              hsmcluster status
              hsmcluster status --node https://10.0.0.2:7201
              hsmcluster status --output json | jq .leader
            """)

    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let access = try options.resolved()
        let expected = try? options.access().cluster
        try await options.perform(access: access) { client throws(ManagementClientError) in
            let status = try await client.status()
            if let expected, expected != status.cluster {
                Terminal.note(
                    "warning: the node belongs to cluster '\(status.cluster.printable)', not '\(expected)'."
                )
            }
            switch options.output {
            case .json: Output.json(status)
            case .text: print(Self.text(status))
            }
        }
    }

    static func text(_ status: ClusterStatus) -> String {
        let leader = status.leader.map { "node \($0)" } ?? "none"
        let quorum = status.quorum ? "quorum" : "NO QUORUM"
        var parts = [
            "Cluster \(status.cluster.printable): \(quorum), leader \(leader), term \(status.term), "
                + "commit index \(status.commitIndex), applied \(status.appliedIndex)",
            Tables.nodes(status.nodes), Tables.endpoints(status.endpoints),
            Tables.keyStores(status.keyStores), Tables.masterKeys(status.masterKeys),
        ]
        if status.orphans > 0 {
            parts.append("\(status.orphans) objects of abandoned attempts lie on endpoints.")
        }
        if !status.warnings.isEmpty {
            parts.append(status.warnings.map { "warning: \($0.printable)" }.joined(separator: "\n"))
        }
        return parts.joined(separator: "\n\n")
    }
}
