// The floor plan of Sources/ (docs/ARCHITECTURE.md) as data: upper floors import lower ones only, and each
// foreign library has a home, outside of which nobody depends on it. A new target gets its line here.

/// Where a target stands and what it may import from outside the repository.
struct Target: Sendable {
    let floor: Int
    /// Foreign modules, beyond the standard library.
    let foreign: Set<String>

    init(_ floor: Int, _ foreign: Set<String> = []) {
        self.floor = floor
        self.foreign = foreign
    }
}

/// The plan.
enum FloorPlan {
    /// Floor 0 takes nothing from outside: no clock, no socket, no file, no randomness of its own.
    static let targets: [String: Target] = [
        "ClusterModel": Target(0),
        "Raft": Target(0),
        "Gossip": Target(0),
        "KeyCatalog": Target(0),
        "Failover": Target(0),
        "NodeCore": Target(0),
        "WireFormat": Target(0),
        "ManagementModel": Target(0),
        "OperationWire": Target(0),
        "Linearizability": Target(0),

        "CP11Kit": Target(1),
        "CCryptoki": Target(1),
        "COpenSSL": Target(1),
        "CCrypt": Target(1),
        "CProcess": Target(1),
        "CSharedMemory": Target(1),
        "CSystemd": Target(1),
        "PKCS11": Target(1, ["Glibc", "Synchronization"]),
        "SystemdNotify": Target(1, ["Glibc", "Dispatch", "Logging", "Synchronization"]),
        "TokenHostLink": Target(1, ["Glibc", "Dispatch", "Synchronization"]),
        "RingLink": Target(1, ["Glibc", "Synchronization"]),
        "ClusterConfiguration": Target(1, ["Glibc", "Yams"]),
        "Storage": Target(1, ["Foundation", "Glibc", "GRDB", "Synchronization"]),
        "ClusterTransport": Target(1, ["Glibc", "Dispatch", "Synchronization"]),

        "TokenOperations": Target(2, ["Glibc", "Synchronization"]),
        "TokenHost": Target(2, ["Glibc", "Dispatch", "Synchronization", "Logging"]),
        "Coordinator": Target(2, ["Glibc", "Dispatch", "Foundation", "Synchronization", "Logging"]),

        "ManagementAPI": Target(3, webModules),
        "ManagementClient": Target(3, webModules.union(["AsyncHTTPClient"])),

        // A guest in the application's process: no Foundation, no Dispatch, no concurrency.
        "PKCS11Provider": Target(3, ["Glibc", "Synchronization"]),

        "hsmclusterd": Target(4, programModules),
        "hsmtokend": Target(4, programModules),
        "hsmcluster": Target(4, programModules),
        "hsmcluster-bench": Target(4, programModules),

        // The simulator drives floor 0 and must stay as pure.
        "ClusterSimulator": Target(1),
        "hsmcluster-simulator": Target(4, programModules),
    ]

    /// C modules have one importer each: the target that makes them safe.
    static let soleImporters: [String: String] = [
        "CP11Kit": "PKCS11",
        "CCryptoki": "PKCS11Provider",
        "COpenSSL": "ClusterTransport",
        "CCrypt": "TokenHost",
        "CSharedMemory": "RingLink",
        "CSystemd": "SystemdNotify",
    ]

    private static let webModules: Set<String> = [
        "Foundation", "Glibc", "Dispatch", "Synchronization", "Logging", "ServiceLifecycle",
        "Hummingbird", "HummingbirdCore", "HummingbirdTLS", "HTTPTypes",
        "NIOHTTPTypes", "NIOCore", "NIOPosix", "NIOSSL", "NIOHTTP1", "NIOTLS", "NIOFoundationCompat",
        "NIOConcurrencyHelpers",
        "X509", "SwiftASN1",
    ]

    private static let programModules: Set<String> = [
        "ArgumentParser", "Foundation", "Glibc", "Dispatch", "Synchronization", "Logging", "ServiceLifecycle",
    ]
}
