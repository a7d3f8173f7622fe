// A node's certificate says which node of which cluster it belongs to in a subject alternative name of
// type URI: `hsmcluster://<cluster name>/node/<number>`. A URI rather than a host name, because nodes
// move between addresses and a certificate for a web server of the same authority must never pass for a
// node. The spelling is strict, so that two spellings never name one node.

import ClusterModel

/// The node and cluster that a certificate speaks for.
public struct NodeIdentityURI: Hashable, Sendable, CustomStringConvertible {
    /// The cluster's name as configured on every node.
    public var clusterName: String
    /// The node's number.
    public var node: NodeID

    /// An identity from its parts.
    public init(clusterName: String, node: NodeID) {
        self.clusterName = clusterName
        self.node = node
    }

    /// The scheme, with the slashes that follow it.
    public static let prefix = "hsmcluster://"
    /// The longest cluster name, in bytes.
    public static let maxClusterNameBytes = 63

    /// Reads the exact spelling that `description` writes; anything else is nil.
    public init?(_ text: String) {
        guard text.hasPrefix(NodeIdentityURI.prefix) else { return nil }
        let parts = text.dropFirst(NodeIdentityURI.prefix.count).split(
            separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1] == "node", NodeIdentityURI.isValid(clusterName: String(parts[0]))
        else { return nil }
        guard let number = UInt64(parts[2]), number > 0, String(number) == parts[2] else { return nil }
        self.init(clusterName: String(parts[0]), node: NodeID(number))
    }

    /// The URI.
    public var description: String { "\(NodeIdentityURI.prefix)\(clusterName)/node/\(node)" }

    /// Whether a cluster may have this name: 1 to 63 of `A–Z a–z 0–9 . _ -`.
    public static func isValid(clusterName: String) -> Bool {
        let bytes = clusterName.utf8
        guard (1...maxClusterNameBytes).contains(bytes.count) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }
}
