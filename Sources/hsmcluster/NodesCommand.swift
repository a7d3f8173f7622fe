// `hsmcluster nodes`: who takes part, and who leads.

import ArgumentParser
import ClusterModel
import ManagementClient
import ManagementModel

/// `hsmcluster nodes`.
struct Nodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows the nodes and moves leadership between them.",
        subcommands: [List.self, TransferLeadership.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the nodes as one of them sees them; works without a quorum.",
            discussion: """
                Example:
                  hsmcluster nodes list --output json | jq '.[] | select(.role == "leader").id'
                """)

        @OptionGroup var options: GlobalOptions

        func run() async throws {
            try await options.perform { client throws(ManagementClientError) in
                Nodes.show(try await client.nodes(), options)
            }
        }
    }

    struct TransferLeadership: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "transfer-leadership",
            abstract: "Lets another node lead, without an interruption that anyone would notice.",
            discussion: """
                Do it before the leader's machine is stopped. A node that is told to stop (SIGTERM) hands \
                leadership over by itself.

                Examples:
                  hsmcluster nodes transfer-leadership
                  hsmcluster nodes transfer-leadership 2
                """)

        @Argument(help: "The number of the node that shall lead; without it, the cluster chooses one.")
        var node: UInt64?

        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let id = RequestOptions.fresh
            try await options.perform { client throws(ManagementClientError) in
                Nodes.show(
                    try await client.transferLeadership(to: node.map { NodeID($0) }, requestID: id), options)
            }
        }
    }

    static func show(_ nodes: [NodeStatus], _ options: GlobalOptions) {
        switch options.output {
        case .json: Output.json(nodes)
        case .text: print(Tables.nodes(nodes))
        }
    }
}
