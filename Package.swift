// swift-tools-version: 6.1
import PackageDescription

// Floors: a target imports lower ones only (docs/ARCHITECTURE.md). The build enforces the lists below with
// --explicit-target-dependency-import-check error.

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")

let package = Package(
    name: "HSMCluster",
    products: [
        .executable(name: "hsmclusterd", targets: ["hsmclusterd"]),
        .executable(name: "hsmtokend", targets: ["hsmtokend"]),
        .executable(name: "hsmcluster", targets: ["hsmcluster"]),
        .executable(name: "hsmcluster-simulator", targets: ["hsmcluster-simulator"]),
        .executable(name: "hsmcluster-bench", targets: ["hsmcluster-bench"]),
        // What applications load. cluster/provider/build makes the one to install, with the Swift runtime inside.
        .library(name: "hsmcluster-pkcs11", type: .dynamic, targets: ["PKCS11Provider"]),
        // A PKCS#11 module that misbehaves on command, for tests.
        .library(name: "FaultyModule", type: .dynamic, targets: ["FaultyModule"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Floor 0, pure: no clock, no sockets, no files, no randomness of their own.
        .target(name: "ClusterModel"),
        .target(name: "WireFormat", dependencies: ["ClusterModel"]),
        .target(name: "Raft", dependencies: ["ClusterModel"]),
        .target(name: "Gossip", dependencies: ["ClusterModel"]),
        .target(name: "Failover", dependencies: ["ClusterModel"]),
        .target(name: "KeyCatalog", dependencies: ["ClusterModel", "WireFormat"]),
        .target(
            name: "NodeCore", dependencies: ["ClusterModel", "WireFormat", "Raft", "Gossip", "KeyCatalog"]),
        .target(name: "ManagementModel", dependencies: ["ClusterModel"]),
        .target(name: "OperationWire", dependencies: ["ClusterModel"]),
        .target(name: "Linearizability"),
        // Floor 1, edges.
        .systemLibrary(
            name: "CP11Kit", pkgConfig: "p11-kit-1", providers: [.apt(["libp11-kit-dev"])]),
        .systemLibrary(name: "CCryptoki", providers: [.apt(["libp11-kit-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(name: "CProcess"),
        .systemLibrary(name: "CSharedMemory"),
        .target(name: "RingLink", dependencies: ["CSharedMemory"]),
        .target(name: "PKCS11", dependencies: ["CP11Kit"]),
        .target(
            name: "Storage",
            dependencies: [
                "ClusterModel", "WireFormat", "Raft", "KeyCatalog",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        .target(name: "ClusterTransport", dependencies: ["ClusterModel", "COpenSSL"]),
        .target(name: "TokenHostLink", dependencies: ["ClusterModel", "WireFormat", "CProcess"]),
        .target(
            name: "ClusterConfiguration",
            dependencies: ["ClusterModel", .product(name: "Yams", package: "Yams")]),
        .target(name: "SystemdNotify", dependencies: ["CSystemd", logging]),
        // Floor 2, shells.
        .target(name: "TokenOperations", dependencies: ["ClusterModel", "PKCS11"]),
        .target(
            name: "TokenHost",
            dependencies: [
                "ClusterModel", "WireFormat", "TokenHostLink", "PKCS11", "TokenOperations", "CCrypt",
                "CProcess", "OperationWire", "RingLink",
            ]),
        .target(
            name: "Coordinator",
            dependencies: [
                "ClusterModel", "NodeCore", "Raft", "Gossip", "KeyCatalog", "ManagementModel", "Storage",
                "ClusterTransport", "TokenHostLink", "OperationWire", "ClusterConfiguration", logging,
            ]),
        // Floor 3, interfaces.
        .target(
            name: "ManagementAPI",
            dependencies: [
                "ClusterModel", "ManagementModel", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"), logging, lifecycle, httpTypes,
                nioCore, nioSSL,
            ]),
        .target(
            name: "ManagementClient",
            dependencies: [
                "ClusterModel", "ManagementModel", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL,
            ]),
        .target(
            name: "PKCS11Provider",
            dependencies: ["CCryptoki", "ClusterModel", "Failover", "OperationWire", "RingLink"]),
        // Floor 4, programs.
        .executableTarget(
            name: "hsmclusterd",
            dependencies: [
                "ClusterModel", "ClusterConfiguration", "Coordinator", "ManagementAPI", "ManagementModel",
                "SystemdNotify",
                arguments, logging, lifecycle,
            ]),
        .executableTarget(name: "hsmtokend", dependencies: ["TokenHost", "TokenHostLink"]),
        .executableTarget(
            name: "hsmcluster",
            dependencies: [
                "ClusterModel", "ClusterConfiguration", "ManagementModel", "ManagementClient", arguments,
            ]),

        // Test support: whole clusters in virtual time, with faulty networks, disks, processes and HSMs.
        .target(
            name: "ClusterSimulator",
            dependencies: ["ClusterModel", "WireFormat", "Raft", "Gossip", "KeyCatalog", "NodeCore"]),
        .executableTarget(name: "hsmcluster-simulator", dependencies: ["ClusterSimulator", arguments]),
        .executableTarget(
            name: "hsmcluster-bench",
            dependencies: ["ClusterModel", "ManagementModel", "ManagementClient", arguments]),
        .target(name: "SoftHSMFixture", dependencies: ["PKCS11"], path: "Tests/SoftHSMFixture"),
        .target(name: "FaultyModule", dependencies: ["CP11Kit"], path: "Tests/FaultyModule"),
        .target(
            name: "ManagementFixture",
            dependencies: ["ClusterModel", "ManagementModel", "ManagementAPI", logging, lifecycle],
            path: "Tests/ManagementAPITests/Fixture"),

        // Tests, one target a module.
        .testTarget(name: "ClusterModelTests", dependencies: ["ClusterModel"]),
        .testTarget(name: "WireFormatTests", dependencies: ["ClusterModel", "WireFormat"]),
        .testTarget(name: "RaftTests", dependencies: ["ClusterModel", "Raft"], exclude: ["Scenarios"]),
        .testTarget(name: "GossipTests", dependencies: ["ClusterModel", "WireFormat", "Gossip"]),
        .testTarget(name: "FailoverTests", dependencies: ["ClusterModel", "Failover"]),
        .testTarget(name: "KeyCatalogTests", dependencies: ["ClusterModel", "WireFormat", "KeyCatalog"]),
        .testTarget(
            name: "NodeCoreTests", dependencies: ["ClusterModel", "Raft", "Gossip", "KeyCatalog", "NodeCore"]),
        .testTarget(name: "ManagementModelTests", dependencies: ["ClusterModel", "ManagementModel"]),
        .testTarget(name: "OperationWireTests", dependencies: ["OperationWire"]),
        .testTarget(name: "LinearizabilityTests", dependencies: ["ClusterModel", "Linearizability"]),
        .testTarget(name: "PKCS11Tests", dependencies: ["PKCS11", "SoftHSMFixture"]),
        .testTarget(
            name: "StorageTests",
            dependencies: [
                "ClusterModel", "Raft", "KeyCatalog", "Storage",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        .testTarget(name: "ClusterTransportTests", dependencies: ["ClusterModel", "ClusterTransport"]),
        .testTarget(
            name: "TokenHostLinkTests", dependencies: ["ClusterModel", "WireFormat", "TokenHostLink"]),
        .testTarget(
            name: "ClusterConfigurationTests", dependencies: ["ClusterModel", "ClusterConfiguration"]),
        .testTarget(name: "SystemdNotifyTests", dependencies: ["SystemdNotify", logging]),
        .testTarget(
            name: "TokenOperationsTests",
            dependencies: ["ClusterModel", "PKCS11", "TokenOperations", "SoftHSMFixture"]),
        .testTarget(
            name: "TokenHostTests",
            dependencies: [
                "ClusterModel", "WireFormat", "PKCS11", "TokenHostLink", "TokenHost", "OperationWire",
                "RingLink", "hsmtokend",
            ]),
        .testTarget(
            name: "ManagementAPITests",
            dependencies: [
                "ClusterModel", "ManagementModel", "ManagementAPI", "ManagementClient", "ManagementFixture",
                logging,
                lifecycle,
            ], exclude: ["Fixture"]),
        .testTarget(
            name: "PKCS11ProviderTests",
            dependencies: ["CCryptoki", "ClusterModel", "OperationWire", "PKCS11Provider", "RingLink"]),
        .testTarget(
            name: "CommandLineTests",
            dependencies: ["ClusterModel", "ManagementModel", "ManagementFixture", "hsmcluster"]),
        .testTarget(name: "RingLinkTests", dependencies: ["RingLink", "CSharedMemory"]),
        .testTarget(name: "SimulationTests", dependencies: ["ClusterSimulator"]),
        .testTarget(name: "TidyTests"),
        .testTarget(
            name: "ClusterTests",
            dependencies: [
                "ClusterModel", "ManagementModel", "ManagementClient", "OperationWire", "hsmclusterd",
                "hsmtokend",
                "hsmcluster",
            ]),
    ],
    swiftLanguageModes: [.v6]
)
