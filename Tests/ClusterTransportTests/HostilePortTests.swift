// The node port is open to whoever reaches it. Each kind of visitor is turned away under its own name,
// and the links that stand notice nothing.

import ClusterModel
import Foundation
import Testing

@testable import ClusterTransport

extension SocketAndCertificateTests {
    @Suite struct HostilePortTests {
        private let authority: TestAuthority

        init() throws { authority = try TestAuthority() }

        /// A linked pair; strangers visit the second.
        private func pair(settings: TransportSettings = TransportSettings()) async throws -> (
            TestNode, TestNode
        ) {
            let second = try TestNode.start(
                2, peers: [dialer(1), PeerAddress(node: NodeID(3), host: "127.0.0.1", port: 1)],
                identity: authority.identity(of: 2), settings: settings)
            let first = try TestNode.start(
                1, peers: [second.address(2)], identity: authority.identity(of: 1), settings: settings)
            #expect(
                try await eventually { first.recorder.linkUps(2) == 1 && second.recorder.linkUps(1) == 1 })
            return (first, second)
        }

        /// The link from before still carries frames and never broke.
        private func expectUndisturbed(_ first: TestNode, _ second: TestNode) async throws {
            let before = second.recorder.framesReceived(from: 1).count
            #expect(first.transport.send(Frame(kind: 1, payload: [1]), to: NodeID(2)))
            #expect(try await eventually { second.recorder.framesReceived(from: 1).count == before + 1 })
            #expect(first.recorder.downs(2).isEmpty && second.recorder.downs(1).isEmpty)
        }

        private func quick(_ change: (inout TransportSettings) -> Void = { _ in }) -> TransportSettings {
            var settings = TransportSettings()
            settings.handshakeDeadline = .milliseconds(1500)
            change(&settings)
            return settings
        }

        @Test(arguments: [
            Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), Array(repeating: UInt8(0xFF), count: 5000),
            Array("SSH-2.0-OpenSSH_9.2\r\n".utf8),
        ])
        func visitorWithoutTLSIsTurnedAway(bytes: [UInt8]) async throws {
            let (first, second) = try await pair()
            let client = try #require(RawClient(port: second.port))
            client.send(bytes)
            #expect(client.isClosedByServer())
            #expect(try await eventually { second.recorder.rejections == [.notTLS] })
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        @Test func olderTLSIsTurnedAway() async throws {
            let (first, second) = try await pair()
            let identity = try authority.identity(of: 1)
            let text = try TestAuthority.openssl(
                [
                    "s_client", "-connect", "127.0.0.1:\(second.port)", "-tls1_2", "-cert",
                    identity.certificateChainPath, "-key", identity.privateKeyPath,
                ], mayFail: true)
            #expect(text.contains("alert protocol version"))
            #expect(try await eventually { second.recorder.rejections == [.tlsVersionTooOld] })
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        @Test func visitorWithoutCertificateIsTurnedAway() async throws {
            let (first, second) = try await pair()
            try TestAuthority.openssl(
                ["s_client", "-connect", "127.0.0.1:\(second.port)", "-tls1_3"], mayFail: true)
            #expect(try await eventually { second.recorder.rejections == [.certificateMissing] })
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        // A web server of the same authority is no node, and a node's certificate for one role is no link's.
        @Test func certificateThatIsNoNodesIsTurnedAway() async throws {
            let (first, second) = try await pair()
            let cases: [(TransportIdentity, LinkFailure)] = [
                (try authority.issue("web", names: "DNS:web.test"), .nodeIdentityMissing),
                (
                    try authority.issue("half", names: "URI:hsmcluster://test/node/1", usage: "clientAuth"),
                    .certificateRejected(.wrongPurpose)
                ),
                (
                    try authority.issue("server", names: "URI:hsmcluster://test/node/1", usage: "serverAuth"),
                    .certificateRejected(.wrongPurpose)
                ),
                (
                    try authority.issue("old", names: "URI:hsmcluster://test/node/1", days: -1),
                    .certificateRejected(.expired)
                ),
                (try authority.issue("c", names: "URI:hsmcluster://else/node/1"), .otherCluster("else")),
                (try authority.identity(of: 9), .unknownNode(NodeID(9))),
                (try authority.identity(of: 3), .wrongDialDirection(NodeID(3))),
            ]
            for (index, (identity, failure)) in cases.enumerated() {
                try TestAuthority.openssl(
                    [
                        "s_client", "-connect", "127.0.0.1:\(second.port)", "-tls1_3", "-cert",
                        identity.certificateChainPath, "-key", identity.privateKeyPath,
                    ], mayFail: true)
                #expect(try await eventually { second.recorder.rejections.count == index + 1 })
                #expect(second.recorder.rejections.last == failure)
            }
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        @Test func silentAndSlowVisitorsAreTurnedAwayAtTheDeadline() async throws {
            let (first, second) = try await pair(settings: quick())
            let silent = try #require(RawClient(port: second.port))
            let slow = try #require(RawClient(port: second.port))
            // The beginning of a TLS record that never ends.
            slow.send([0x16, 3, 1, 2, 0, 1, 0])
            #expect(silent.isClosedByServer())
            #expect(slow.isClosedByServer())
            #expect(
                try await eventually {
                    second.recorder.rejections == [.handshakeTimedOut, .handshakeTimedOut]
                })
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        @Test func crowdOfSilentVisitorsCannotKeepAPeerOut() async throws {
            let settings = quick { $0.maxUnauthenticatedConnections = 8 }
            let second = try TestNode.start(
                2, peers: [dialer(1)], identity: authority.identity(of: 2), settings: settings)
            var crowd = (0..<60).map { _ in RawClient(port: second.port) }
            let first = try TestNode.start(1, peers: [second.address(2)], identity: authority.identity(of: 1))
            #expect(try await eventually { first.recorder.linkUps(2) >= 1 })
            #expect(second.recorder.rejections.count { $0 == .tooManyUnauthenticated } >= 40)
            crowd.removeAll()
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        // A peer that lost the connection without our learning of it (power cut) dials again: the newer
        // connection is the true one.
        @Test func newConnectionOfAPeerReplacesTheDeadOne() async throws {
            let (first, second) = try await pair()
            let twin = try TestNode.start(1, peers: [second.address(2)], identity: authority.identity(of: 1))
            #expect(try await eventually { second.recorder.downs(1).first == .replacedByNewerConnection })
            #expect(
                try await eventually {
                    first.recorder.downs(2).first == .refusedByPeer("replacedByNewerConnection")
                })
            #expect(try await eventually { second.recorder.linkUps(1) >= 2 })
            first.transport.stop()
            twin.transport.stop()
            second.transport.stop()
        }

        @Test func peerThatNeverSaysHelloIsTurnedAwayAtTheDeadline() async throws {
            let second = try TestNode.start(
                2, peers: [dialer(1)], identity: authority.identity(of: 2), settings: quick())
            let visitor = try #require(
                try TLSVisitor(port: second.port, identity: authority.identity(of: 1), node: 1))
            #expect(visitor.client.isClosedByServer())
            #expect(try await eventually { second.recorder.rejections == [.helloTimedOut] })
            second.transport.stop()
        }

        @Test func peerRemovedWhileItShakesHandsIsTurnedAway() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let visitor = try #require(
                try TLSVisitor(port: second.port, identity: authority.identity(of: 1), node: 1))
            try second.transport.updatePeers([])
            #expect(try await eventually { second.transport.statistics.links.isEmpty })
            try visitor.sendHello(node: 1)
            #expect(visitor.client.isClosedByServer())
            #expect(try await eventually { second.recorder.rejections == [.unknownNode(NodeID(1))] })
            #expect(second.recorder.linkUps(1) == 0)
            second.transport.stop()
        }

        @Test func helloOfAnotherNodeThanTheCertificatesIsTurnedAway() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let visitor = try #require(
                try TLSVisitor(port: second.port, identity: authority.identity(of: 1), node: 1))
            try visitor.sendHello(node: 7)
            #expect(visitor.client.isClosedByServer())
            #expect(try await eventually { second.recorder.rejections == [.helloContradictsCertificate] })
            second.transport.stop()
        }

        @Test func linkedPeerThatAnnouncesTooMuchLosesItsLink() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let visitor = try #require(
                try TLSVisitor(port: second.port, identity: authority.identity(of: 1), node: 1))
            try visitor.sendHello(node: 1)
            #expect(try await eventually { second.recorder.linkUps(1) == 1 })
            try visitor.send([0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 0, 1])
            #expect(visitor.client.isClosedByServer())
            let failure = LinkFailure.frameTooLarge(announced: 0xFFFF_FFFF)
            #expect(try await eventually { second.recorder.downs(1) == [failure] })
            second.transport.stop()
        }

        @Test func unreportedRejectionsAreCounted() async throws {
            let settings = quick { $0.maxPendingReports = 0 }
            let (first, second) = try await pair(settings: settings)
            for _ in 0..<5 {
                let client = try #require(RawClient(port: second.port))
                client.send([1, 2, 3, 4, 5, 6, 7, 8])
                #expect(client.isClosedByServer())
            }
            #expect(try await eventually { second.transport.statistics.connectionsRejected == 5 })
            #expect(try await eventually { second.transport.statistics.reportsSuppressed >= 5 })
            #expect(second.recorder.rejections.isEmpty)
            try await expectUndisturbed(first, second)
            first.transport.stop()
            second.transport.stop()
        }

        @Test func thousandsOfShortVisitsLeaveNoDescriptorBehind() async throws {
            let (first, second) = try await pair()
            let before = openSockets(onPort: second.port)
            var generator = SeededGenerator(seed: 5)
            for number in 0..<2000 {
                guard let client = RawClient(port: second.port) else {
                    Issue.record("visit \(number) could not connect")
                    return
                }
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: break
                case 1: client.send([0x16, 3, 1])
                case 2: client.send(Array("GET / HTTP/1.0\r\n\r\n".utf8))
                default: client.resetOnClose()
                }
            }
            #expect(try await eventually { second.transport.statistics.connectionsAccepted >= 2001 })
            #expect(try await eventually { openSockets(onPort: second.port) == before })
            try await expectUndisturbed(first, second)
            #expect(second.transport.statistics.connectionsRejected >= 1990)
            first.transport.stop()
            second.transport.stop()
        }

        // Links themselves come and go, in two transports at once, with frames on the way.
        @Test func linkChurnLeavesNoDescriptorBehind() async throws {
            let second = try TestNode.start(2, peers: [dialer(1)], identity: authority.identity(of: 2))
            let identity = try authority.identity(of: 1)
            let before = openSockets(onPort: second.port)
            for round in 1...60 {
                let first = try TestNode.start(1, peers: [second.address(2)], identity: identity)
                #expect(try await eventually { second.recorder.linkUps(1) == round })
                first.transport.send(Frame(kind: 1, payload: [1]), to: NodeID(2))
                second.transport.send(Frame(kind: 1, payload: [1]), to: NodeID(1))
                first.transport.stop()
            }
            #expect(try await eventually { openSockets(onPort: second.port) == before })
            #expect(try await eventually { second.recorder.downs(1).count == 60 })
            second.transport.stop()
        }
    }
}
