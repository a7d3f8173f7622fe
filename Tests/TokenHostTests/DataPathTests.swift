import ClusterModel
import Foundation
import OperationWire
import RingLink
import Testing
import TokenHostLink

// An application's operations through the rings of a real hsmtokend over SoftHSM.

private enum Number {
    static let aesKeyGeneration: UInt64 = 0x1080
    static let aesCMAC: UInt64 = 0x108A
    static let aesECBEncryptData: UInt64 = 0x1104
    static let aesGCM: UInt64 = 0x1087
    static let aesKeyWrap: UInt64 = 0x2109
    static let ecKeyPairGeneration: UInt64 = 0x1040
    static let ecdsa: UInt64 = 0x1041
    static let sha256: UInt64 = 0x250
    static let secretKey: UInt64 = 4
    static let ok: UInt64 = 0
    static let signatureInvalid: UInt64 = 0xC0
    static let objectHandleInvalid: UInt64 = 0x82
    static let keyHandleInvalid: UInt64 = 0x60
    static let attributeValueInvalid: UInt64 = 0x13
    static let userNotLoggedIn: UInt64 = 0x101
    static let functionNotPermitted: UInt64 = 0x68
    static let pinIncorrect: UInt64 = 0xA0
    static let pinLocked: UInt64 = 0xA4
    static let actionProhibited: UInt64 = 0x1B
}

private func attribute(_ type: UInt64, _ bytes: [UInt8]) -> WireAttribute {
    WireAttribute(type, bytes: bytes)
}
private func number(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
private let yes: [UInt8] = [1]

/// A template for a secret key with all uses of these tests.
private let secretKeyTemplate = [
    attribute(0x00, number(4)), attribute(0x100, number(0x1F)), attribute(0x161, number(32)),
    attribute(0x104, yes), attribute(0x105, yes), attribute(0x106, yes), attribute(0x107, yes),
    attribute(0x108, yes), attribute(0x10A, yes), attribute(0x10C, yes), attribute(0x162, yes),
    attribute(0x103, [0]),
]

/// A connection that speaks `OperationWire`.
private struct Application {
    let client: RingClient

    init(_ path: String) throws { client = try RingClient(path: path, deadline: Self.soon) }

    static var soon: Int64 { RingClock.now() + 30_000_000_000 }

    func call(_ operation: OperationWire.Operation, session: UInt64 = 1) throws -> OperationReply {
        let request = OperationRequest(
            number: 7, session: session, deadlineMilliseconds: 30_000, operation: operation)
        return try OperationReply(decoding: try client.call(try request.encode(), deadline: Self.soon))
    }

    func bytes(_ operation: OperationWire.Operation) throws -> [UInt8] {
        let reply = try call(operation)
        guard reply.returnValue == Number.ok, case .bytes(let bytes) = reply.body else {
            throw Missing(description: "\(reply)")
        }
        return bytes
    }

    func objects(_ operation: OperationWire.Operation, session: UInt64 = 1) throws -> [ObjectReference] {
        let reply = try call(operation, session: session)
        guard reply.returnValue == Number.ok, case .handles(let handles, let incarnation) = reply.body else {
            throw Missing(description: "\(reply)")
        }
        return handles.map { .hostObject(handle: $0, incarnation: incarnation) }
    }

    func makeKey(session: UInt64 = 1) throws -> ObjectReference {
        let made = try objects(
            .generateKey(WireMechanism(Number.aesKeyGeneration), template: secretKeyTemplate),
            session: session)
        return try #require(made.first)
    }

    func mac(_ key: ObjectReference) throws -> OperationReply {
        try call(.data(.sign, key: key, WireMechanism(Number.aesCMAC), input: [1, 2, 3], signature: []))
    }
}

@Suite struct DataPathTests {
    /// Runs `body` against a token host that is logged in.
    private func serve(
        users: [ApplicationUser]? = nil, _ body: (Supervised, String) async throws -> Void
    ) async throws {
        let endpoint = try TestEndpoint()
        var configuration = try endpoint.configuration()
        configuration.users = users
        try await endpoint.supervise(configuration) { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try await body(host, configuration.dataSocketPath)
        }
    }

    @Test func operationsInOneTripGiveWhatTheModuleGives() async throws {
        try await serve { _, path in
            let application = try Application(path)
            let key = try application.makeKey()
            let cmac = WireMechanism(Number.aesCMAC)
            let mac = try application.bytes(.data(.sign, key: key, cmac, input: [1, 2, 3], signature: []))
            #expect(mac.count == 16)
            let right = try application.call(
                .data(.verify, key: key, cmac, input: [1, 2, 3], signature: mac))
            #expect(right.returnValue == Number.ok)
            let wrong = try application.call(
                .data(.verify, key: key, cmac, input: [1, 2, 4], signature: mac))
            #expect(wrong.returnValue == Number.signatureInvalid)
            #expect(wrong.origin == .module)

            let gcm = WireMechanism(
                Number.aesGCM,
                .gcm(
                    iv: [UInt8](repeating: 9, count: 12), ivBits: 96, additionalData: [1, 2], tagBits: 128))
            let text = [UInt8](repeating: 5, count: 40_000)
            let sealed = try application.bytes(.data(.encrypt, key: key, gcm, input: text, signature: []))
            #expect(sealed.count == 40_016)
            #expect(
                try application.bytes(.data(.decrypt, key: key, gcm, input: sealed, signature: [])) == text)

            let digest = try application.bytes(
                .data(
                    .digest, key: nil, WireMechanism(Number.sha256), input: Array("abc".utf8), signature: []))
            #expect(digest.prefix(4) == [0xBA, 0x78, 0x16, 0xBF])
            #expect(try application.bytes(.randomBytes(count: 33)).count == 33)

            let wrapped = try application.bytes(
                .wrap(wrappingKey: key, WireMechanism(Number.aesKeyWrap), key: key))
            let again = try application.objects(
                .unwrap(
                    unwrappingKey: key, WireMechanism(Number.aesKeyWrap), wrapped: wrapped,
                    template: secretKeyTemplate.filter { $0.type != 0x161 }))
            let copy = try #require(again.first)
            #expect(
                try application.bytes(.data(.sign, key: copy, cmac, input: [1, 2, 3], signature: [])) == mac)
        }
    }

    @Test func keysOfTheClusterAreFoundByIdentifier() async throws {
        try await serve { host, path in
            guard case .success = await host.call(.generate(keySpecification(1))) else {
                throw Missing(description: "no key was made")
            }
            let application = try Application(path)
            let identity = [UInt8](repeating: 1, count: KeyIdentity.byteCount)
            let base = ObjectReference.clusterKey(objectClass: Number.secretKey, identifier: identity)
            let mechanism = WireMechanism(
                Number.aesECBEncryptData, .stringData([UInt8](repeating: 0, count: 32)))
            for _ in 0..<3 {
                let derived = try application.objects(
                    .derive(base: base, mechanism, template: secretKeyTemplate))
                #expect(try application.mac(try #require(derived.first)).returnValue == Number.ok)
            }
            let absent = ObjectReference.clusterKey(objectClass: Number.secretKey, identifier: [1, 2])
            let reply = try application.call(.derive(base: absent, mechanism, template: secretKeyTemplate))
            #expect(reply.returnValue == Number.keyHandleInvalid)
            #expect(reply.origin == .tokenHost)
            // The cluster's keys are the cluster's to destroy.
            #expect(try application.call(.destroyObject(base)).returnValue == Number.actionProhibited)
        }
    }

    @Test func sessionObjectsBelongToOneClientAndOneSession() async throws {
        try await serve { _, path in
            let (owner, other) = (try Application(path), try Application(path))
            let key = try owner.makeKey(session: 1)
            let kept = try owner.makeKey(session: 2)
            #expect(try owner.mac(key).returnValue == Number.ok)
            #expect(try other.mac(key).returnValue == Number.objectHandleInvalid)
            #expect(try owner.call(.closeSession, session: 1).returnValue == Number.ok)
            #expect(try owner.mac(key).returnValue == Number.objectHandleInvalid)
            #expect(try owner.mac(kept).returnValue == Number.ok)
            #expect(try owner.call(.destroyObject(kept)).returnValue == Number.ok)
            #expect(try owner.mac(kept).returnValue == Number.objectHandleInvalid)
            guard case .hostObject(let handle, let incarnation) = try owner.makeKey() else { return }
            let stale = ObjectReference.hostObject(handle: handle, incarnation: incarnation &+ 1)
            #expect(try owner.mac(stale).returnValue == Number.objectHandleInvalid)
        }
    }

    @Test func tokenObjectsAreNotMadeOnThisWay() async throws {
        try await serve { _, path in
            let application = try Application(path)
            let reply = try application.call(
                .generateKey(
                    WireMechanism(Number.aesKeyGeneration),
                    template: secretKeyTemplate + [attribute(0x01, yes)]))
            #expect(reply.returnValue == Number.attributeValueInvalid)
            #expect(reply.origin == .tokenHost)
        }
    }

    @Test func garbageIsAnsweredAndHurtsNobody() async throws {
        try await serve { host, path in
            let application = try Application(path)
            for length in 0..<300 {
                let noise = (0..<length).map { _ in UInt8.random(in: 0...255) }
                _ = try application.client.call([1] + noise, deadline: Application.soon)
            }
            #expect(try application.mac(try application.makeKey()).returnValue == Number.ok)
            _ = try host.process()
        }
    }

    @Test func aKilledTokenHostIsLostAndItsSuccessorServes() async throws {
        try await serve { host, path in
            let application = try Application(path)
            let old = try application.makeKey()
            let process = try host.process()
            kill(process, SIGKILL)
            #expect(throws: RingError.lost) {
                while true { _ = try application.mac(old) }
            }
            try await host.replacement(of: process)
            #expect(await host.call(.logIn) == .success(.done))
            let again = try Application(path)
            #expect(try again.mac(old).returnValue == Number.objectHandleInvalid)
            #expect(try again.mac(try again.makeKey()).returnValue == Number.ok)
        }
    }

    /// yescrypt of "correct horse", as mkpasswd makes it.
    private static let hash = "$y$j9T$abcdefghijklmnop$0Hi8KsZH/hAMRN9Bam6ce3nmi5QAIz3R/KeaXG/c7p9"

    private func login(_ name: String, _ password: String) -> OperationWire.Operation {
        .logIn(user: Array(name.utf8), password: Array(password.utf8))
    }

    @Test func usersDoWhatTheirRolesAllow() async throws {
        let users = [
            ApplicationUser(name: "payments", role: .user, passwordHash: Self.hash),
            ApplicationUser(name: "audit", role: .observer, passwordHash: Self.hash),
        ]
        try await serve(users: users) { _, path in
            let application = try Application(path)
            let generate = OperationWire.Operation.generateKey(
                WireMechanism(Number.aesKeyGeneration), template: secretKeyTemplate)
            #expect(try application.call(generate).returnValue == Number.userNotLoggedIn)
            #expect(try application.call(.randomBytes(count: 8)).returnValue == Number.ok)
            #expect(try application.call(login("payments", "correct horse")).returnValue == Number.ok)
            let key = try application.makeKey()
            #expect(try application.mac(key).returnValue == Number.ok)
            #expect(try application.call(.logOut).returnValue == Number.ok)
            #expect(try application.mac(key).returnValue == Number.userNotLoggedIn)
            #expect(try application.call(login("audit", "correct horse")).returnValue == Number.ok)
            #expect(try application.call(generate).returnValue == Number.functionNotPermitted)
            // A login is one client's own.
            #expect(try Application(path).call(generate).returnValue == Number.userNotLoggedIn)
        }
    }

    @Test func wrongPasswordsAreSlowedDownAndNeverReachTheToken() async throws {
        let endpoint = try TestEndpoint()
        var configuration = try endpoint.configuration()
        configuration.users = [ApplicationUser(name: "payments", role: .user, passwordHash: Self.hash)]
        try await endpoint.supervise(configuration) { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            let path = configuration.dataSocketPath
            for _ in 0..<3 {
                #expect(
                    try Application(path).call(login("payments", "wrong")).returnValue == Number.pinIncorrect)
            }
            // Not even the right one is looked at now, whoever sends it.
            #expect(
                try Application(path).call(login("payments", "correct horse")).returnValue == Number.pinLocked
            )
            for _ in 0..<3 {
                #expect(
                    try Application(path).call(login("nobody", "wrong")).returnValue == Number.pinIncorrect)
            }
            #expect(try Application(path).call(login("somebody", "wrong")).returnValue == Number.pinLocked)
            #expect(endpoint.count(of: "C_Login") == 1)
            try await eventually("the right password is accepted after the wait") {
                try Application(path).call(login("payments", "correct horse")).returnValue == Number.ok
            }
        }
    }
}
