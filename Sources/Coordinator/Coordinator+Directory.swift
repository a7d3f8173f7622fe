import ClusterConfiguration
import ClusterModel
import Dispatch
import Glibc
import KeyCatalog
import Logging
import NodeCore
import OperationWire
import TokenHostLink

// What this node tells the applications of its machine: a file with the endpoints, the keys and the
// mechanisms, and a mapped page whose counter says that the file has changed. Both stay when the node stops,
// so that applications go on with the last view. The node's queue only compares; a queue of its own writes.

/// Publishes the directory of one node. `consider` is called on the node's queue.
final class DirectoryPublisher: @unchecked Sendable {
    // Safe: `inputs` and `published` are touched by `consider` only, on the node's queue; `pulse` and `epoch`
    // only on `writing`, which is serial.

    /// What a directory is made of, as far as it changes.
    private struct Inputs: Equatable {
        var applied: LogIndex
        var tokens: [TokenDescription?]
    }

    private let configuration: NodeConfiguration
    private let logger: Logger
    private let writing = DispatchQueue(label: "hsmcluster.directory")
    private let runDirectory: String
    private var inputs: Inputs?
    private var published: Directory?
    private var pulse: PulseFile?
    private var epoch: UInt64 = 0

    init(configuration: NodeConfiguration, logger: Logger) throws(CoordinatorError) {
        self.configuration = configuration
        self.logger = logger
        runDirectory = configuration.stateDirectory + "/run"
        try StateDirectory.make(runDirectory)
        let pulse = try PulseFile(path: runDirectory + "/" + PulsePage.fileName)
        epoch = pulse.epoch
        self.pulse = pulse
    }

    /// Publishes a new directory if something in it has changed.
    func consider(_ node: Node) {
        let now = Inputs(
            applied: node.appliedIndex,
            tokens: configuration.endpoints.map { node.localEndpoints[$0.name]?.token })
        guard now != inputs else { return }
        inputs = now
        let directory = Self.directory(configuration, node)
        guard directory != published else { return }
        published = directory
        writing.async { self.write(directory) }
    }

    /// Waits until all is written.
    func flush() { writing.sync {} }

    private func write(_ directory: Directory) {
        var directory = directory
        directory.epoch = epoch + 1
        let path = runDirectory + "/" + PulsePage.directoryFileName
        do {
            try Self.replace(path, with: try directory.encode())
        } catch {
            return logger.error(
                "the directory for applications cannot be written to \(path): \(error). Check stateDirectory and its permissions."
            )
        }
        epoch += 1
        pulse?.announce(epoch)
    }

    private static func replace(_ path: String, with bytes: [UInt8]) throws(SystemCallError) {
        let temporary = path + ".new"
        try SystemFile.write(bytes, to: temporary, durably: false)
        try SystemFile.rename(temporary, to: path, durably: false)
    }

    fileprivate static func problem(_ path: String) -> CoordinatorError {
        CoordinatorError(
            "\(path): \(String(cString: strerror(errno))). Check stateDirectory and its permissions.")
    }
}

/// The page that tells readers to read again.
private final class PulseFile {
    private let page: UnsafeMutableRawPointer

    init(path: String) throws(CoordinatorError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw DirectoryPublisher.problem(path) }
        defer { close(descriptor) }
        // Never made shorter: readers have it mapped.
        guard ftruncate(descriptor, PulsePage.bytes) == 0,
            let mapped = mmap(nil, PulsePage.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            mapped != MAP_FAILED
        else { throw DirectoryPublisher.problem(path) }
        page = mapped
        UnsafeMutableRawBufferPointer(start: page, count: PulsePage.magic.count).copyBytes(
            from: PulsePage.magic)
    }

    deinit { munmap(page, PulsePage.bytes) }

    /// The counter. An aligned word of eight bytes is written in one piece.
    var epoch: UInt64 { page.load(fromByteOffset: PulsePage.epochOffset, as: UInt64.self) }
    func announce(_ epoch: UInt64) {
        page.storeBytes(of: epoch, toByteOffset: PulsePage.epochOffset, as: UInt64.self)
    }
}

// MARK: - The content

extension DirectoryPublisher {
    private static let labelBytes = 32
    private static let secretKeyClass: UInt64 = 4

    /// The directory as it follows from the catalog and this node's tokens; its epoch is 0.
    static func directory(_ configuration: NodeConfiguration, _ node: Node) -> Directory {
        let endpoints = configuration.endpoints.sorted { $0.name < $1.name }
        var positions: [EndpointName: UInt32] = [:]
        for (position, endpoint) in endpoints.enumerated() { positions[endpoint.name] = UInt32(position) }
        let inService = Set(node.catalog.endpointsInService)
        return Directory(
            epoch: 0, clusterName: configuration.cluster, tokenLabel: label(configuration.cluster),
            tokenSerialNumber: serialNumber(configuration.cluster),
            loginRequired: !configuration.users.isEmpty,
            endpoints: endpoints.map { endpoint in
                Directory.Endpoint(
                    name: endpoint.name.rawValue,
                    service: inService.contains(endpoint.name) ? .inService : .out,
                    weight: UInt32(clamping: max(1, endpoint.weight)),
                    priority: UInt32(clamping: endpoint.priority),
                    socketPath: StateDirectory.dataSocket(endpoint.name, in: configuration.stateDirectory))
            },
            mechanisms: mechanisms(
                endpoints.filter { inService.contains($0.name) }
                    .compactMap { node.localEndpoints[$0.name]?.token?.mechanismDetails }),
            keys: node.catalog.keysInOrder.compactMap { key($0, positions) })
    }

    /// As many whole characters as fit into CK_TOKEN_INFO.
    static func label(_ cluster: String) -> String {
        var label = ""
        for character in cluster {
            guard label.utf8.count + character.utf8.count <= labelBytes else { break }
            label.append(character)
        }
        return label
    }

    /// Sixteen digits that depend on the cluster's name only (FNV-1a).
    static func serialNumber(_ cluster: String) -> String {
        let digits = String(FNV1a.hash(cluster.utf8), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// What all tokens have, with the narrowest key sizes and the flags that all give.
    static func mechanisms(_ tokens: [[MechanismDescription]]) -> [MechanismDescription] {
        guard let first = tokens.first else { return [] }
        var common: [UInt64: MechanismDescription] = [:]
        for mechanism in first { common[mechanism.type] = mechanism }
        for token in tokens.dropFirst() {
            var next: [UInt64: MechanismDescription] = [:]
            for other in token {
                guard var mechanism = common[other.type] else { continue }
                mechanism.minimumKeySize = max(mechanism.minimumKeySize, other.minimumKeySize)
                mechanism.maximumKeySize = min(mechanism.maximumKeySize, other.maximumKeySize)
                mechanism.flags &= other.flags
                next[other.type] = mechanism
            }
            common = next
        }
        return common.values.sorted { $0.type < $1.type }
    }

    /// A usable key with its verified replicas; nil for others.
    private static func key(_ key: MasterKey, _ positions: [EndpointName: UInt32]) -> Directory.Key? {
        guard case .usable = key.state, let generated = key.generated,
            (1...DirectoryLimits.keyNumber).contains(key.number)
        else { return nil }
        var flags: Directory.Key.Flags = [.isPrivate, .sensitive]
        if key.usage.contains(.derive) { flags.insert(.derive) }
        if key.usage.contains(.mac) { flags.formUnion([.sign, .verify]) }
        if key.usage.contains(.encrypt) { flags.formUnion([.encrypt, .decrypt]) }
        let identifier = generated.identity.bytes
        return Directory.Key(
            number: key.number, objectClass: secretKeyClass, keyType: keyType(key.algorithm),
            label: key.label,
            identifier: identifier, length: UInt64(key.algorithm.keyBytes), flags: flags,
            replicas: key.verifiedEndpoints.compactMap { name in
                positions[name].map { Directory.Key.Replica(endpoint: $0, identifier: identifier) }
            })
    }

    /// CKK_AES, CKK_DES3.
    private static func keyType(_ algorithm: KeyAlgorithm) -> UInt64 {
        switch algorithm {
        case .aes128, .aes256: 0x1F
        case .desEDE3: 0x15
        }
    }
}
