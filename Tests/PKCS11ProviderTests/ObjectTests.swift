// Login, search, attributes and session objects.

import CCryptoki
import OperationWire
import Testing

@testable import PKCS11Provider

extension ProviderTests {
    @Suite(.serialized) struct Objects {
        @Test func loginTakesUserAndPasswordOrTheDefaultUser() throws {
            let application = try Application(logIn: false)
            let session = application.session
            #expect(try application.find([]).isEmpty)
            #expect(application.signInit() == CKR_KEY_HANDLE_INVALID)
            #expect(cLogout(session) == CKR_USER_NOT_LOGGED_IN)
            #expect(Application.logIn(session, "cms:wrong") == CKR_PIN_INCORRECT)
            #expect(Application.logIn(session, ":secret") == CKR_PIN_INCORRECT)
            #expect(Application.logIn(session, "cms:") == CKR_PIN_INCORRECT)
            #expect(cLogin(session, CK_USER_TYPE(CKU_USER), nil, 5) == CKR_ARGUMENTS_BAD)
            #expect(cLogin(session, CK_USER_TYPE(CKU_SO), nil, 0) == CKR_USER_TYPE_INVALID)
            #expect(cLogin(session, 2, nil, 0) == CKR_OPERATION_NOT_INITIALIZED)
            #expect(Application.logIn(session, "secret") == CKR_OK)
            #expect(Application.logIn(session, "cms:secret") == CKR_USER_ALREADY_LOGGED_IN)
            var info = CK_SESSION_INFO()
            #expect(cGetSessionInfo(session, &info) == CKR_OK)
            #expect(info.state == CK_STATE(CKS_RW_USER_FUNCTIONS))
            #expect(try application.find([]) == [1, 2])
            #expect(cLogout(session) == CKR_OK)
            #expect(try application.find([]).isEmpty)
        }

        @Test func closingTheLastSessionLogsOut() throws {
            let application = try Application()
            #expect(cCloseSession(application.session) == CKR_OK)
            #expect(cCloseSession(application.session) == CKR_SESSION_HANDLE_INVALID)
            var session: CK_SESSION_HANDLE = 0
            #expect(cOpenSession(1, 0, nil, nil, &session) == CKR_SESSION_PARALLEL_NOT_SUPPORTED)
            #expect(cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &session) == CKR_OK)
            var info = CK_SESSION_INFO()
            #expect(cGetSessionInfo(session, &info) == CKR_OK)
            #expect(info.state == CK_STATE(CKS_RO_PUBLIC_SESSION))
            #expect(cCloseAllSessions(1) == CKR_OK)
            #expect(cGetSessionInfo(session, &info) == CKR_SESSION_HANDLE_INVALID)
        }

        @Test func objectsAreFoundByLabelIdentityAndClass() throws {
            let application = try Application()
            #expect(try application.find([WireAttribute(3, bytes: Array("CMS MK 4099".utf8))]) == [1])
            #expect(try application.find([WireAttribute(0x102, bytes: [0x41, 0])]) == [2])
            #expect(try application.find([WireAttribute(0, bytes: ulongBytes(4))]) == [1, 2])
            #expect(try application.find([WireAttribute(0, bytes: ulongBytes(3))]).isEmpty)
            #expect(try application.find([WireAttribute(0x108, bytes: [1])]) == [1])
            // A key without a verified replica is not offered.
            application.network.change { $0.keys[0].replicas = [] }
            #expect(try application.find([]) == [2])
        }

        @Test func attributesTellEverythingButTheKey() throws {
            let application = try Application()
            #expect(try application.value(1, 3) == Array("CMS MK 4099".utf8))
            #expect(try application.value(1, 0x161) == ulongBytes(32))
            #expect(try application.value(1, 1) == [1])
            var small: [UInt8] = [0]
            small.withUnsafeMutableBytes { raw in
                var attributes = [
                    CK_ATTRIBUTE(type: 0x11, pValue: nil, ulValueLen: 0),
                    CK_ATTRIBUTE(type: 0x120, pValue: nil, ulValueLen: 0),
                    CK_ATTRIBUTE(type: 3, pValue: raw.baseAddress, ulValueLen: 1),
                    CK_ATTRIBUTE(type: 0x102, pValue: nil, ulValueLen: 0),
                ]
                // Every attribute is answered although some cannot be.
                #expect(cGetAttributeValue(application.session, 1, &attributes, 4) == CKR_ATTRIBUTE_SENSITIVE)
                #expect(attributes.map(\.ulValueLen) == [.max, .max, .max, 2])
                #expect(
                    cGetAttributeValue(application.session, 1, &attributes[1], 1)
                        == CKR_ATTRIBUTE_TYPE_INVALID)
                attributes[2].ulValueLen = 1
                #expect(cGetAttributeValue(application.session, 1, &attributes[2], 1) == CKR_BUFFER_TOO_SMALL)
            }
            #expect(throws: Application.Failed.self) { try application.value(99, 3) }
        }

        @Test func tenThousandKeysAreSearchedByLabelInOneLookUp() throws {
            let network = try Stage.network()
            network.change { directory in
                let pattern = directory.keys[0]
                directory.keys = (1...10_000).map { number in
                    var key = pattern
                    key.number = UInt64(number)
                    key.label = "CMS MK \(number)"
                    return key
                }
            }
            let application = try Application(network: network)
            #expect(try application.find([WireAttribute(3, bytes: Array("CMS MK 9999".utf8))]) == [9_999])
            #expect(cFindObjectsInit(application.session, nil, 0) == CKR_OK)
            var handles = [CK_OBJECT_HANDLE](repeating: 0, count: 6_000)
            var count: CK_ULONG = 0
            var all: [CK_OBJECT_HANDLE] = []
            repeat {
                #expect(cFindObjects(application.session, &handles, 6_000, &count) == CKR_OK)
                all += handles.prefix(Int(count))
            } while count > 0
            #expect(all == Array(1...10_000))
        }

        @Test func derivedKeysWorkAndDieWithTheirSession() throws {
            let application = try Application()
            let data = [UInt8](repeating: 5, count: 16)
            let derived = try application.derive(data)
            #expect(derived >= CK_OBJECT_HANDLE(ProviderLimits.firstSessionObject))
            let value = try application.value(derived)
            #expect(value.count == 16)
            // AES-ECB of the data under the known key is what the derivation is.
            var output = [UInt8](repeating: 0, count: 16)
            var length: CK_ULONG = 16
            var input = data
            #expect(application.initialize(0x1081) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            #expect(cEncrypt(application.session, &input, 16, &output, &length) == CKR_OK)
            #expect(output == value)
            #expect(try application.find([WireAttribute(1, bytes: [0])]) == [derived])
            var other: CK_SESSION_HANDLE = 0
            #expect(cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &other) == CKR_OK)
            #expect(cCloseSession(application.session) == CKR_OK)
            var attribute = CK_ATTRIBUTE(type: 0, pValue: nil, ulValueLen: 0)
            #expect(cGetAttributeValue(other, derived, &attribute, 1) == CKR_OBJECT_HANDLE_INVALID)
        }

        @Test func tokenObjectsAreNotMadeChangedOrDestroyedThroughASession() throws {
            let application = try Application()
            let session = application.session
            var handle: CK_OBJECT_HANDLE = 0
            let tokenKey = [
                WireAttribute(0, bytes: ulongBytes(4)), WireAttribute(1, bytes: [1]),
                WireAttribute(0x100, bytes: ulongBytes(0x1F)), WireAttribute(0x161, bytes: ulongBytes(16)),
            ]
            #expect(
                withTemplate(tokenKey) { cCreateObject(session, $0, $1, &handle) }
                    == CKR_TOKEN_WRITE_PROTECTED)
            #expect(
                application.initialize(0x1080) { mechanism in
                    withTemplate(tokenKey) { cGenerateKey(session, mechanism, $0, $1, &handle) }
                } == CKR_TOKEN_WRITE_PROTECTED)
            #expect(cDestroyObject(session, 1) == CKR_TOKEN_WRITE_PROTECTED)
            #expect(
                withTemplate([WireAttribute(3, bytes: [0x61])]) { cSetAttributeValue(session, 1, $0, $1) }
                    == CKR_TOKEN_WRITE_PROTECTED)
            var readOnly: CK_SESSION_HANDLE = 0
            #expect(cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION), nil, nil, &readOnly) == CKR_OK)
            #expect(
                withTemplate(tokenKey) { cCreateObject(readOnly, $0, $1, &handle) } == CKR_SESSION_READ_ONLY)
        }

        @Test func sessionObjectsAreMadeWrappedChangedAndDestroyed() throws {
            let application = try Application()
            let session = application.session
            var generated: CK_OBJECT_HANDLE = 0
            let template = [
                WireAttribute(0x161, bytes: ulongBytes(16)), WireAttribute(0x162, bytes: [1]),
                WireAttribute(0x103, bytes: [0]), WireAttribute(0x108, bytes: [1]),
            ]
            #expect(
                application.initialize(0x1080) { mechanism in
                    withTemplate(template) { cGenerateKey(session, mechanism, $0, $1, &generated) }
                } == CKR_OK)
            var wrapped = [UInt8](repeating: 0, count: 100)
            var length: CK_ULONG = 100
            #expect(
                application.initialize(0x2109) { cWrapKey(session, $0, 1, generated, &wrapped, &length) }
                    == CKR_OK)
            #expect(length == 24)
            #expect(
                application.initialize(0x2109) { cWrapKey(session, $0, 1, 2, &wrapped, &length) }
                    == CKR_KEY_UNEXTRACTABLE)
            var unwrapped: CK_OBJECT_HANDLE = 0
            let key = [
                WireAttribute(0, bytes: ulongBytes(4)), WireAttribute(0x100, bytes: ulongBytes(0x1F)),
                WireAttribute(0x103, bytes: [0]), WireAttribute(0x162, bytes: [1]),
                WireAttribute(0x108, bytes: [1]),
            ]
            #expect(
                application.initialize(0x2109) { mechanism in
                    withTemplate(key) { cUnwrapKey(session, mechanism, 1, &wrapped, 24, $0, $1, &unwrapped) }
                } == CKR_OK)
            #expect(try application.value(unwrapped) == application.value(generated))
            var created: CK_OBJECT_HANDLE = 0
            let given = key + [WireAttribute(0x11, bytes: Array(0..<16)), WireAttribute(3, bytes: [0x61])]
            #expect(withTemplate(given) { cCreateObject(session, $0, $1, &created) } == CKR_OK)
            #expect(try application.value(created) == Array(0..<16))
            var size: CK_ULONG = 0
            #expect([CKR_OK, CKR_FUNCTION_NOT_SUPPORTED].contains(cGetObjectSize(session, created, &size)))
            #expect(cGetObjectSize(session, 1, &size) == CKR_INFORMATION_SENSITIVE)
            #expect(cDestroyObject(session, created) == CKR_OK)
            #expect(cDestroyObject(session, created) == CKR_OBJECT_HANDLE_INVALID)
        }
    }
}
