import ClusterModel
import KeyCatalog
import Testing

@Suite struct NodeRegistryTests {
    private func record(_ id: UInt64, port: Int = 7100) -> NodeRecord {
        NodeRecord(
            id: NodeID(id), peerAddress: "10.0.0.\(id):\(port)", apiAddress: "https://10.0.0.\(id):7200")
    }

    private func apply(_ command: CatalogCommand, to catalog: inout Catalog) -> CatalogOutcome {
        var changes: [RowChange] = []
        return catalog.apply(command, term: Term(1), index: LogIndex(1), changes: &changes)
    }

    @Test func recordsAndMembersSurviveAsRows() throws {
        var catalog = Catalog()
        var changes: [RowChange] = []
        #expect(apply(.registerNode(record(4)), to: &catalog) == .done)
        #expect(apply(.registerNode(record(4, port: 7101)), to: &catalog) == .done)
        catalog.apply(
            Membership(voters: [NodeID(1)], learners: [NodeID(4)], index: LogIndex(9)), changes: &changes)
        #expect(changes.count == 1)
        #expect(try Catalog(rows: catalog.allRows) == catalog)
        #expect(catalog.nodes[NodeID(4)] == record(4, port: 7101))
        #expect(catalog.membership?.contains(NodeID(4)) == true)
    }

    @Test func formerMembersAreRememberedUntilTheyComeBack() throws {
        var catalog = Catalog()
        var changes: [RowChange] = []
        for id in 1...3 as ClosedRange<UInt64> { _ = apply(.registerNode(record(id)), to: &catalog) }
        let two = [1, 2].map { NodeID($0) }
        catalog.apply(Membership(voters: two, learners: [], index: LogIndex(2)), changes: &changes)
        #expect(catalog.membership?.former == [NodeID(3)])
        let back = Membership(voters: two, learners: [NodeID(3)], index: LogIndex(3))
        catalog.apply(back, changes: &changes)
        #expect(catalog.membership == back)
    }

    @Test func onlyNodesThatAreNoMembersAreForgotten() {
        var catalog = Catalog()
        var changes: [RowChange] = []
        _ = apply(.registerNode(record(4)), to: &catalog)
        let with = Membership(voters: [NodeID(4)], learners: [], index: LogIndex(2))
        catalog.apply(with, changes: &changes)
        #expect(apply(.forgetNode(NodeID(4)), to: &catalog) == .done)
        #expect(catalog.nodes[NodeID(4)] != nil)
        catalog.apply(Membership(voters: [NodeID(1)], learners: [], index: LogIndex(3)), changes: &changes)
        #expect(apply(.forgetNode(NodeID(4)), to: &catalog) == .done)
        #expect(catalog.nodes[NodeID(4)] == nil)
    }

    @Test func recordsAreBounded() {
        var catalog = Catalog()
        for id in 1...UInt64(CatalogLimits.nodes) {
            #expect(apply(.registerNode(record(id)), to: &catalog) == .done)
        }
        for bad in [
            record(200), NodeRecord(id: NodeID(0), peerAddress: "a:1", apiAddress: "https://a:1"),
            NodeRecord(id: NodeID(1), peerAddress: "", apiAddress: "https://a:1"),
            NodeRecord(id: NodeID(1), peerAddress: record(2).peerAddress, apiAddress: "https://a:1"),
            NodeRecord(
                id: NodeID(1), peerAddress: String(repeating: "a", count: 301), apiAddress: "https://a:1"),
        ] {
            guard case .refused(.outOfBounds) = apply(.registerNode(bad), to: &catalog) else {
                Issue.record("\(bad) was taken")
                continue
            }
        }
    }
}
