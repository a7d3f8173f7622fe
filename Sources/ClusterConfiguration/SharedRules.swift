// Rules for values that node and client configurations have in common: the cluster's name, PEM files, node
// numbers, durations, paths.

import ClusterModel

enum SharedRules {
    /// 1 to 63 letters, digits, `.`, `_`, `-`: what the certificates' URIs can carry.
    static func cluster(_ root: inout MappingReader) throws(ConfigurationError) -> String {
        let value = try root.required("cluster", example: "production")
        let name = try root.text(of: value, "cluster", example: "production")
        guard name.utf8.count <= 63, name.utf8.allSatisfy(isNameByte) else {
            throw root.failure(
                "cluster", at: value.line, "this cannot be a cluster's name",
                "Use at most 63 letters, digits, '.', '_' and '-', as in the certificates.")
        }
        return name
    }

    static func nodeNumber(_ members: inout MappingReader, _ name: String) throws(ConfigurationError)
        -> NodeID
    {
        let value = try members.required(name, example: "1")
        let number = try members.number(of: value, name, in: 1...1_000_000, example: "1")
        return NodeID(UInt64(number))
    }

    static func listeners(
        _ root: inout MappingReader
    ) throws(ConfigurationError) -> (peers: NetworkAddress, api: NetworkAddress) {
        let example = "{ peers: \"127.0.0.1:7101\", api: \"127.0.0.1:7201\" }"
        let value = try root.required("listen", example: example)
        var members = try MappingReader(
            value, file: root.file, key: "listen", expected: "'listen: \(example)'")
        let peers = try address(&members, "peers", example: "127.0.0.1:7101")
        let api = try address(&members, "api", example: "127.0.0.1:7201")
        try members.finish()
        guard peers != api else {
            throw root.failure(
                "listen.api", at: value.line, "both listeners have the same address",
                "Give them different ports.")
        }
        return (peers, api)
    }

    static func address(
        _ members: inout MappingReader, _ name: String, example: String
    ) throws(ConfigurationError) -> NetworkAddress {
        let value = try members.required(name, example: "\"\(example)\"")
        let text = try members.text(of: value, name, example: "\"\(example)\"")
        guard let address = NetworkAddress(text) else {
            throw members.failure(
                name, at: value.line, "this is not an address with a port from 1 to 65535",
                "Write 'host:port', such as \"\(example)\", with an IPv6 address in brackets.")
        }
        return address
    }

    static func api(_ members: MappingReader, _ value: YAMLValue, _ name: String) throws(ConfigurationError)
        -> APIAddress
    {
        let text = try members.text(of: value, name, example: "\"https://127.0.0.1:7201\"")
        guard let address = APIAddress(text) else {
            throw members.failure(
                name, at: value.line, "this is not the address of a management API",
                "Write 'https://host:port', such as \"https://127.0.0.1:7201\".")
        }
        return address
    }

    static func tls(
        _ root: inout MappingReader, _ paths: PathResolver
    ) throws(ConfigurationError) -> NodeConfiguration.TLSFiles {
        let example = "{ authority: ca.pem, certificate: node.pem, key: node.key }"
        let value = try root.required("tls", example: example)
        var members = try MappingReader(value, file: root.file, key: "tls", expected: "'tls: \(example)'")
        let files = NodeConfiguration.TLSFiles(
            authority: paths.absolute(try members.text("authority", example: "ca.pem")),
            certificate: paths.absolute(try members.text("certificate", example: "node.pem")),
            key: paths.absolute(try members.text("key", example: "node.key")))
        try members.finish()
        return files
    }

    /// A number with the unit `ms`, `s` or `m`, from 100 ms to 10 min; nil when absent.
    static func duration(
        _ members: inout MappingReader, _ name: String, example: String
    ) throws(ConfigurationError) -> Duration? {
        guard let value = members.optional(name) else { return nil }
        let text = try members.text(of: value, name, example: example)
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count)
        let milliseconds: Int? = ["ms": 1, "s": 1_000, "m": 60_000][String(unit)]
        guard let milliseconds, (1...9).contains(digits.count), let number = Int(digits) else {
            throw members.failure(
                name, at: value.line, "this is not a duration",
                "Write a whole number with a unit: 250ms, \(example) or 2m.")
        }
        guard (100...600_000).contains(number * milliseconds) else {
            throw members.failure(
                name, at: value.line, "the duration is out of bounds", "Write a duration from 100ms to 10m.")
        }
        return .milliseconds(number * milliseconds)
    }

    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Rules for the list of voters.
enum VoterRules {
    static let example = "[{ id: 1, address: \"10.0.0.1:7101\", api: \"https://10.0.0.1:7201\" }]"

    static func voters(_ root: inout MappingReader) throws(ConfigurationError) -> [NodeConfiguration.Voter] {
        let elements = try root.list("nodes", upTo: ConfigurationLimits.nodes, example: example)
        guard !elements.isEmpty else {
            throw root.failure("nodes", at: nil, "the list is empty", "Write 'nodes: \(example)'.")
        }
        var voters: [NodeConfiguration.Voter] = []
        for (position, element) in elements.enumerated() {
            let key = "nodes[\(position)]"
            var members = try MappingReader(
                element, file: root.file, key: key, expected: "'nodes: \(example)'")
            let id = try SharedRules.nodeNumber(&members, "id")
            let address = try SharedRules.address(&members, "address", example: "10.0.0.1:7101")
            let apiValue = try members.required("api", example: "\"https://10.0.0.1:7201\"")
            let api = try SharedRules.api(members, apiValue, "api")
            try members.finish()
            guard !voters.contains(where: { $0.id == id }) else {
                throw members.failure(
                    "id", at: element.line, "two nodes have this id", "Give every node a number of its own.")
            }
            guard !voters.contains(where: { $0.address == address || $0.api == api }) else {
                throw members.failure(
                    "address", at: element.line, "two nodes have the same address",
                    "Give every node addresses of its own.")
            }
            voters.append(NodeConfiguration.Voter(id: id, address: address, api: api))
        }
        return voters.sorted { $0.id < $1.id }
    }
}
