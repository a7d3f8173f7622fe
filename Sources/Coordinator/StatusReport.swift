import ClusterConfiguration
import ClusterModel
import Gossip
import KeyCatalog
import ManagementModel
import NodeCore
import Raft

// A node's view as a report for people: what is agreed (from the catalog), what is believed (from gossip), and
// what is wrong (as warnings that say what to do).

struct StatusReport {
    var configuration: NodeConfiguration
    var node: Node
    var haltReason: String?

    var status: ClusterStatus {
        let leader = haltReason == nil ? node.raft.leader : nil
        return ClusterStatus(
            cluster: configuration.cluster, node: node.settings.id, quorum: leader != nil, leader: leader,
            term: node.raft.term, commitIndex: node.raft.commitIndex, appliedIndex: node.appliedIndex,
            nodes: listedNodes.map(nodeStatus),
            endpoints: endpointNames.map { endpoint($0, record: node.catalog.endpoints[$0]) },
            keyStores: KeyStoreStatus.list(
                Array(node.catalog.keyStores.values), keys: node.catalog.keysInOrder),
            masterKeys: node.catalog.keysInOrder.map {
                MasterKeyStatus($0, store: node.catalog.keyStores[$0.keyStore])
            }, orphans: node.catalog.openOrphans.count, warnings: warnings)
    }

    private var endpointNames: [EndpointName] {
        Set(node.settings.endpoints).union(node.catalog.endpoints.keys).sorted()
    }

    /// The members and this node. Before anything was changed, the members are those of the configuration file.
    private var listedNodes: [NodeRecord] {
        var records = node.peerRecords
        if let own = node.catalog.nodes[node.settings.id]
            ?? node.settings.nodes.first(where: { $0.id == node.settings.id })
        {
            records.append(own)
        }
        return records.filter { $0.id == node.settings.id || isListed($0.id) }.sorted { $0.id < $1.id }
    }

    private func isListed(_ id: NodeID) -> Bool {
        node.voters.isEmpty || node.raft.configuration.isMember(id)
    }

    private func membership(_ id: NodeID) -> NodeMembership {
        if id == node.settings.id, node.isRemoved { return .removed }
        if node.raft.configuration.isVoter(id) { return .voter }
        return node.raft.configuration.isMember(id) ? .learner : .none
    }

    private func nodeStatus(_ voter: NodeRecord) -> NodeStatus {
        let isLocal = voter.id == node.settings.id
        let member = node.gossip.members.first { $0.node == voter.id }
        var role = NodeRole.unknown
        if isLocal {
            role =
                switch node.raft.role.kind {
                case .leader: .leader
                case .follower: .follower
                case .candidate, .preCandidate: .candidate
                }
        } else if node.raft.leader == voter.id {
            role = .leader
        } else if member?.state == .alive, node.raft.leader != nil {
            role = .follower
        }
        return NodeStatus(
            id: voter.id, role: role, state: isLocal ? .alive : memberState(member),
            address: voter.peerAddress, api: voter.apiAddress, membership: membership(voter.id),
            isLocal: isLocal, term: isLocal ? node.raft.term : nil,
            matchIndex: isLocal
                ? node.raft.lastIndex : node.raft.peers.first { $0.id == voter.id }?.matchIndex)
    }

    private func memberState(_ member: Member?) -> ManagementModel.MemberState {
        switch member?.state {
        case .alive: .alive
        case .suspect: .suspect
        case .dead: .dead
        default: .unknown
        }
    }

    // MARK: Endpoints

    func endpoint(_ name: EndpointName, record: EndpointRecord?) -> EndpointStatus {
        let observations = node.gossip.observations.filter { $0.endpoint == name }
            .sorted { $0.node < $1.node }
        let isInService = record?.isInService ?? false
        let states = observations.map { Self.state($0.health) }
        var state = EndpointState.starting
        if isInService {
            state = .inService
        } else if record?.rejectedBy != nil || states.contains(.credentialError) {
            state = .credentialError
        } else if states.contains(.unreachable) {
            state = .unreachable
        } else if record?.wasInService == true {
            state = .outOfService
        }
        var error = isInService ? nil : record?.reason
        if let rejectedBy = record?.rejectedBy {
            error =
                "the token rejected the PIN of node \(rejectedBy); it is not tried again. Correct the PIN, then run "
                + "'hsmcluster endpoints retry-login \(name)'"
        } else if !isInService {
            error = observations.compactMap(\.lastError).first ?? error
        }
        return EndpointStatus(
            name: name, state: state, inService: isInService,
            tokenLabel: record?.tokenLabel ?? node.localEndpoints[name]?.token?.label,
            serialNumber: record?.serialNumber ?? node.localEndpoints[name]?.token?.serialNumber,
            error: error,
            observedBy: observations.map {
                ManagementModel.EndpointObservation(
                    node: $0.node, state: Self.state($0.health),
                    latencyMicroseconds: $0.latencyMicroseconds == 0 ? nil : UInt64($0.latencyMicroseconds))
            })
    }

    private static func state(_ health: EndpointHealth) -> EndpointState {
        switch health {
        case .ready, .busy: .inService
        case .starting, .notLoggedIn, .unknown: .starting
        case .credentialError: .credentialError
        case .tokenMissing, .moduleUnavailable, .unreachable: .unreachable
        }
    }

    // MARK: Warnings

    private var warnings: [String] {
        var warnings: [String] = []
        if let haltReason { warnings.append("node \(node.settings.id) does not take part: \(haltReason)") }
        if node.isRemoved {
            warnings.append(
                "node \(node.settings.id) was removed from the cluster and takes no part any more: stop it")
        } else if node.raft.rejoin != nil {
            warnings.append(
                "node \(node.settings.id) has lost what it voted for; the others make it a learner and then a voter "
                    + "again, as long as a majority is left without it")
        } else if node.voters.isEmpty {
            warnings.append(
                "node \(node.settings.id) waits to be added: run 'hsmcluster nodes add \(node.settings.id) ...'"
            )
        } else if node.raft.leader == nil {
            warnings.append(
                node.reachesMajority
                    ? "no leader: an election is under way"
                    : "no quorum: \(node.reachableVoters) of \(node.voters.count) nodes can be reached; "
                        + "what follows may be out of date")
        }
        if let lost = node.raft.lostEnd {
            warnings.append(
                "node \(node.settings.id) is under repair: its disk was damaged, and of its log, which ended at entry "
                    + "\(lost.index) of term \(lost.term), everything after entry \(node.raft.lastIndex) is missing. It "
                    + "does not lead until a leader has sent that again")
        }
        for key in node.catalog.keysInOrder where key.state == .usable {
            let verified = key.verifiedEndpoints
            let missing = node.catalog.endpoints.keys.sorted().filter { !verified.contains($0) }
            if verified.count < key.minimumReplicas {
                warnings.append(
                    "\(key.label) stands on \(verified.count) endpoints only, \(key.minimumReplicas) are the minimum"
                )
            } else if !missing.isEmpty {
                let names = missing.map(\.rawValue).joined(separator: ", ")
                warnings.append(
                    "\(key.label) lacks a replica on \(names); it is made once they are in service")
            }
        }
        return warnings
    }
}

extension KeyStoreStatus {
    /// The stores, oldest first, each with its number of usable keys.
    static func list(_ stores: [KeyStore], keys: [MasterKey]) -> [KeyStoreStatus] {
        stores.sorted { ($0.createdAt, $0.name) < ($1.createdAt, $1.name) }.map { store in
            KeyStoreStatus(
                store, keyCount: keys.filter { $0.keyStore == store.name && $0.state == .usable }.count)
        }
    }

    init(_ store: KeyStore, keyCount: Int) {
        self.init(
            name: store.name, active: store.isActive, minimumReplicas: store.minimumReplicas,
            masterKeys: keyCount)
    }
}

extension MasterKeyStatus {
    init(_ key: MasterKey, store: KeyStore?) {
        var state = MasterKeyState.pending
        var error: String?
        switch key.state {
        case .pending: state = .pending
        case .usable: state = .active
        case .failed(let reason):
            state = .failed
            error = reason
        }
        self.init(
            label: key.label, keyID: key.number, algorithm: key.algorithm,
            kcv: key.generated?.proof.keyCheckValue, active: store?.activeKey == key.operation, state: state,
            createdAt: Timestamp.text(secondsSince1970: key.createdAt), keyStore: key.keyStore,
            comment: key.comment, origin: key.generated?.endpoint, requestID: key.requestID, error: error,
            replicas: key.replicas.sorted { $0.key < $1.key }.map { endpoint, replica in
                ReplicaStatus(
                    endpoint: endpoint, verified: replica.isVerified,
                    verifiedAt: Timestamp.text(secondsSince1970: replica.verifiedAt), error: replica.problem)
            })
    }
}
