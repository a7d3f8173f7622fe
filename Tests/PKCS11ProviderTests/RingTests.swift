// The way that applications go: rings in shared memory to hosts on sockets, found through a directory file. The hosts are
// threads of this process, with SoftHSM behind them; they stop, start again and freeze under load.

import CCryptoki
import Foundation
import OperationWire
import RingLink
import Synchronization
import Testing

@testable import PKCS11Provider

/// A host on a socket, in front of a SoftHSM token.
final class RingHost: Sendable {
    private final class Service: RingService {
        let host: SoftHSMHost
        init(_ host: SoftHSMHost) { self.host = host }
        func mayConnect(_ peer: RingPeer) -> Bool { peer.user == getuid() }
        func connected(_ client: UInt64, _ peer: RingPeer) {}
        func disconnected(_ client: UInt64) {}
        func makeWorker() -> any RingWorker { Worker(host) }
    }

    private final class Worker: RingWorker {
        let host: SoftHSMHost
        init(_ host: SoftHSMHost) { self.host = host }

        func serve(
            _ request: UnsafeRawBufferPointer, from client: UInt64, deadline: Int64,
            into reply: inout [UInt8]
        ) {
            guard let read = try? OperationRequest(decoding: request) else { return }
            while host.state.withLock({ $0.behavior }) == .frozen { usleep(1_000) }
            reply = (try? host.serve(read).encode()) ?? []
        }

        func rest() {}
    }

    let host: SoftHSMHost
    let path: String
    private let server = Mutex<RingServer?>(nil)

    init(_ host: SoftHSMHost, folder: String) {
        self.host = host
        path = folder + "/" + host.name
    }

    func start() throws {
        let incarnation = host.state.withLock { $0.incarnation }
        let made = try RingServer(
            settings: RingServerSettings(path: path, workers: 4, incarnation: incarnation),
            service: Service(host))
        try made.start()
        made.announce(.serving)
        server.withLock { $0 = made }
    }

    func stop() {
        host.behave(.well)
        guard let running = server.withLock({ $0.take() }) else { return }
        running.stop()
        _ = running.waitUntilStopped(until: RingClock.now() + 5_000_000_000)
        host.restart()
    }
}

/// Three hosts, a directory, and an application that is logged in.
final class RingCluster {
    let hosts: [RingHost]
    let folder: String
    let application: Application

    init(hedgeMilliseconds: UInt32 = 100, deadlineMilliseconds: UInt32 = 2_000) throws {
        let network = try Stage.network()
        // Socket paths have 107 bytes at most.
        folder = "/tmp/hsmcluster-ring-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var directory = network.published.withLock { $0 }
        directory.hedgeMilliseconds = hedgeMilliseconds
        directory.deadlineMilliseconds = deadlineMilliseconds
        hosts = network.hosts.map { [folder] in RingHost($0, folder: folder) }
        for (index, host) in hosts.enumerated() {
            directory.endpoints[index].socketPath = host.path
            try host.start()
        }
        try Data(directory.encode()).write(to: URL(filePath: folder + "/directory"), options: .atomic)
        let local = LocalNetwork(runDirectory: folder)
        application = try Application(network: network, over: local)
    }

    deinit {
        _ = cFinalize(nil)
        for host in hosts { host.stop() }
        try? FileManager.default.removeItem(atPath: folder)
    }
}

extension ProviderTests {
    @Suite(.serialized) struct Rings {
        @Test func everythingWorksThroughSharedMemory() throws {
            let cluster = try RingCluster()
            let application = cluster.application
            let wanted = try application.mac([1, 2, 3])
            #expect(wanted.count == 16)
            let derived = try application.derive([UInt8](repeating: 5, count: 16))
            #expect(try application.mac([7], key: derived).count == 16)
            #expect(try application.value(derived).count == 16)
            var random = [UInt8](repeating: 0, count: 200_000)
            #expect(cGenerateRandom(application.session, &random, CK_ULONG(random.count)) == CKR_OK)
            // More than a small lane holds.
            let long = [UInt8](repeating: 1, count: 500_000)
            #expect(try application.mac(long) == application.mac(long))
        }

        @Test func hostsThatStopAndStartAgainAreNotNoticed() async throws {
            let cluster = try RingCluster()
            let outcome = try await underLoad(cluster) {
                for host in cluster.hosts + cluster.hosts {
                    host.stop()
                    try await Task.sleep(for: .milliseconds(100))
                    try host.start()
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            #expect(outcome.failed == [:])
            #expect(outcome.done > 500)
        }

        @Test func aFrozenHostCostsAHedgeAtMost() async throws {
            let cluster = try RingCluster()
            let outcome = try await underLoad(cluster) {
                for host in cluster.hosts {
                    host.host.behave(.frozen)
                    try await Task.sleep(for: .milliseconds(500))
                    host.host.behave(.well)
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            #expect(outcome.failed == [:])
            #expect(outcome.done > 500)
        }

        struct Outcome: Sendable {
            var done = 0
            var failed: [CK_RV: Int] = [:]
            var longestNanoseconds: Int64 = 0
        }

        /// Signs on four threads, on two of them with derived keys, while `events` happen; what is signed is compared.
        private func underLoad(
            _ cluster: RingCluster, _ events: () async throws -> Void
        ) async throws -> Outcome {
            let load = Load(isOver: false)
            let wanted = try cluster.application.mac([1, 2, 3])
            let threads = 4
            for number in 0..<threads {
                Thread.detachNewThread {
                    let outcome = Self.sign(load, wanted, isDeriving: number < 2)
                    load.total.withLock { all in
                        all.done += outcome.done
                        all.failed.merge(outcome.failed) { $0 + $1 }
                        all.longestNanoseconds = max(all.longestNanoseconds, outcome.longestNanoseconds)
                    }
                    load.finished.add(1, ordering: .releasing)
                }
            }
            defer {
                load.isOver.store(true, ordering: .releasing)
                // The application ends with the cluster object; not before its threads.
                withExtendedLifetime(cluster) {}
            }
            try await events()
            load.isOver.store(true, ordering: .releasing)
            for _ in 0..<1_000 where load.finished.load(ordering: .acquiring) < threads {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(load.finished.load(ordering: .acquiring) == threads)
            let outcome = load.total.withLock { $0 }
            if ProcessInfo.processInfo.environment["HSMCLUSTER_PRINT_FIGURES"] != nil {
                let stall = outcome.longestNanoseconds / 1_000_000
                FileHandle.standardError.write(
                    Data("\(outcome.done) operations, the longest took \(stall) ms\n".utf8))
            }
            return outcome
        }

        private final class Load: Sendable {
            let isOver: Atomic<Bool>
            let finished = Atomic<Int>(0)
            let total = Mutex(Outcome())
            init(isOver: Bool) { self.isOver = Atomic(isOver) }
        }

        private static func sign(_ load: Load, _ wanted: [UInt8], isDeriving: Bool) -> Outcome {
            var outcome = Outcome()
            var session: CK_SESSION_HANDLE = 0
            guard cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &session) == CKR_OK else {
                return outcome
            }
            defer { _ = cCloseSession(session) }
            var signature = [UInt8](repeating: 0, count: 16)
            while !load.isOver.load(ordering: .acquiring) {
                let begin = RingClock.now()
                var result: CK_RV = CKR_OK
                if isDeriving {
                    var handle: CK_OBJECT_HANDLE = 0
                    result = derive(session, &handle)
                    if result == CKR_OK {
                        result = sign(session, handle, &signature)
                        _ = cDestroyObject(session, handle)
                    }
                } else {
                    result = sign(session, 1, &signature)
                    if result == CKR_OK, signature != wanted { result = CKR_SIGNATURE_INVALID }
                }
                outcome.longestNanoseconds = max(outcome.longestNanoseconds, RingClock.now() - begin)
                if result == CKR_OK { outcome.done += 1 } else { outcome.failed[result, default: 0] += 1 }
            }
            return outcome
        }

        private static func sign(
            _ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE, _ signature: inout [UInt8]
        ) -> CK_RV {
            var mechanism = CK_MECHANISM(mechanism: 0x108A, pParameter: nil, ulParameterLen: 0)
            let begun = cSignInit(session, &mechanism, key)
            guard begun == CKR_OK else { return begun }
            var data: [UInt8] = [1, 2, 3]
            var length: CK_ULONG = 16
            return cSign(session, &data, 3, &signature, &length)
        }

        private static func derive(_ session: CK_SESSION_HANDLE, _ handle: inout CK_OBJECT_HANDLE) -> CK_RV {
            var data = [UInt8](repeating: 5, count: 16)
            let template = [
                WireAttribute(0x100, bytes: ulongBytes(0x1F)), WireAttribute(0x161, bytes: ulongBytes(16)),
                WireAttribute(0x108, bytes: [1]),
            ]
            return data.withUnsafeMutableBufferPointer { data in
                var string = CK_KEY_DERIVATION_STRING_DATA(
                    pData: data.baseAddress, ulLen: CK_ULONG(data.count))
                return withUnsafeMutableBytes(of: &string) { raw in
                    var mechanism = CK_MECHANISM(
                        mechanism: 0x1104, pParameter: raw.baseAddress, ulParameterLen: CK_ULONG(raw.count))
                    return withTemplate(template) { cDeriveKey(session, &mechanism, 1, $0, $1, &handle) }
                }
            }
        }
    }
}
