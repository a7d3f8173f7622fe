import ClusterModel

// Which nodes the cluster consists of, as far as it had to be agreed on: where each one is reached, and who votes.
// The voters are those of consensus' own configuration entries; the catalog repeats them, so that a node that
// starts, or that got a snapshot, knows the members without searching a log that may be gone.

/// Where a node is reached.
public struct NodeRecord: Hashable, Sendable, Codable {
    /// The node.
    public var id: NodeID
    /// Where other nodes reach it, `host:port`.
    public var peerAddress: String
    /// Where clients reach its management API, `https://host:port`.
    public var apiAddress: String

    /// Puts a record together.
    public init(id: NodeID, peerAddress: String, apiAddress: String) {
        self.id = id
        self.peerAddress = peerAddress
        self.apiAddress = apiAddress
    }
}

/// The members as the latest committed configuration entry has them.
public struct Membership: Hashable, Sendable, Codable {
    /// Who votes, ascending.
    public var voters: [NodeID]
    /// Who only receives the log, ascending.
    public var learners: [NodeID]
    /// The entry.
    public var index: LogIndex
    /// Who was a member and is none any more, ascending, at most `CatalogLimits.formerNodes`. Rows of before lack it.
    public var former: [NodeID]?

    /// Puts a membership together.
    public init(voters: [NodeID], learners: [NodeID], index: LogIndex) {
        self.voters = voters
        self.learners = learners
        self.index = index
    }

    /// Whether the node is a voter or a learner.
    public func contains(_ node: NodeID) -> Bool { voters.contains(node) || learners.contains(node) }
}

extension Catalog {
    /// Notes what a configuration entry says.
    public mutating func apply(_ membership: Membership, changes: inout [RowChange]) {
        var membership = membership
        // As long as there is no membership, the records are those of the founders.
        let before = self.membership.map { $0.voters + $0.learners } ?? Array(nodes.keys)
        let former = Set(self.membership?.former ?? []).union(before).filter { !membership.contains($0) }
            .sorted()
        membership.former = former.isEmpty ? nil : Array(former.suffix(CatalogLimits.formerNodes))
        self.membership = membership
        changes.append(row(Table.membership, "membership", membership))
    }

    mutating func register(
        _ record: NodeRecord, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        let lengths = 1...CatalogLimits.addressBytes
        guard record.id.rawValue > 0, lengths.contains(record.peerAddress.utf8.count),
            lengths.contains(record.apiAddress.utf8.count)
        else {
            throw .outOfBounds("a node needs a number and addresses of 1 to \(lengths.upperBound) bytes")
        }
        guard nodes[record.id] != nil || nodes.count < CatalogLimits.nodes else {
            throw .outOfBounds("there are \(nodes.count) nodes already")
        }
        let isTaken = nodes.values.contains {
            $0.id != record.id
                && ($0.peerAddress == record.peerAddress || $0.apiAddress == record.apiAddress)
        }
        guard !isTaken else { throw .outOfBounds("another node has one of these addresses") }
        nodes[record.id] = record
        changes.append(row(Table.nodes, record.id.description, record))
        return .done
    }

    /// Forgets where a node that is no member any more was reached.
    mutating func forgetNode(_ id: NodeID, _ changes: inout [RowChange]) -> CatalogOutcome {
        guard membership?.contains(id) != true, nodes.removeValue(forKey: id) != nil else { return .done }
        changes.append(RowChange(table: Table.nodes, key: id.description, value: nil))
        return .done
    }
}
