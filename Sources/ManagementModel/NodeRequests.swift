// Bodies of requests about the nodes of the cluster; as strict as the others (see Requests.swift).

import ClusterModel

/// The body of POST /v1/nodes/transfer-leadership.
public struct TransferLeadership: Hashable, Sendable {
    /// The node that shall lead; nil for whichever is best.
    public var to: NodeID?

    /// Puts a request together.
    public init(to: NodeID? = nil) { self.to = to }
}

extension TransferLeadership: Codable {
    private enum Keys: String, CodingKey, CaseIterable { case to }

    /// Reads and validates the body.
    public init(from decoder: any Decoder) throws {
        try AnyKey.refuseUnknown(in: decoder, known: Keys.allCases.map(\.rawValue))
        to = try decoder.container(keyedBy: Keys.self).decodeIfPresent(NodeID.self, forKey: .to)
    }

    /// Writes the body.
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encodeIfPresent(to, forKey: .to)
    }
}
