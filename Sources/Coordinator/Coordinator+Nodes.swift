import ClusterModel
import Dispatch
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

    /// The longest that a stopping leader waits for its successor.
    static let longestHandover = DispatchTimeInterval.seconds(1)

    /// If this node leads, lets another one lead before it goes; an election would take ten times as long. Blocks
    /// for `longestHandover` at most, and must not be called on the node's queue.
    func handOverLeadership() {
        let done = DispatchSemaphore(value: 0)
        let fresh = Identifier128(high: UInt64.random(in: 0 ... .max), low: UInt64.random(in: 0 ... .max))
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
