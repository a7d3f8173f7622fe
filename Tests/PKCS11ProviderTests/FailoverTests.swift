// What the application notices of endpoints that fail: nothing, as long as one of them answers.

import CCryptoki
import OperationWire
import Testing

@testable import PKCS11Provider

extension ProviderTests {
    @Suite(.serialized) struct Failover {
        @Test(arguments: [
            SoftHSMHost.Behavior.down, .frozen, .losesReplies, .answers(CKR_DEVICE_REMOVED),
            .answers(CKR_DEVICE_ERROR), .answers(CKR_FUNCTION_FAILED), .answers(CKR_SESSION_HANDLE_INVALID),
            .answers(CKR_DEVICE_MEMORY), .answers(CKR_PIN_LOCKED), .answers(0x8000_1234),
        ])
        func anyOneEndpointMayAnswer(behavior: SoftHSMHost.Behavior) throws {
            let application = try Application()
            let wanted = try application.mac([1, 2, 3])
            for survivor in 0..<3 {
                for (index, host) in application.network.hosts.enumerated() {
                    host.behave(index == survivor ? .well : behavior)
                }
                for _ in 0..<3 { #expect(try application.mac([1, 2, 3]) == wanted) }
            }
        }

        @Test func errorsOfTheRequestAreNotTriedElsewhere() throws {
            let application = try Application()
            for host in application.network.hosts { host.behave(.answers(CKR_DATA_LEN_RANGE)) }
            let before = application.network.hosts.reduce(0) { $0 + $1.state.withLock { $0.requests } }
            #expect(throws: Application.Failed.self) { try application.mac([1]) }
            let after = application.network.hosts.reduce(0) { $0 + $1.state.withLock { $0.requests } }
            #expect(after == before + 1)
        }

        @Test func whenNobodyAnswersTheCallEndsWithAnHonestCode() throws {
            let application = try Application(network: Stage.network(deadlineMilliseconds: 120))
            for host in application.network.hosts { host.behave(.frozen) }
            #expect(application.signInit() == CKR_OK)
            var data: [UInt8] = [1]
            var signature = [UInt8](repeating: 0, count: 16)
            var length: CK_ULONG = 16
            #expect(cSign(application.session, &data, 1, &signature, &length) == CKR_DEVICE_ERROR)
            for host in application.network.hosts { host.behave(.answers(CKR_DEVICE_MEMORY)) }
            #expect(application.signInit() == CKR_OK)
            #expect(cSign(application.session, &data, 1, &signature, &length) == CKR_DEVICE_MEMORY)
            for host in application.network.hosts { host.behave(.well) }
            #expect(try application.mac([1]).count == 16)
        }

        /// A restarted host has neither the login nor the objects; the application keeps both.
        @Test func derivedKeysAreMadeAnewAfterRestartsAndElsewhere() throws {
            let application = try Application()
            let derived = try application.derive([UInt8](repeating: 5, count: 16))
            let twice = try application.derive([UInt8](repeating: 6, count: 16), base: derived)
            let wanted = try application.mac([7], key: twice)
            for _ in 0..<3 {
                for host in application.network.hosts { host.restart() }
                #expect(try application.mac([7], key: twice) == wanted)
            }
            for survivor in 0..<3 {
                for (index, host) in application.network.hosts.enumerated() {
                    host.behave(index == survivor ? .well : .down)
                }
                #expect(try application.mac([7], key: twice) == wanted)
            }
        }

        @Test func aGeneratedKeyIsLostWithItsEndpoint() throws {
            let application = try Application(network: Stage.network(deadlineMilliseconds: 150))
            var generated: CK_OBJECT_HANDLE = 0
            let template = [WireAttribute(0x161, bytes: ulongBytes(16)), WireAttribute(0x108, bytes: [1])]
            try application.check(
                application.initialize(0x1080) { mechanism in
                    withTemplate(template) {
                        cGenerateKey(application.session, mechanism, $0, $1, &generated)
                    }
                })
            #expect(try application.mac([1], key: generated).count == 16)
            for host in application.network.hosts { host.restart() }
            #expect(application.signInit(key: generated) == CKR_OK)
            var data: [UInt8] = [1]
            var signature = [UInt8](repeating: 0, count: 16)
            var length: CK_ULONG = 16
            let outcome = cSign(application.session, &data, 1, &signature, &length)
            #expect([CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID].contains(outcome))
        }

        @Test func encryptionInPiecesGoesOnElsewhere() throws {
            let application = try Application()
            let iv = [UInt8](repeating: 3, count: 16)
            var plain = [UInt8](repeating: 9, count: 160)
            var wanted = [UInt8](repeating: 0, count: 200)
            var length: CK_ULONG = 200
            #expect(application.initialize(0x1085, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            #expect(cEncrypt(application.session, &plain, 160, &wanted, &length) == CKR_OK)
            wanted = Array(wanted.prefix(Int(length)))
            for lossy in [SoftHSMHost.Behavior.down, .losesReplies, .frozen] {
                #expect(
                    application.initialize(0x1085, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
                var result: [UInt8] = []
                var output = [UInt8](repeating: 0, count: 200)
                for piece in 0..<10 {
                    if piece == 5 {
                        // Whoever has the stream is lost; the others are well.
                        for host in application.network.hosts {
                            host.behave(host.state.withLock { $0.streams.isEmpty } ? .well : lossy)
                        }
                    }
                    length = 200
                    #expect(cEncryptUpdate(application.session, &plain, 16, &output, &length) == CKR_OK)
                    result += output.prefix(Int(length))
                }
                length = 200
                #expect(cEncryptFinal(application.session, &output, &length) == CKR_OK)
                result += output.prefix(Int(length))
                #expect(result == wanted)
                for host in application.network.hosts {
                    host.behave(.well)
                    host.restart()
                }
            }
        }

        @Test func aLongEncryptionFailsWithItsEndpointAndSaysSo() throws {
            let application = try Application()
            let iv = [UInt8](repeating: 3, count: 16)
            var piece = [UInt8](repeating: 9, count: 100_000)
            var output = [UInt8](repeating: 0, count: 100_100)
            #expect(application.initialize(0x1085, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            for _ in 0..<4 {
                var length: CK_ULONG = 100_100
                #expect(cEncryptUpdate(application.session, &piece, 100_000, &output, &length) == CKR_OK)
            }
            for host in application.network.hosts { host.restart() }
            var length: CK_ULONG = 100_100
            #expect(
                cEncryptUpdate(application.session, &piece, 100_000, &output, &length) == CKR_DEVICE_ERROR)
            #expect(
                cEncryptUpdate(application.session, &piece, 100_000, &output, &length)
                    == CKR_OPERATION_NOT_INITIALIZED)
        }

        @Test func endpointsOutOfServiceOrWithoutTheKeyAreNotUsed() throws {
            let application = try Application()
            application.network.change { directory in
                directory.endpoints[0].service = .out
                directory.keys[0].replicas.removeAll { $0.endpoint == 1 }
            }
            let before = application.network.hosts.map { $0.state.withLock { $0.requests } }
            for _ in 0..<6 { _ = try application.mac([1]) }
            let after = application.network.hosts.map { $0.state.withLock { $0.requests } }
            #expect(after[0] == before[0])
            #expect(after[1] == before[1])
            #expect(after[2] >= before[2] + 6)
        }

        @Test func manyThreadsWithSessionsOfTheirOwnAgree() async throws {
            let application = try Application()
            let wanted = try application.mac([1, 2, 3])
            let results = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var session: CK_SESSION_HANDLE = 0
                        guard cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &session) == CKR_OK
                        else {
                            return false
                        }
                        for _ in 0..<50 {
                            var mechanism = CK_MECHANISM(
                                mechanism: 0x108A, pParameter: nil, ulParameterLen: 0)
                            guard cSignInit(session, &mechanism, 1) == CKR_OK else { return false }
                            var data: [UInt8] = [1, 2, 3]
                            var signature = [UInt8](repeating: 0, count: 16)
                            var length: CK_ULONG = 16
                            guard cSign(session, &data, 3, &signature, &length) == CKR_OK, signature == wanted
                            else {
                                return false
                            }
                        }
                        return cCloseSession(session) == CKR_OK
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.allSatisfy { $0 })
        }

        @Test func aThousandSessionsAreOpenAtOnce() throws {
            _ = try Application()
            var sessions = [CK_SESSION_HANDLE](repeating: 0, count: 1_000)
            for index in sessions.indices {
                #expect(cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &sessions[index]) == CKR_OK)
            }
            #expect(Set(sessions).count == 1_000)
            #expect(cCloseAllSessions(1) == CKR_OK)
        }
    }
}
