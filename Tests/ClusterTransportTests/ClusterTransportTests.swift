// Whole transports on loopback. What counts is that good links hold whatever else happens on the port.

import ClusterModel
import Dispatch
import Foundation
import Synchronization
import Testing

@testable import ClusterTransport

extension SocketAndCertificateTests {
    @Suite struct ClusterTransportTests {
        private let authority: TestAuthority

        init() throws { authority = try TestAuthority() }

        /// Three nodes, each linked with both others.
        private func mesh(settings: TransportSettings = TransportSettings()) throws -> [TestNode] {
            let third = try TestNode.start(
                3, peers: [dialer(1), dialer(2)], identity: authority.identity(of: 3), settings: settings)
            let second = try TestNode.start(
                2, peers: [dialer(1), third.address(3)], identity: authority.identity(of: 2),
                settings: settings)
            let first = try TestNode.start(
                1, peers: [second.address(2), third.address(3)], identity: authority.identity(of: 1),
                settings: settings)
            return [first, second, third]
        }

        /// Nodes 1 and 2, linked.
        private func pair(
            settings: TransportSettings = TransportSettings(),
            onSecond: (@Sendable (TransportEvent) -> Void)? = nil
        ) async throws -> (TestNode, TestNode) {
            let second = try TestNode.start(
                2, peers: [dialer(1)], identity: authority.identity(of: 2), settings: settings,
                onEvent: onSecond)
            let first = try TestNode.start(
                1, peers: [second.address(2)], identity: authority.identity(of: 1), settings: settings)
            #expect(
                try await eventually { first.recorder.linkUps(2) == 1 && second.recorder.linkUps(1) == 1 })
            return (first, second)
        }

        private func stop(_ nodes: TestNode...) { for node in nodes { node.transport.stop() } }

        @Test func threeNodesFormAFullMeshAndExchangeFrames() async throws {
            let nodes = try mesh()
            for (index, node) in nodes.enumerated() {
                for other in 1...3 as ClosedRange<UInt64> where other != UInt64(index + 1) {
                    #expect(try await eventually { node.recorder.linkUps(other) == 1 })
                    #expect(node.transport.protocolVersion(with: NodeID(other)) == 1)
                }
            }
            for (index, node) in nodes.enumerated() {
                for other in 1...3 as ClosedRange<UInt64> where other != UInt64(index + 1) {
                    #expect(node.transport.send(Frame(kind: 1, payload: [UInt8(index)]), to: NodeID(other)))
                }
            }
            for (index, node) in nodes.enumerated() {
                for other in 1...3 as ClosedRange<UInt64> where other != UInt64(index + 1) {
                    let expected = [Frame(kind: 1, payload: [UInt8(other - 1)])]
                    #expect(try await eventually { node.recorder.framesReceived(from: other) == expected })
                }
                #expect(node.recorder.rejections.isEmpty)
            }
            stop(nodes[0], nodes[1], nodes[2])
        }

        @Test func restartedNodeIsLinkedAgainFromBothSides() async throws {
            let nodes = try mesh()
            for node in [nodes[0], nodes[2]] {
                #expect(try await eventually { node.recorder.linkUps(2) == 1 })
            }
            // Node 2 dials node 3 and is dialed by node 1, so both directions are covered.
            let port = nodes[1].port
            nodes[1].transport.stop()
            for node in [nodes[0], nodes[2]] {
                #expect(try await eventually { node.recorder.downs(2) == [.closedByPeer] })
            }
            #expect(!nodes[0].transport.send(Frame(kind: 1, payload: []), to: NodeID(2)))
            #expect(try await eventually { !nodes[0].recorder.dialFailures(2).isEmpty })
            #expect(nodes[0].recorder.dialFailures(2).first == .connectFailed(errno: ECONNREFUSED))
            let again = try TestNode.start(
                2, peers: [dialer(1), nodes[2].address(3)], identity: authority.identity(of: 2), port: port)
            for node in [nodes[0], nodes[2]] {
                #expect(try await eventually { node.recorder.linkUps(2) == 2 })
            }
            nodes[0].transport.send(Frame(kind: 9, payload: [1]), to: NodeID(2))
            #expect(try await eventually { again.recorder.framesReceived(from: 1).count == 1 })
            stop(nodes[0], again, nodes[2])
        }

        @Test func dialerFindsANodeThatStartsLater() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let address = second.address(2)
            second.transport.stop()
            let first = try TestNode.start(1, peers: [address], identity: authority.identity(of: 1))
            #expect(try await eventually { first.recorder.dialFailures(2).count >= 3 })
            let later = try TestNode.start(
                2, peers: [dialer(1)], identity: authority.identity(of: 2), port: address.port)
            #expect(try await eventually { first.recorder.linkUps(2) == 1 })
            stop(first, later)
        }

        @Test func hostNamesAreResolvedAndUnknownOnesNamed() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let first = try TestNode.start(
                1,
                peers: [
                    PeerAddress(node: NodeID(2), host: "localhost", port: second.port),
                    PeerAddress(node: NodeID(3), host: "no-such-host.invalid", port: 1),
                ], identity: authority.identity(of: 1))
            #expect(try await eventually { first.recorder.linkUps(2) == 1 })
            #expect(try await eventually { !first.recorder.dialFailures(3).isEmpty })
            #expect(
                first.recorder.dialFailures(3).first == .addressUnresolvable(host: "no-such-host.invalid"))
            stop(first, second)
        }

        @Test func peerOfAnotherAuthorityIsRefusedAndReported() async throws {
            let other = try TestAuthority()
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let stranger = try TestNode.start(1, peers: [second.address(2)], identity: other.identity(of: 1))
            #expect(try await eventually { !stranger.recorder.dialFailures(2).isEmpty })
            #expect(stranger.recorder.dialFailures(2).first == .certificateRejected(.untrustedIssuer))
            #expect(try await eventually { !second.recorder.rejections.isEmpty })
            guard case .refusedByPeer = second.recorder.rejections.first else {
                Issue.record("found \(second.recorder.rejections)")
                return
            }
            #expect(second.recorder.linkUps(1) == 0)
            stop(stranger, second)
        }

        @Test func addressOfAnotherNodeIsReported() async throws {
            let third = try TestNode.start(3, peers: [dialer(1)], identity: authority.identity(of: 3))
            let wrong = PeerAddress(node: NodeID(2), host: "127.0.0.1", port: third.port)
            let first = try TestNode.start(1, peers: [wrong], identity: authority.identity(of: 1))
            let expected = LinkFailure.unexpectedNode(expected: NodeID(2), presented: NodeID(3))
            #expect(try await eventually { first.recorder.dialFailures(2).first == expected })
            #expect(
                try await eventually { third.recorder.rejections.first == .refusedByPeer("unexpectedNode") })
            stop(first, third)
        }

        @Test func updatedPeersAreDialedAndRemovedOnesDropped() async throws {
            let second = try TestNode.start(2, peers: [], identity: authority.identity(of: 2))
            let first = try TestNode.start(1, peers: [second.address(2)], identity: authority.identity(of: 1))
            #expect(try await eventually { second.recorder.rejections.contains(.unknownNode(NodeID(1))) })
            try second.transport.updatePeers([dialer(1)])
            #expect(try await eventually { first.recorder.linkUps(2) == 1 })
            try first.transport.updatePeers([])
            #expect(try await eventually { first.recorder.downs(2) == [.peerRemoved] })
            #expect(try await eventually { second.recorder.downs(1) == [.refusedByPeer("peerRemoved")] })
            try first.transport.updatePeers([second.address(2)])
            #expect(try await eventually { first.recorder.linkUps(2) == 2 })
            #expect(throws: TransportSetupError.peersInvalid(NodeID(1))) {
                try first.transport.updatePeers([dialer(1)])
            }
            stop(first, second)
        }

        @Test func reloadedIdentityServesLaterConnections() async throws {
            let (first, second) = try await pair()
            let certificate = try authority.identity(of: 2).certificateChainPath
            try Data("damaged".utf8).write(to: URL(fileURLWithPath: certificate))
            #expect(throws: TransportSetupError.notPEM(path: certificate, expected: "CERTIFICATE")) {
                try second.transport.reloadIdentity()
            }
            _ = try authority.identity(of: 2)
            try second.transport.reloadIdentity()
            try first.transport.updatePeers([])
            #expect(try await eventually { second.recorder.downs(1).count == 1 })
            try first.transport.updatePeers([second.address(2)])
            #expect(try await eventually { first.recorder.linkUps(2) == 2 })
            stop(first, second)
        }

        @Test func largestFramesCrossAndLargerOnesAreRefusedAtOnce() async throws {
            let (first, second) = try await pair()
            let limit = TransportSettings().maxFrameBytes
            let large = Frame(kind: 2, payload: (0..<limit).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            #expect(first.transport.send(large, to: NodeID(2)))
            #expect(second.transport.send(large, to: NodeID(1)))
            #expect(try await eventually { second.recorder.framesReceived(from: 1) == [large] })
            #expect(try await eventually { first.recorder.framesReceived(from: 2) == [large] })
            var larger = large
            larger.payload.append(0)
            #expect(!first.transport.send(larger, to: NodeID(2)))
            #expect(!first.transport.send(Frame(kind: Frame.firstReservedKind, payload: []), to: NodeID(2)))
            #expect(first.transport.statistics.refusedInvalid == 2)
            #expect(first.recorder.downs(2).isEmpty)
            stop(first, second)
        }

        @Test func framesOfManyThreadsArriveWholeAndInEachThreadsOrder() async throws {
            let (first, second) = try await pair()
            let threads = 8
            let each = 2000
            DispatchQueue.concurrentPerform(iterations: threads) { thread in
                for number in 0..<each {
                    let payload = [UInt8(thread), UInt8(number >> 8), UInt8(number & 0xFF)]
                    while !first.transport.send(Frame(kind: 3, payload: payload), to: NodeID(2)) {
                        usleep(1000)
                    }
                }
            }
            #expect(
                try await eventually { second.transport.statistics.framesReceived == UInt64(threads * each) })
            #expect(try await eventually { second.recorder.framesReceived(from: 1).count == threads * each })
            var next = [Int](repeating: 0, count: threads)
            for frame in second.recorder.framesReceived(from: 1) {
                let thread = Int(frame.payload[0])
                #expect(Int(frame.payload[1]) << 8 | Int(frame.payload[2]) == next[thread])
                next[thread] += 1
            }
            #expect(first.transport.statistics.framesSent == UInt64(threads * each))
            stop(first, second)
        }

        // The receiver's handler is held up: its transport stops reading, TCP fills up, and finally the
        // sender's queue refuses. Nothing is lost of what was accepted, and memory stays bounded.
        @Test func slowReceiverSlowsTheSenderInsteadOfFillingMemory() async throws {
            var settings = TransportSettings()
            settings.maxUndeliveredBytesPerLink = 1 << 20
            settings.maxQueuedBytesPerPeer = 2 << 20
            let gate = DispatchSemaphore(value: 0)
            let held = Mutex(true)
            let (first, second) = try await pair(settings: settings) { event in
                guard case .frame = event, held.withLock({ $0 }) else { return }
                gate.wait()
            }
            let frame = Frame(kind: 4, payload: Array(repeating: 5, count: 100_000))
            var accepted = 0
            // Loopback buffers take some megabytes; far less than this unless reading never pauses.
            #expect(
                try await eventually {
                    while accepted < 2000, first.transport.send(frame, to: NodeID(2)) { accepted += 1 }
                    return first.transport.statistics.refusedQueueFull > 20
                })
            #expect(accepted < 2000)
            let undelivered = second.transport.statistics.bytesReceived
            #expect(undelivered <= UInt64(settings.maxUndeliveredBytesPerLink + (512 << 10)))
            held.withLock { $0 = false }
            for _ in 0..<accepted { gate.signal() }
            #expect(try await eventually { second.recorder.framesReceived(from: 1).count == accepted })
            #expect(first.recorder.downs(2).isEmpty)
            stop(first, second)
        }

        @Test func stoppedTransportIsSilentAndFreesItsPort() async throws {
            let (first, second) = try await pair()
            let port = second.port
            second.transport.stop()
            let count = second.recorder.all.count
            let again = try TestNode.start(
                2, peers: [dialer(1)], identity: authority.identity(of: 2), port: port)
            #expect(try await eventually { again.recorder.linkUps(1) == 1 })
            #expect(second.recorder.all.count == count)
            #expect(throws: TransportSetupError.alreadyStarted) { try second.transport.start() }
            second.transport.stop()
            stop(first, again)
        }

        @Test func portInUseIsNamed() throws {
            let second = try TestNode.start(2, peers: [], identity: authority.identity(of: 2))
            let address = "127.0.0.1:\(second.port)"
            #expect(throws: TransportSetupError.listenFailed(address: address, errno: EADDRINUSE)) {
                _ = try TestNode.start(1, peers: [], identity: authority.identity(of: 1), port: second.port)
            }
            stop(second)
        }

        @Test func inheritedSocketIsUsedAndOthersAreRefused() async throws {
            guard let address = SystemCalls.addresses(host: "127.0.0.1", port: 0, passive: true).first else {
                return
            }
            let descriptor = try SystemCalls.listen(on: address, backlog: 8).get()
            let identity = try authority.identity(of: 2)
            let recorder = EventRecorder()
            let second = try ClusterTransport(
                local: NodeID(2), clusterName: "test", listen: .descriptor(descriptor), peers: [dialer(1)],
                identity: identity, onEvent: recorder.record)
            try second.start()
            let port = try #require(second.listeningPort)
            let first = try TestNode.start(
                1, peers: [PeerAddress(node: NodeID(2), host: "127.0.0.1", port: port)],
                identity: authority.identity(of: 1))
            #expect(try await eventually { recorder.linkUps(1) == 1 })
            second.stop()
            stop(first)
            let file = open("/dev/null", O_RDONLY)
            let third = try ClusterTransport(
                local: NodeID(2), clusterName: "test", listen: .descriptor(file), peers: [],
                identity: identity,
                onEvent: { _ in })
            #expect(throws: TransportSetupError.descriptorNotListening(file)) { try third.start() }
            close(file)
        }
    }
}
