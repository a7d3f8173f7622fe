// Many thousands of connects and closes against one transport, most of them whole links, some cut off in the
// middle of TLS or reset: nothing may be left behind. The open report of a use-after-free in libdispatch under
// concurrent set-up and tear-down of sources (swift-corelibs-libdispatch issue 949) is why this soak exists.
// Tests/soak runs it at full length and in a process of its own, where memory can be judged.

import ClusterModel
import Foundation
import Synchronization
import Testing

@testable import ClusterTransport

@Suite(.serialized) struct LinkSoakTests {
    /// What one connection of the soak does.
    private enum Visit: Int, CaseIterable {
        /// A link of a transport: TLS, hello, up, closed in order.
        case link, secondLink, thirdLink, fourthLink, fifthLink, sixthLink
        /// TLS stands, then a bare close.
        case closedBeforeHello
        /// TLS stands, then a reset.
        case resetBeforeHello
        /// A few bytes that begin like TLS, then a reset.
        case resetInTLS
        /// Connected and closed.
        case silent
    }

    @Test(.timeLimit(.minutes(240)))
    func churnLeavesNeitherDescriptorsNorMemoryBehind() async throws {
        // HSMCLUSTER_SOAK_LINKS says how many connects; the default suits a test among others.
        let wanted = ProcessInfo.processInfo.environment["HSMCLUSTER_SOAK_LINKS"].flatMap { Int($0) }
        let total = max(wanted ?? 500, 100)
        let authority = try TestAuthority()
        let identities = [
            try authority.identity(of: 1), try authority.identity(of: 2), try authority.identity(of: 9),
        ]
        let ups = Mutex<[UInt64: Int]>([:])
        let steadyDowns = Mutex<[LinkFailure]>([])
        // Counted, not recorded: a recorder would grow with every connection.
        let acceptor = try ClusterTransport(
            local: NodeID(9), clusterName: "test", listen: .address(host: "127.0.0.1", port: 0),
            peers: [dialer(1), dialer(2)], identity: identities[2],
            onEvent: { event in
                switch event {
                case .linkUp(let node): ups.withLock { $0[node.rawValue, default: 0] += 1 }
                case .linkDown(NodeID(1), let reason): steadyDowns.withLock { $0.append(reason) }
                default: break
                }
            })
        try acceptor.start()
        let port = try #require(acceptor.listeningPort)
        let address = PeerAddress(node: NodeID(9), host: "127.0.0.1", port: port)
        let steady = try TestNode.start(1, peers: [address], identity: identities[0])
        #expect(try await eventually { ups.withLock { $0[1] == 1 } })

        var samples: [Sample] = []
        for number in 0..<total {
            let visit = Visit(rawValue: number % Visit.allCases.count) ?? .link
            try await carryOut(visit, at: address, identity: identities[1])
            if number % max(total / 50, 1) == 0 { samples.append(Sample(after: number, port: port)) }
        }
        // The listener, the steady link's two ends, and nothing else.
        #expect(try await eventually { openSockets(onPort: port) == 2 })
        samples.append(Sample(after: total, port: port))
        if wanted != nil {
            print(samples.map(\.text).joined(separator: "\n"))
            expectFlat(samples, total: total)
        }
        #expect(steadyDowns.withLock { $0 } == [])
        #expect(acceptor.statistics.links.first { $0.node == NodeID(1) }?.isUp == true)
        #expect(acceptor.statistics.connectionsAccepted >= UInt64(total))
        steady.transport.stop()
        acceptor.stop()
        #expect(openSockets(onPort: port) == 0)
    }

    private func carryOut(_ visit: Visit, at address: PeerAddress, identity: TransportIdentity) async throws {
        switch visit {
        case .link, .secondLink, .thirdLink, .fourthLink, .fifthLink, .sixthLink:
            try await openAndCloseLink(to: address, identity: identity)
        case .closedBeforeHello, .resetBeforeHello:
            let visitor = try #require(try TLSVisitor(port: address.port, identity: identity, node: 2))
            if visit == .resetBeforeHello { visitor.client.resetOnClose() }
        case .resetInTLS:
            let client = try #require(RawClient(port: address.port))
            client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
            client.resetOnClose()
        case .silent:
            _ = RawClient(port: address.port)
        }
    }

    private func openAndCloseLink(to address: PeerAddress, identity: TransportIdentity) async throws {
        let state = LinkState()
        let transport = try ClusterTransport(
            local: NodeID(2), clusterName: "test", listen: .address(host: "127.0.0.1", port: 0),
            peers: [address], identity: identity, onEvent: { state.take($0) })
        try transport.start()
        defer { transport.stop() }
        // Polled finely: the soak is long enough without waiting.
        for _ in 0..<60_000 where !state.isUp { try await Task.sleep(for: .microseconds(500)) }
        #expect(state.isUp, "no link: \(state.failures)")
    }

    /// Between a fifth of the way and the end, memory may drift, but by far less than a leaked object a link.
    private func expectFlat(_ samples: [Sample], total: Int) {
        guard let last = samples.last, let early = samples.first(where: { $0.after >= total / 5 }) else {
            return
        }
        #expect(last.residentKilobytes - early.residentKilobytes < 16 * 1024)
        #expect(last.descriptors <= early.descriptors + 4)
    }

    /// What the process holds at some point of the soak.
    private struct Sample {
        let after: Int
        let residentKilobytes: Int
        let descriptors: Int
        let sockets: Int

        init(after: Int, port: UInt16) {
            self.after = after
            let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?
                .split(separator: " ").dropFirst().first.flatMap { Int($0) }
            residentKilobytes = (pages ?? 0) * sysconf(Int32(_SC_PAGESIZE)) / 1024
            descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
            sockets = openSockets(onPort: port)
        }

        var text: String {
            "soak: after \(after) connects: \(residentKilobytes) KiB resident, \(descriptors) descriptors, "
                + "\(sockets) sockets on the port"
        }
    }

    /// What a dialer saw of its one link.
    private final class LinkState: Sendable {
        private let state = Mutex<(isUp: Bool, failures: [LinkFailure])>((false, []))
        var isUp: Bool { state.withLock { $0.isUp } }
        var failures: [LinkFailure] { state.withLock { $0.failures } }

        func take(_ event: TransportEvent) {
            state.withLock { state in
                switch event {
                case .linkUp: state.isUp = true
                case .dialFailed(_, _, let reason): state.failures.append(reason)
                default: break
                }
            }
        }
    }
}
