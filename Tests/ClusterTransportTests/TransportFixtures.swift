// Helpers for tests with real sockets: a recorder of events, bounded waiting, and a bare TCP client that
// can misbehave in every way.

import ClusterModel
import Foundation
import Synchronization

@testable import ClusterTransport

/// Everything a transport reported, in order.
final class EventRecorder: Sendable {
    private let events = Mutex<[TransportEvent]>([])

    func record(_ event: TransportEvent) { events.withLock { $0.append(event) } }
    var all: [TransportEvent] { events.withLock { $0 } }

    var rejections: [LinkFailure] {
        all.compactMap { if case .rejected(_, let reason) = $0 { reason } else { nil } }
    }

    func framesReceived(from node: UInt64) -> [Frame] {
        all.compactMap { if case .frame(let frame, NodeID(node)) = $0 { frame } else { nil } }
    }

    func linkUps(_ node: UInt64) -> Int {
        all.count { if case .linkUp(NodeID(node)) = $0 { true } else { false } }
    }

    func downs(_ node: UInt64) -> [LinkFailure] {
        all.compactMap { if case .linkDown(NodeID(node), let reason) = $0 { reason } else { nil } }
    }

    func dialFailures(_ node: UInt64) -> [LinkFailure] {
        all.compactMap { if case .dialFailed(NodeID(node), _, let reason) = $0 { reason } else { nil } }
    }
}

/// Waits until the condition holds. The bound only keeps a broken test from hanging.
func eventually(_ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<6000 {
        if condition() { return true }
        try await Task.sleep(nanoseconds: 5_000_000)
    }
    return condition()
}

/// Descriptors of this process that belong to a port: its listener and the connections accepted there.
/// Other tests have sockets of their own, so a plain count would tell nothing.
func openSockets(onPort port: UInt16) -> Int {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.compactMap { Int32($0) }.count { descriptor in
        var family: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 else { return false }
        return [AF_INET, AF_INET6].contains(family) && SystemCalls.localPort(of: descriptor) == port
    }
}

/// A TCP client without manners.
final class RawClient {
    private let descriptor: Int32

    init?(port: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let outcome = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard outcome == 0 else { return nil }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Reads until the other side closes; false if it hasn't within the time limit.
    func isClosedByServer() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let got = recv(descriptor, &buffer, buffer.count, 0)
            if got == 0 { return true }
            if got < 0 { return errno == ECONNRESET }
        }
    }

    /// Reads what the server has sent, waiting for at least one byte; empty at the end.
    func receive() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let got = recv(descriptor, &buffer, buffer.count, 0)
        return Array(buffer.prefix(max(0, got)))
    }

    /// Closes with a reset instead of a proper end.
    func resetOnClose() {
        var setting = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &setting, socklen_t(MemoryLayout<linger>.size))
    }
}

/// A visitor with a good certificate that does what a node wouldn't.
final class TLSVisitor {
    let client: RawClient
    private let tls: TLSEngine
    private(set) var received: [UInt8] = []

    init?(port: UInt16, identity: TransportIdentity, node: UInt64) throws {
        guard let client = RawClient(port: port) else { return nil }
        self.client = client
        let expected = NodeIdentityURI(clusterName: "test", node: NodeID(node))
        tls = try TLSEngine(context: TLSContext(identity: identity, expected: expected), role: .client)
        try tls.receive(UnsafeRawBufferPointer(start: nil, count: 0))
        client.send(tls.takeCiphertext(upTo: 1 << 20))
        // Until the acceptor's hello has come.
        while received.isEmpty {
            let bytes = client.receive()
            guard !bytes.isEmpty else { return nil }
            try bytes.withUnsafeBytes { try tls.receive($0) }
            client.send(tls.takeCiphertext(upTo: 1 << 20))
            try tls.readPlaintext(into: &received)
        }
    }

    func send(_ plaintext: [UInt8]) throws {
        try tls.write(plaintext[...])
        client.send(tls.takeCiphertext(upTo: 1 << 26))
    }

    func sendHello(node: UInt64, cluster: String = "test") throws {
        var bytes: [UInt8] = []
        let hello = Hello(minimumVersion: 1, maximumVersion: 1, clusterName: cluster, node: NodeID(node))
        Frame(kind: Frame.helloKind, payload: hello.encoded).encode(into: &bytes)
        try send(bytes)
    }
}

/// One node under test.
struct TestNode {
    let transport: ClusterTransport
    let recorder: EventRecorder
    var port: UInt16 { transport.listeningPort ?? 0 }

    static func start(
        _ number: UInt64, peers: [PeerAddress], identity: TransportIdentity, cluster: String = "test",
        port: UInt16 = 0, settings: TransportSettings = TransportSettings(), delivery: DispatchQueue? = nil,
        onEvent: (@Sendable (TransportEvent) -> Void)? = nil
    ) throws -> TestNode {
        let recorder = EventRecorder()
        let transport = try ClusterTransport(
            local: NodeID(number), clusterName: cluster, listen: .address(host: "127.0.0.1", port: port),
            peers: peers, identity: identity, settings: settings, label: "test.node.\(number)",
            delivery: delivery,
            onEvent: { event in
                recorder.record(event)
                onEvent?(event)
            })
        try transport.start()
        return TestNode(transport: transport, recorder: recorder)
    }

    /// How others reach this node.
    func address(_ number: UInt64) -> PeerAddress {
        PeerAddress(node: NodeID(number), host: "127.0.0.1", port: port)
    }
}

/// The address of a node that dials us, and that we therefore never dial.
func dialer(_ number: UInt64) -> PeerAddress { PeerAddress(node: NodeID(number), host: "127.0.0.1", port: 1) }
