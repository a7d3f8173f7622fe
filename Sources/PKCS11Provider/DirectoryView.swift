internal import ClusterModel
internal import Failover
internal import OperationWire
internal import Synchronization

// The directory with indexes, made once for each epoch and never changed. A session keeps the view that it used last and
// asks for another one only when the epoch has moved, so that threads do not meet at a common lock.

/// What the provider knows of an endpoint beyond the directory; lives across directories.
final class Endpoint: Sendable {
    let name: String
    /// Operations under way.
    let outstanding = Atomic<Int>(0)
    /// Until then it is nobody's first choice, in nanoseconds of the network's clock.
    let avoidUntil = Atomic<Int64>(0)

    init(name: String) { self.name = name }
}

/// One directory, ready for look-ups.
final class DirectoryView: Sendable {
    let directory: Directory
    let endpoints: [Endpoint]
    /// How each endpoint's driver is to be understood.
    let failureTables: [FailureTable]
    private let byNumber: [UInt64: Int]
    private let byLabel: [[UInt8]: [Int]]
    private let byIdentifier: [[UInt8]: [Int]]
    private let mechanisms: [UInt64: MechanismDescription]

    init(_ directory: Directory, endpoints: [Endpoint]) {
        self.directory = directory
        self.endpoints = endpoints
        failureTables = directory.endpoints.map { entry in
            (try? FailureTable(vendor: entry.failureVendor, overrides: entry.failureOverrides)) ?? .standard
        }
        var byNumber: [UInt64: Int] = [:]
        var byLabel: [[UInt8]: [Int]] = [:]
        var byIdentifier: [[UInt8]: [Int]] = [:]
        for (index, key) in directory.keys.enumerated() {
            byNumber[key.number] = index
            byLabel[Array(key.label.utf8), default: []].append(index)
            byIdentifier[key.identifier, default: []].append(index)
        }
        self.byNumber = byNumber
        self.byLabel = byLabel
        self.byIdentifier = byIdentifier
        mechanisms = Dictionary(
            directory.mechanisms.map { ($0.type, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func key(number: UInt64) -> Directory.Key? { byNumber[number].map { directory.keys[$0] } }
    func positions(label: [UInt8]) -> [Int] { byLabel[label] ?? [] }
    func positions(identifier: [UInt8]) -> [Int] { byIdentifier[identifier] ?? [] }
    func mechanism(_ type: UInt64) -> MechanismDescription? { mechanisms[type] }

    /// What a token key is called on an endpoint; nil when no verified replica stands there.
    func reference(to number: UInt64, on endpoint: Int) -> ObjectReference? {
        guard let key = key(number: number),
            let replica = key.replicas.first(where: { $0.endpoint == UInt32(endpoint) })
        else { return nil }
        return .clusterKey(objectClass: key.objectClass, identifier: replica.identifier)
    }
}

/// Holds the latest view and makes a new one when the epoch has moved.
final class DirectoryKeeper: Sendable {
    private struct State {
        var view: DirectoryView?
        var epoch: UInt64?
        var endpoints: [String: Endpoint] = [:]
    }
    private let network: any HostNetwork
    private let settings: LibrarySettings
    private let state = Mutex(State())

    init(network: any HostNetwork, settings: LibrarySettings) {
        self.network = network
        self.settings = settings
    }

    /// The epoch now; a view of it need not be fetched again.
    func epoch() -> UInt64 { network.epoch() }

    /// The view of the latest directory. A directory that cannot be read leaves the last one in use.
    func view() -> DirectoryView? {
        let epoch = network.epoch()
        return state.withLock { state in
            if state.epoch == epoch, let view = state.view { return view }
            guard var directory = network.directory() else { return state.view }
            directory.deadlineMilliseconds = settings.deadlineMilliseconds ?? directory.deadlineMilliseconds
            directory.hedgeMilliseconds = settings.hedgeMilliseconds ?? directory.hedgeMilliseconds
            let endpoints = directory.endpoints.map { entry in
                if let known = state.endpoints[entry.name] { return known }
                let endpoint = Endpoint(name: entry.name)
                state.endpoints[entry.name] = endpoint
                return endpoint
            }
            let view = DirectoryView(directory, endpoints: endpoints)
            state.view = view
            state.epoch = epoch
            return view
        }
    }
}
