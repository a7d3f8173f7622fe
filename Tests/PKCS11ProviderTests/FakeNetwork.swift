// The provider's network for tests: three hosts over SoftHSM tokens that hold the same keys, and a directory that says so.

import CCryptoki
import ClusterModel
import Foundation
import OperationWire
import Synchronization

@testable import PKCS11Provider

final class Sent: PendingReply {
    let answer: HostAnswer?
    init(_ answer: HostAnswer?) { self.answer = answer }
}

final class FakeNetwork: HostNetwork {
    let hosts: [SoftHSMHost]
    let published: Mutex<Directory>
    let closes = Atomic<Int>(0)

    init(hosts: [SoftHSMHost], directory: Directory) {
        self.hosts = hosts
        published = Mutex(directory)
    }

    func begin(
        _ request: [UInt8], to endpoint: Directory.Endpoint, replyBytes: Int, connectBy: Instant,
        deadline: Instant
    ) throws(HostUnreachable) -> any PendingReply {
        guard let host = hosts.first(where: { $0.name == endpoint.name }) else { throw HostUnreachable() }
        switch host.state.withLock({ $0.behavior }) {
        case .down: throw HostUnreachable()
        case .frozen: return Sent(nil)
        case .well, .answers, .losesReplies: break
        }
        guard let read = try? OperationRequest(decoding: request) else { return Sent(.lost) }
        let reply = host.serve(read)
        if host.state.withLock({ $0.behavior }) == .losesReplies { return Sent(.lost) }
        guard let bytes = try? reply.encode() else { return Sent(.lost) }
        return Sent(.reply(bytes))
    }

    func wait(for pending: [any PendingReply], nanoseconds: Int64) -> (position: Int, answer: HostAnswer)? {
        for (position, one) in pending.enumerated() {
            if let answer = (one as? Sent)?.answer { return (position, answer) }
        }
        sleep(nanoseconds: nanoseconds)
        return nil
    }

    func abandon(_ pending: any PendingReply) {}
    func epoch() -> UInt64 { published.withLock { $0.epoch } }
    func directory() -> Directory? { published.withLock { $0 } }
    func now() -> Instant { Instant(nanoseconds: Int64(DispatchTime.now().uptimeNanoseconds)) }
    func sleep(nanoseconds: Int64) { usleep(UInt32(max(nanoseconds / 1_000, 0))) }
    func close() { closes.add(1, ordering: .relaxed) }

    func change(_ body: (inout Directory) -> Void) {
        published.withLock { directory in
            body(&directory)
            directory.epoch += 1
        }
    }
}

/// The keys that stand on all tokens, and the tokens themselves: made once.
enum Stage {
    static let aesValue: [UInt8] = Array(0..<32)
    static let hosts = Result { try makeHosts() }

    private static func makeHosts() throws -> [SoftHSMHost] {
        let hosts = try ["hsm-a", "hsm-b", "hsm-c"].map { try SoftHSMHost($0) }
        for (index, host) in hosts.enumerated() {
            let list = host.softHSM.functions.pointee
            var handle: CK_OBJECT_HANDLE = 0
            let yes: [UInt8] = [1]
            let value = withTemplate(
                [
                    WireAttribute(0, bytes: ulongBytes(4)), WireAttribute(1, bytes: yes),
                    WireAttribute(2, bytes: yes), WireAttribute(0x100, bytes: ulongBytes(0x1F)),
                    WireAttribute(0x11, bytes: aesValue), WireAttribute(0x102, bytes: [7, UInt8(index)]),
                    WireAttribute(0x104, bytes: yes), WireAttribute(0x105, bytes: yes),
                    WireAttribute(0x106, bytes: yes), WireAttribute(0x107, bytes: yes),
                    WireAttribute(0x108, bytes: yes), WireAttribute(0x10A, bytes: yes),
                    WireAttribute(0x10C, bytes: yes), WireAttribute(0x103, bytes: yes),
                ]
            ) { list.C_CreateObject(host.session, $0, $1, &handle) }
            try host.softHSM.check(value, "C_CreateObject")
        }
        return hosts
    }

    /// A fresh network over the same tokens.
    static func network(hedgeMilliseconds: UInt32 = 30, deadlineMilliseconds: UInt32 = 500) throws
        -> FakeNetwork
    {
        let hosts = try hosts.get()
        for host in hosts {
            host.behave(.well)
            host.restart()
        }
        let flags: Directory.Key.Flags = [
            .encrypt, .decrypt, .wrap, .unwrap, .sign, .verify, .derive, .isPrivate, .sensitive,
        ]
        let key = Directory.Key(
            number: 1, objectClass: 4, keyType: 0x1F, label: "CMS MK 4099", identifier: [0x40, 0x99],
            length: 32,
            flags: flags,
            replicas: (0..<3).map { .init(endpoint: UInt32($0), identifier: [7, UInt8($0)]) })
        var narrow = key
        narrow.number = 2
        narrow.label = "CMS MK 4100"
        narrow.identifier = [0x41, 0]
        narrow.flags = [.derive, .isPrivate, .sensitive]
        let types: [UInt64] = [
            0x0, 0x250, 0x1080, 0x1081, 0x1082, 0x1085, 0x108A, 0x1104, 0x2109, 0x251,
        ]
        return FakeNetwork(
            hosts: hosts,
            directory: Directory(
                epoch: 1, clusterName: "cms", tokenLabel: "cms", tokenSerialNumber: "4711",
                deadlineMilliseconds: deadlineMilliseconds, hedgeMilliseconds: hedgeMilliseconds,
                endpoints: hosts.map { .init(name: $0.name, service: .inService, socketPath: "/fake") },
                mechanisms: types.map {
                    .init(type: $0, minimumKeySize: 16, maximumKeySize: 32, flags: 0x800)
                },
                keys: [key, narrow]))
    }
}

/// An application: initialized, with a session, logged in.
struct Application {
    let network: FakeNetwork
    let session: CK_SESSION_HANDLE

    init(network: FakeNetwork? = nil, over other: (any HostNetwork)? = nil, logIn: Bool = true) throws {
        let network = try network ?? Stage.network()
        let used = other ?? network
        self.network = network
        _ = cFinalize(nil)
        try Library.start(LibrarySettings(defaultUser: Array("cms".utf8))) { () throws(Refusal) in used }
        var session: CK_SESSION_HANDLE = 0
        try Self.check(cOpenSession(1, CK_FLAGS(CKF_SERIAL_SESSION | CKF_RW_SESSION), nil, nil, &session))
        self.session = session
        if logIn { try Self.check(Self.logIn(session, "cms:secret")) }
    }

    struct Failed: Error { let value: CK_RV }

    func check(_ value: CK_RV) throws { try Self.check(value) }

    private static func check(_ value: CK_RV) throws {
        guard value == CKR_OK else { throw Failed(value: value) }
    }

    static func logIn(_ session: CK_SESSION_HANDLE, _ pin: String) -> CK_RV {
        var bytes = Array(pin.utf8)
        return cLogin(session, CK_USER_TYPE(CKU_USER), &bytes, CK_ULONG(bytes.count))
    }

    func initialize(
        _ type: CK_MECHANISM_TYPE, _ parameter: [UInt8] = [],
        _ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV
    ) -> CK_RV {
        var parameter = parameter
        return parameter.withUnsafeMutableBytes { raw in
            var mechanism = CK_MECHANISM(
                mechanism: type, pParameter: raw.isEmpty ? nil : raw.baseAddress,
                ulParameterLen: CK_ULONG(raw.count))
            return body(&mechanism)
        }
    }

    func signInit(key: CK_OBJECT_HANDLE = 1) -> CK_RV {
        initialize(0x108A) { cSignInit(session, $0, key) }
    }

    func mac(_ data: [UInt8], key: CK_OBJECT_HANDLE = 1) throws -> [UInt8] {
        try check(signInit(key: key))
        var data = data
        var signature = [UInt8](repeating: 0, count: 16)
        var length = CK_ULONG(signature.count)
        try check(cSign(session, &data, CK_ULONG(data.count), &signature, &length))
        return Array(signature.prefix(Int(length)))
    }

    func derive(_ data: [UInt8], base: CK_OBJECT_HANDLE = 1, extra: [WireAttribute] = []) throws
        -> CK_OBJECT_HANDLE
    {
        var data = data
        var handle: CK_OBJECT_HANDLE = 0
        let template =
            [
                WireAttribute(0x100, bytes: ulongBytes(0x1F)), WireAttribute(0x161, bytes: ulongBytes(16)),
                WireAttribute(0x104, bytes: [1]), WireAttribute(0x108, bytes: [1]),
                WireAttribute(0x10C, bytes: [1]), WireAttribute(0x103, bytes: [0]),
                WireAttribute(0x162, bytes: [1]),
            ] + extra
        try check(
            data.withUnsafeMutableBufferPointer { data in
                var string = CK_KEY_DERIVATION_STRING_DATA(
                    pData: data.baseAddress, ulLen: CK_ULONG(data.count))
                return withUnsafeMutableBytes(of: &string) { raw in
                    var mechanism = CK_MECHANISM(
                        mechanism: 0x1104, pParameter: raw.baseAddress, ulParameterLen: CK_ULONG(raw.count))
                    return withTemplate(template) {
                        cDeriveKey(session, &mechanism, base, $0, $1, &handle)
                    }
                }
            })
        return handle
    }

    func value(_ handle: CK_OBJECT_HANDLE, _ type: CK_ATTRIBUTE_TYPE = 0x11) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        var length: CK_ULONG = 0
        let outcome = bytes.withUnsafeMutableBytes { raw in
            var attribute = CK_ATTRIBUTE(
                type: type, pValue: raw.baseAddress, ulValueLen: CK_ULONG(raw.count))
            defer { length = attribute.ulValueLen }
            return cGetAttributeValue(session, handle, &attribute, 1)
        }
        try check(outcome)
        return Array(bytes.prefix(Int(length)))
    }

    func find(_ template: [WireAttribute]) throws -> [CK_OBJECT_HANDLE] {
        try check(withTemplate(template) { cFindObjectsInit(session, $0, $1) })
        var handles = [CK_OBJECT_HANDLE](repeating: 0, count: 100)
        var count: CK_ULONG = 0
        try check(cFindObjects(session, &handles, 100, &count))
        try check(cFindObjectsFinal(session))
        return Array(handles.prefix(Int(count)))
    }
}
