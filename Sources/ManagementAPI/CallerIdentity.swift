// Who calls is what the certificate says in a subject alternative name of type URI (RFC 5280 §4.2.1.6):
// `hsmcluster://<cluster>/client/<name>` for people and programs, `hsmcluster://<cluster>/node/<number>` for
// nodes. The spelling is strict, so that two spellings never name one caller.

import ClusterModel
import NIOSSL

/// A caller of the management API, proved by its certificate.
public enum CallerIdentity: Hashable, Sendable, CustomStringConvertible {
    /// A person or program.
    case client(String)
    /// Another node, or this one.
    case node(NodeID)

    /// Reads a URI of `cluster`; nil for any other cluster or spelling.
    public init?(uri: String, cluster: String) {
        let prefix = "hsmcluster://\(cluster)/"
        guard uri.hasPrefix(prefix) else { return nil }
        let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[1].utf8.count) else { return nil }
        switch parts[0] {
        case "client":
            guard parts[1].utf8.allSatisfy(Self.isNameByte) else { return nil }
            self = .client(String(parts[1]))
        case "node":
            guard let number = UInt64(parts[1]), number > 0, String(number) == parts[1] else { return nil }
            self = .node(NodeID(number))
        default:
            return nil
        }
    }

    /// The caller that `certificate` proves; nil when it names none of `cluster`, or more than one.
    init?(certificate: NIOSSLCertificate, cluster: String) {
        let uris = certificate._subjectAlternativeNames().filter { $0.nameType == .uri }.map { name in
            name.contents.withUnsafeBufferPointer { String(validating: $0, as: UTF8.self) ?? "" }
        }.filter { $0.hasPrefix("hsmcluster:") }
        guard uris.count == 1 else { return nil }
        self.init(uri: uris[0], cluster: cluster)
    }

    /// `client admin` or `node 1`.
    public var description: String {
        switch self {
        case .client(let name): "client \(name)"
        case .node(let id): "node \(id)"
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
            UInt8(ascii: "@"):
            true
        default: false
        }
    }
}
