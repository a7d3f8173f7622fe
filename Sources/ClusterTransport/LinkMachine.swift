// The life of one connection as a machine without a socket: ciphertext in, link events and ciphertext
// out. First TLS, then the certificate's identity, then the hellos, then frames. The acceptor says hello
// first, and only after it has judged the dialer's certificate: so a dialer that has read a hello knows
// that it was accepted, and one that is refused still reads the refusal before the connection closes.
//
//     dialer:   handshaking -> awaitingHello -> linked       (sends its hello after the acceptor's)
//     acceptor: handshaking -> awaitingHello -> linked       (sends its hello on entering awaitingHello)
//     either:   any failure ends the machine; the owner closes the socket.

import ClusterModel

/// One connection's protocol, in either role. Used by one queue at a time.
final class LinkMachine {
    enum Role: Hashable {
        /// We opened the connection, to this node.
        case dialer(to: NodeID)
        /// Someone opened it to us.
        case acceptor
    }

    enum Phase: Hashable {
        case handshaking
        case awaitingHello(from: NodeID)
        case linked(NodeID, version: UInt16)
    }

    enum Output {
        /// The other node is proved and willing.
        case up(NodeID, version: UInt16)
        /// A frame of the upper layers.
        case frame(Frame)
    }

    private(set) var phase = Phase.handshaking
    private let role: Role
    private let local: Hello
    private let maxFrameBytes: Int
    private let admits: (NodeID) -> LinkFailure?
    private let tls: TLSEngine
    private var parser = FrameParser(maxFrameBytes: Hello.maxBytes)
    private var plaintext: [UInt8] = []

    /// A connection at its beginning.
    /// - Parameter admits: asked by an acceptor about the node of a verified certificate; a failure
    ///   refuses it.
    init(
        context: TLSContext, role: Role, local: Hello, maxFrameBytes: Int,
        admits: @escaping (NodeID) -> LinkFailure?
    ) throws(LinkFailure) {
        self.role = role
        self.local = local
        self.maxFrameBytes = maxFrameBytes
        self.admits = admits
        tls = try TLSEngine(context: context, role: role == .acceptor ? .server : .client)
    }

    /// Takes in ciphertext; an empty buffer starts a dialer. What follows from it is appended to
    /// `outputs` even if the call then throws.
    /// - Throws: why the connection must be closed. `refuse` tells the other side, if it can be told.
    func receive(
        _ ciphertext: UnsafeRawBufferPointer, into outputs: inout [Output]
    ) throws(LinkFailure) {
        try tls.receive(ciphertext)
        if phase == .handshaking {
            guard tls.isHandshakeComplete else { return }
            try handshakeCompleted()
        }
        plaintext.removeAll(keepingCapacity: true)
        var failure: LinkFailure?
        do throws(LinkFailure) { try tls.readPlaintext(into: &plaintext) } catch { failure = error }
        parser.append(plaintext)
        try takeFrames(into: &outputs)
        if let failure { throw failure }
        if tls.isClosedByPeer { throw .closedByPeer }
    }

    /// Encrypts encoded frames for sending. Only when linked.
    func send(_ encodedFrames: [UInt8]) throws(LinkFailure) { try tls.write(encodedFrames[...]) }

    /// Tells the other side why we close, as far as TLS stands.
    func refuse(because failure: LinkFailure) {
        guard tls.isHandshakeComplete else { return }
        // A node that stops just closes; that is no refusal. The connection ends either way, so an error in
        // saying goodbye changes nothing.
        if failure != .stopped { try? write(kind: Frame.goodbyeKind, Array(failure.name.utf8)) }
        tls.close()
    }

    /// Ciphertext waiting to be sent, in bytes.
    var pendingCiphertextBytes: Int { tls.pendingCiphertextBytes }

    /// Takes out ciphertext for sending.
    func takeCiphertext(upTo limit: Int) -> [UInt8] { tls.takeCiphertext(upTo: limit) }

    /// What a deadline that passes in the present phase is called.
    var deadlineFailure: LinkFailure {
        phase == .handshaking ? .handshakeTimedOut : .helloTimedOut
    }

    private func handshakeCompleted() throws(LinkFailure) {
        let identity = try tls.peerIdentity()
        guard identity.clusterName == local.clusterName else { throw .otherCluster(identity.clusterName) }
        switch role {
        case .dialer(let expected):
            guard identity.node == expected else {
                throw .unexpectedNode(expected: expected, presented: identity.node)
            }
        case .acceptor:
            if let failure = admits(identity.node) { throw failure }
            try write(kind: Frame.helloKind, local.encoded)
        }
        phase = .awaitingHello(from: identity.node)
    }

    private func takeFrames(into outputs: inout [Output]) throws(LinkFailure) {
        while let frame = try nextFrame() {
            switch (phase, frame.kind) {
            case (_, Frame.goodbyeKind): throw .refusedByPeer(LinkMachine.printable(frame.payload))
            case (.awaitingHello(let node), Frame.helloKind):
                let version = try judge(hello: frame.payload, from: node)
                if role != .acceptor { try write(kind: Frame.helloKind, local.encoded) }
                parser.maxFrameBytes = maxFrameBytes
                phase = .linked(node, version: version)
                outputs.append(.up(node, version: version))
            case (.linked, ..<Frame.firstReservedKind): outputs.append(.frame(frame))
            // A kind that a newer transport may use; nothing we could do with it.
            case (.linked, _): continue
            case (.awaitingHello, _), (.handshaking, _): throw .helloMalformed
            }
        }
    }

    private func nextFrame() throws(LinkFailure) -> Frame? {
        do throws(FrameFault) { return try parser.next() } catch {
            switch error {
            case .tooLarge(let announced, _): throw .frameTooLarge(announced: announced)
            case .unknownLayout(let layout): throw .frameLayoutUnknown(layout)
            }
        }
    }

    private func judge(hello payload: [UInt8], from node: NodeID) throws(LinkFailure) -> UInt16 {
        guard let hello = Hello.decode(payload) else { throw .helloMalformed }
        guard hello.node == node, hello.clusterName == local.clusterName else {
            throw .helloContradictsCertificate
        }
        guard let version = local.commonVersion(with: hello) else {
            throw .noCommonVersion(theirs: hello.minimumVersion...hello.maximumVersion)
        }
        return version
    }

    private func write(kind: UInt16, _ payload: [UInt8]) throws(LinkFailure) {
        var encoded: [UInt8] = []
        Frame(kind: kind, payload: payload).encode(into: &encoded)
        try tls.write(encoded[...])
    }

    private static let maxGoodbyeBytes = 64

    /// The peer's reason, reduced to what can't disturb a log.
    private static func printable(_ payload: [UInt8]) -> String {
        let letters = payload.prefix(maxGoodbyeBytes).filter { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return letters.isEmpty ? "no reason given" : String(decoding: letters, as: UTF8.self)
    }
}
