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

/// The body of POST /v1/nodes.
public struct AddNode: Hashable, Sendable {
    /// The node's number.
    public var id: NodeID
    /// Where other nodes reach it, `host:port`.
    public var address: String
    /// Where clients reach its management API, `https://host:port`.
    public var api: String

    /// Puts a request together. `validate` tells whether it is acceptable.
    public init(id: NodeID, address: String, api: String) {
        self.id = id
        self.address = address
        self.api = api
    }

    /// Throws `invalid-request` when a value is out of bounds.
    public func validate() throws(ManagementError) {
        guard id.rawValue > 0 else { throw .invalid("id is 0", "Give a number from 1.") }
        for (name, text) in [("address", address), ("api", api)] {
            guard (1...ManagementLimits.addressBytes).contains(text.utf8.count) else {
                throw .invalid(
                    "\(name) has \(text.utf8.count) bytes",
                    "Give an address of 1 to \(ManagementLimits.addressBytes) bytes.")
            }
        }
    }
}

extension AddNode: Codable {
    private enum Keys: String, CodingKey, CaseIterable { case id, address, api }

    /// Reads and validates the body.
    public init(from decoder: any Decoder) throws {
        try AnyKey.refuseUnknown(in: decoder, known: Keys.allCases.map(\.rawValue))
        let members = try decoder.container(keyedBy: Keys.self)
        id = try members.decode(NodeID.self, forKey: .id)
        address = try members.decode(String.self, forKey: .address)
        api = try members.decode(String.self, forKey: .api)
        try validate()
    }

    /// Writes the body.
    public func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(id, forKey: .id)
        try members.encode(address, forKey: .address)
        try members.encode(api, forKey: .api)
    }
}
