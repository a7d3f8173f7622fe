// `hsmcluster nodes`: who takes part, and who leads.

import ArgumentParser
import ClusterModel
import ManagementClient
import ManagementModel

/// `hsmcluster nodes`.
struct Nodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows the nodes, changes which take part, and moves leadership between them.",
        subcommands: [List.self, Add.self, Promote.self, Remove.self, TransferLeadership.self],
        defaultSubcommand: List.self)

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

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a new node take part as a learner: it receives everything and does not vote yet.",
            discussion: """
                Start the node first, with 'join: true' in its configuration and an empty state directory. Run \
                'nodes promote' once it has caught up.

                Example:
                  hsmcluster nodes add 4 --address 10.0.0.4:7100 --api https://10.0.0.4:7200
                """)

        @Argument(help: "The new node's number, as in its configuration; one that was never used before.")
        var node: UInt64

        @Option(help: ArgumentHelp("Where the other nodes reach it.", valueName: "host:port"))
        var address: String

        @Option(help: ArgumentHelp("Where clients reach its management API.", valueName: "https://host:port"))
        var api: String

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let id = request.idOrNew
            let body = AddNode(id: NodeID(node), address: address, api: api)
            try await options.perform { client throws(ManagementClientError) in
                Nodes.show(try await client.addNode(body, requestID: id), options)
            }
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a learner vote, once it has caught up.",
            discussion: """
                Example:
                  hsmcluster nodes promote 4
                """)

        @Argument(help: "The learner's number.")
        var node: UInt64

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let id = request.idOrNew
            try await options.perform { client throws(ManagementClientError) in
                Nodes.show(try await client.promoteNode(NodeID(node), requestID: id), options)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a node take part no more; refused when the others would have no majority.",
            discussion: """
                A node that leads hands leadership over. Stop the removed node afterwards.

                Example:
                  hsmcluster nodes remove 2
                """)

        @Argument(help: "The node's number.")
        var node: UInt64

        @OptionGroup var request: RequestOptions
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let id = request.idOrNew
            try await options.perform { client throws(ManagementClientError) in
                Nodes.show(try await client.removeNode(NodeID(node), requestID: id), options)
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
