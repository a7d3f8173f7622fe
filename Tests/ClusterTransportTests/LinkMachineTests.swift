// Two machines face to face without a socket: every refusal has its name on both sides, whatever the
// portions in which bytes arrive.

import ClusterModel
import Foundation
import Testing

@testable import ClusterTransport

extension SocketAndCertificateTests {
    @Suite struct LinkMachineTests {
        private let authority: TestAuthority

        init() throws { authority = try TestAuthority() }

        /// One end, with what it produced and how it ended.
        private final class End {
            let machine: LinkMachine
            var outputs: [LinkMachine.Output] = []
            var failure: LinkFailure?
            init(_ machine: LinkMachine) { self.machine = machine }

            func receive(_ bytes: some Collection<UInt8>) {
                guard failure == nil else { return }
                Array(bytes).withUnsafeBytes { buffer in
                    do throws(LinkFailure) { try machine.receive(buffer, into: &outputs) } catch {
                        failure = error
                        machine.refuse(because: error)
                    }
                }
            }

            var frames: [Frame] {
                outputs.compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
            }
        }

        private func context(
            _ node: UInt64, cluster: String = "test", identity: TransportIdentity? = nil
        ) throws -> TLSContext {
            try TLSContext(
                identity: identity ?? authority.identity(of: node, cluster: cluster),
                expected: NodeIdentityURI(clusterName: cluster, node: NodeID(node)))
        }

        private func end(
            _ node: UInt64, role: LinkMachine.Role, context: TLSContext, cluster: String = "test",
            versions: ClosedRange<UInt16> = 1...1, knows: Set<UInt64> = [1, 2, 3], limit: Int = 1 << 20
        ) throws -> End {
            let hello = Hello(
                minimumVersion: versions.lowerBound, maximumVersion: versions.upperBound,
                clusterName: cluster,
                node: NodeID(node))
            return End(
                try LinkMachine(
                    context: context, role: role, local: hello, maxFrameBytes: limit,
                    admits: { knows.contains($0.rawValue) ? nil : .unknownNode($0) }))
        }

        /// Carries bytes between both ends, in portions, until neither has any.
        private func run(_ dialer: End, _ acceptor: End, portion: Int = 1 << 16) {
            dialer.receive([])
            carry(dialer, acceptor, portion: portion)
        }

        private func carry(_ dialer: End, _ acceptor: End, portion: Int = 1 << 16) {
            while true {
                let there = dialer.machine.takeCiphertext(upTo: portion)
                acceptor.receive(there)
                let back = acceptor.machine.takeCiphertext(upTo: portion)
                dialer.receive(back)
                if there.isEmpty, back.isEmpty { return }
            }
        }

        private func encoded(_ frames: [Frame]) -> [UInt8] {
            var bytes: [UInt8] = []
            for frame in frames { frame.encode(into: &bytes) }
            return bytes
        }

        private func pair(limit: Int = 1 << 20) throws -> (End, End) {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1), limit: limit)
            let acceptor = try end(2, role: .acceptor, context: context(2), limit: limit)
            return (dialer, acceptor)
        }

        @Test func bothEndsLinkInPortionsOfAnySize() throws {
            for portion in [1, 2, 7, 100, 1 << 16] {
                let (dialer, acceptor) = try pair()
                run(dialer, acceptor, portion: portion)
                #expect(dialer.failure == nil && acceptor.failure == nil)
                #expect(dialer.machine.phase == .linked(NodeID(2), version: 1))
                #expect(acceptor.machine.phase == .linked(NodeID(1), version: 1))
            }
        }

        @Test func keysOfBothTypesLink() throws {
            let dialer = try end(
                1, role: .dialer(to: NodeID(2)),
                context: context(1, identity: authority.identity(of: 1, key: .p256)))
            let acceptor = try end(2, role: .acceptor, context: context(2))
            run(dialer, acceptor)
            #expect(dialer.machine.phase == .linked(NodeID(2), version: 1))
        }

        @Test func framesCrossInBothDirections() throws {
            let (dialer, acceptor) = try pair()
            run(dialer, acceptor)
            let frames = (0..<50).map {
                Frame(kind: $0, payload: Array(repeating: UInt8($0), count: Int($0) * 997))
            }
            try dialer.machine.send(encoded(frames))
            try acceptor.machine.send(encoded(frames.reversed()))
            carry(dialer, acceptor, portion: 1000)
            #expect(acceptor.frames == frames)
            #expect(dialer.frames == frames.reversed())
        }

        @Test func acceptorOfAnotherAuthorityIsRefusedByTheDialer() throws {
            let other = try TestAuthority()
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1))
            let acceptor = try end(
                2, role: .acceptor, context: context(2, identity: other.identity(of: 2)))
            run(dialer, acceptor)
            #expect(dialer.failure == .certificateRejected(.untrustedIssuer))
            guard case .refusedByPeer = acceptor.failure else {
                Issue.record("found \(String(describing: acceptor.failure))")
                return
            }
        }

        // The dialer trusts both authorities, the acceptor only its own.
        @Test func dialerOfAnotherAuthorityIsRefusedByTheAcceptorAndLearnsIt() throws {
            let other = try TestAuthority()
            var identity = try other.identity(of: 1)
            let both =
                try String(contentsOfFile: authority.certificatePath, encoding: .utf8)
                + String(contentsOfFile: other.certificatePath, encoding: .utf8)
            identity.authorityPath = other.folder + "/both.pem"
            try both.write(toFile: identity.authorityPath, atomically: true, encoding: .utf8)
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1, identity: identity))
            let acceptor = try end(2, role: .acceptor, context: context(2))
            run(dialer, acceptor)
            #expect(acceptor.failure == .certificateRejected(.untrustedIssuer))
            guard case .refusedByPeer = dialer.failure else {
                Issue.record("found \(String(describing: dialer.failure))")
                return
            }
            #expect(dialer.outputs.isEmpty && acceptor.outputs.isEmpty)
        }

        @Test func dialerRefusesAnotherNodeThanItDialed() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(3)), context: context(1))
            let acceptor = try end(2, role: .acceptor, context: context(2))
            run(dialer, acceptor)
            #expect(dialer.failure == .unexpectedNode(expected: NodeID(3), presented: NodeID(2)))
            #expect(acceptor.failure == .refusedByPeer("unexpectedNode"))
        }

        @Test func acceptorRefusesANodeItDoesNotKnow() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1))
            let acceptor = try end(2, role: .acceptor, context: context(2), knows: [3])
            run(dialer, acceptor)
            #expect(acceptor.failure == .unknownNode(NodeID(1)))
            #expect(dialer.failure == .refusedByPeer("unknownNode"))
        }

        @Test func nodesOfTwoClustersRefuseEachOther() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1))
            let acceptor = try end(
                2, role: .acceptor, context: context(2, cluster: "other"), cluster: "other")
            run(dialer, acceptor)
            #expect(dialer.failure == .otherCluster("other"))
            #expect(acceptor.outputs.isEmpty)
        }

        @Test func nodesWithoutACommonVersionPart() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1), versions: 1...2)
            let acceptor = try end(2, role: .acceptor, context: context(2), versions: 3...4)
            run(dialer, acceptor)
            #expect(dialer.failure == .noCommonVersion(theirs: 3...4))
            #expect(acceptor.failure == .refusedByPeer("noCommonVersion"))
        }

        @Test func highestCommonVersionIsAgreedOn() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1), versions: 1...3)
            let acceptor = try end(2, role: .acceptor, context: context(2), versions: 2...9)
            run(dialer, acceptor)
            #expect(dialer.machine.phase == .linked(NodeID(2), version: 3))
            #expect(acceptor.machine.phase == .linked(NodeID(1), version: 3))
        }

        @Test func helloThatContradictsTheCertificateIsRefused() throws {
            let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context(1))
            let acceptor = try end(3, role: .acceptor, context: context(2))
            run(dialer, acceptor)
            #expect(dialer.failure == .helloContradictsCertificate)
        }

        @Test func oversizedFrameEndsTheLink() throws {
            let (dialer, acceptor) = try pair(limit: 1000)
            run(dialer, acceptor)
            try dialer.machine.send(encoded([Frame(kind: 1, payload: Array(repeating: 0, count: 1001))]))
            carry(dialer, acceptor)
            #expect(acceptor.failure == .frameTooLarge(announced: 1001))
            #expect(dialer.failure == .refusedByPeer("frameTooLarge"))
        }

        // A peer of a newer layout, played by an engine that sends what it likes.
        @Test func headersOfAnotherLayoutAndReservedKindsAreToldApart() throws {
            let (dialer, acceptor) = try pair()
            run(dialer, acceptor)
            try dialer.machine.send(
                encoded([Frame(kind: 0xFF77, payload: [1]), Frame(kind: 5, payload: [2])]))
            try dialer.machine.send([0, 0, 0, 0, 0, 9, 0, 1])
            carry(dialer, acceptor)
            #expect(acceptor.frames == [Frame(kind: 5, payload: [2])])
            #expect(acceptor.failure == .frameLayoutUnknown(9))
        }

        @Test func anythingBeforeTheHelloIsRefused() throws {
            let dialerTLS = try TLSEngine(context: context(1), role: .client)
            let acceptor = try end(2, role: .acceptor, context: context(2))
            try dialerTLS.receive(UnsafeRawBufferPointer(start: nil, count: 0))
            for _ in 0..<4 {
                acceptor.receive(dialerTLS.takeCiphertext(upTo: 1 << 16))
                try acceptor.machine.takeCiphertext(upTo: 1 << 16).withUnsafeBytes {
                    try dialerTLS.receive($0)
                }
            }
            #expect(dialerTLS.isHandshakeComplete)
            try dialerTLS.write(encoded([Frame(kind: 1, payload: [])])[...])
            acceptor.receive(dialerTLS.takeCiphertext(upTo: 1 << 16))
            #expect(acceptor.failure == .helloMalformed)
        }

        // A hello may be 4 KiB at most, whatever frames may be.
        @Test func helloIsBoundedMoreTightlyThanFrames() throws {
            let dialerTLS = try TLSEngine(context: context(1), role: .client)
            let acceptor = try end(2, role: .acceptor, context: context(2))
            try dialerTLS.receive(UnsafeRawBufferPointer(start: nil, count: 0))
            for _ in 0..<4 {
                acceptor.receive(dialerTLS.takeCiphertext(upTo: 1 << 16))
                try acceptor.machine.takeCiphertext(upTo: 1 << 16).withUnsafeBytes {
                    try dialerTLS.receive($0)
                }
            }
            try dialerTLS.write([0, 0, 0x10, 1][...])
            acceptor.receive(dialerTLS.takeCiphertext(upTo: 1 << 16))
            #expect(acceptor.failure == .frameTooLarge(announced: 4097))
        }

        @Test func webRequestAndNoiseAreNotTLS() throws {
            let context = try context(2)
            let web = try end(2, role: .acceptor, context: context)
            web.receive(Array("GET / HTTP/1.1\r\nHost: node\r\n\r\n".utf8))
            #expect(web.failure == .notTLS)
            let noise = try end(2, role: .acceptor, context: context)
            noise.receive(Array(repeating: 0xAA, count: 600))
            #expect(noise.failure == .notTLS)
        }

        @Test func damagedHandshakesNeverLinkNorCrash() throws {
            let (context1, context2) = (try context(1), try context(2))
            var generator = SeededGenerator(seed: 11)
            for _ in 0..<150 {
                let dialer = try end(1, role: .dialer(to: NodeID(2)), context: context1)
                let acceptor = try end(2, role: .acceptor, context: context2)
                dialer.receive([])
                let damagedRound = Int.random(in: 0..<3, using: &generator)
                for round in 0..<4 {
                    var there = dialer.machine.takeCiphertext(upTo: 1 << 16)
                    if round == damagedRound, !there.isEmpty {
                        let position = Int.random(in: 0..<there.count, using: &generator)
                        there[position] ^= UInt8.random(in: 1...255, using: &generator)
                    }
                    acceptor.receive(there)
                    dialer.receive(acceptor.machine.takeCiphertext(upTo: 1 << 16))
                }
                if case .linked = acceptor.machine.phase { #expect(damagedRound == 2) }
            }
        }
    }
}
