import ClusterConfiguration
import ClusterModel
import ClusterTransport
import Dispatch
import KeyCatalog
import ManagementModel
import NodeCore

// The nodes as people see and move them.

extension Coordinator {
    /// The nodes as this node sees them.
    public func nodes() async -> [NodeStatus] { await status().nodes }

    /// Lets another node lead.
    public func transferLeadership(
        _ request: TransferLeadership, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        _ = try await ask(.transferLeadership(to: request.to), requestID: requestID)
        return await nodes()
    }

    /// Lets a node take part as a learner.
    public func addNode(
        _ request: AddNode, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        guard let address = NetworkAddress(request.address), let api = APIAddress(request.api) else {
            throw .invalid(
                "address or api cannot be read",
                "Give an address such as 10.0.0.4:7100 and an api such as https://10.0.0.4:7200.")
        }
        let record = NodeRecord(id: request.id, peerAddress: "\(address)", apiAddress: "\(api)")
        _ = try await ask(.addNode(record), requestID: requestID)
        return await nodes()
    }

    /// Lets a learner vote.
    public func promoteNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        _ = try await ask(.promoteNode(id), requestID: requestID)
        return await nodes()
    }

    /// Lets a node take part no more.
    public func removeNode(
        _ id: NodeID, requestID: RequestID
    ) async throws(ManagementError) -> [NodeStatus] {
        _ = try await ask(.removeNode(id), requestID: requestID)
        return await nodes()
    }

    /// The longest that a stopping leader waits for its successor.
    static let longestHandover = DispatchTimeInterval.seconds(1)

    /// If this node leads, lets another one lead before it goes; an election would take ten times as long. Blocks
    /// for `longestHandover` at most, and must not be called on the node's queue.
    func handOverLeadership() {
        let done = DispatchSemaphore(value: 0)
        let fresh = Self.freshIdentifier()
        loop.queue.async {
            guard self.loop.summary.role == .leader, self.loop.haltReason == nil else {
                done.signal()
                return
            }
            _ = self.loop.ask(.transferLeadership(to: nil), fresh: fresh) { _ in done.signal() }
        }
        _ = done.wait(timeout: .now() + Self.longestHandover)
    }
}

extension PeerAddress {
    /// The addresses that can be read; the catalog takes others from nobody but an older version.
    static func of(_ records: [NodeRecord]) -> [PeerAddress] {
        records.compactMap { record in
            guard let address = NetworkAddress(record.peerAddress) else { return nil }
            return PeerAddress(node: record.id, host: address.host, port: UInt16(address.port))
        }
    }
}
