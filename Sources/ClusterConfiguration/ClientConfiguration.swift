// What a person's or a script's machine is told: which nodes there are and with which certificate to come.

/// The configuration of a client. Paths are absolute.
public struct ClientConfiguration: Hashable, Sendable {
    /// The cluster's name.
    public var cluster: String
    /// The nodes' management APIs, in the order in which they are tried.
    public var nodes: [APIAddress]
    /// The client's certificate, key and the cluster's authority.
    public var tls: NodeConfiguration.TLSFiles

    /// Reads and checks a client's configuration file. Whether the PEM files exist is left to whoever opens
    /// them, since the command line may name others. Blocks on the file system.
    public static func load(file: String) throws(ConfigurationError) -> ClientConfiguration {
        try parse(try ConfigurationFile.text(of: file), file: file)
    }

    /// Reads a configuration's text. `file` names it in errors; paths are relative to its folder.
    public static func parse(_ text: String, file: String) throws(ConfigurationError) -> ClientConfiguration {
        let document = try YAMLDocument(file: file).parse(text)
        var root = try MappingReader(document, file: file, key: "", expected: "'cluster: NAME' and so on")
        let cluster = try SharedRules.cluster(&root)
        let example = "[\"https://127.0.0.1:7201\"]"
        let elements = try root.list("nodes", upTo: ConfigurationLimits.nodes, example: example)
        var nodes: [APIAddress] = []
        for (position, element) in elements.enumerated() {
            let address = try SharedRules.api(root, element, "nodes[\(position)]")
            guard !nodes.contains(address) else {
                throw root.failure(
                    "nodes[\(position)]", at: element.line, "the node is there twice", "Remove one of them.")
            }
            nodes.append(address)
        }
        guard !nodes.isEmpty else {
            throw root.failure("nodes", at: nil, "the list is empty", "Write 'nodes: \(example)'.")
        }
        let tls = try SharedRules.tls(&root, PathResolver(file: file))
        try root.finish()
        return ClientConfiguration(cluster: cluster, nodes: nodes, tls: tls)
    }

    /// The file to read when none is named: `$HSMCLUSTER_CONFIG`, else the first that exists of
    /// `~/.config/hsmcluster/client.yaml` and `/etc/hsmcluster/client.yaml`; nil when there is none.
    ///
    /// A file named by the environment is returned whether or not it exists, so that a typing error shows.
    public static func defaultFile(environment: [String: String]) -> String? {
        if let named = environment["HSMCLUSTER_CONFIG"], !named.isEmpty { return named }
        var candidates = ["/etc/hsmcluster/client.yaml"]
        if let home = environment["HOME"], !home.isEmpty {
            candidates.insert("\(home)/.config/hsmcluster/client.yaml", at: 0)
        }
        return candidates.first { ConfigurationFile.exists($0) }
    }
}
