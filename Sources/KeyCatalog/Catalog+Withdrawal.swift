import ClusterModel

// Endpoints that an operator takes out: drained for a while, or removed from the cluster. What was decided here goes
// before what the nodes observe and before what their configuration files say. A removal must not cost a key: it is
// refused as long as a usable key would be left below its minimum of verified replicas, or with none that further
// copies can be wrapped from.

extension Catalog {
    /// The endpoints that take part: all but those that were removed, in order.
    public var presentEndpoints: [EndpointName] {
        endpoints.values.filter { $0.withdrawal != .removed }.map(\.name).sorted()
    }

    /// The usable keys that would lack replicas, or a source of further copies, without this endpoint; by number.
    public func keysNeeding(_ name: EndpointName) -> [MasterKey] {
        keysInOrder.filter { key in
            guard key.state == .usable, key.replicas[name]?.isVerified == true else { return false }
            return key.verifiedEndpoints.count <= key.minimumReplicas
                || !key.sources.contains { $0 != name }
        }
    }

    /// The endpoint, unless it is unknown or was removed.
    func presentEndpoint(_ name: EndpointName) throws(CatalogRefusal) -> EndpointRecord {
        guard let endpoint = endpoints[name], endpoint.withdrawal != .removed else {
            throw .endpointUnknown(name)
        }
        return endpoint
    }

    mutating func drain(
        _ name: EndpointName, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        var endpoint = try presentEndpoint(name)
        guard endpoint.withdrawal == nil else { return .done }
        let wasInService = endpoint.isInService
        endpoint.withdrawal = .drained
        endpoint.isInService = false
        endpoint.reason = "drained by an operator"
        store(endpoint, &changes)
        if wasInService { countView(&changes) }
        return .done
    }

    /// The view puts it into service, once enough nodes can use it.
    mutating func enable(
        _ name: EndpointName, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard var endpoint = endpoints[name] else { throw .endpointUnknown(name) }
        guard endpoint.withdrawal != nil else { return .done }
        endpoint.withdrawal = nil
        endpoint.reason = nil
        store(endpoint, &changes)
        return .done
    }

    /// The name stays, so that a configuration file that still has it does not bring the endpoint back. Everything
    /// else is forgotten: when it is enabled again it is enrolled anew, maybe as another token.
    mutating func remove(
        _ name: EndpointName, _ isForced: Bool, _ changes: inout [RowChange]
    ) throws(CatalogRefusal) -> CatalogOutcome {
        guard let endpoint = endpoints[name] else { throw .endpointUnknown(name) }
        guard endpoint.withdrawal != .removed else { return .done }
        let needing = keysNeeding(name)
        guard isForced || needing.isEmpty else {
            let labels = needing.prefix(CatalogLimits.labelsNamed).map(\.label)
            throw .keysNeedEndpoint(name, labels: Array(labels), count: needing.count)
        }
        for var key in keysInOrder where key.replicas[name] != nil {
            key.replicas[name] = nil
            store(key, &changes)
        }
        for (rowKey, orphan) in orphans.sorted(by: { $0.key < $1.key }) where orphan.endpoint == name {
            orphans[rowKey] = nil
            unsettledOrphans.remove(rowKey)
            changes.append(RowChange(table: Table.orphans, key: rowKey, value: nil))
        }
        var removed = EndpointRecord(name: name, isInService: false, wasInService: false)
        removed.withdrawal = .removed
        removed.reason = "removed by an operator"
        store(removed, &changes)
        if endpoint.isInService { countView(&changes) }
        return .done
    }

    private mutating func countView(_ changes: inout [RowChange]) {
        counters.viewEpoch += 1
        storeCounters(&changes)
    }
}
