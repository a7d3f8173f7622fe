// A token host for tests: carries out the requests of `OperationWire` on a SoftHSM token, in the test's own process and on
// the caller's thread. It fails on command, as a host that is down, hangs, is busy or was restarted.

import CCryptoki
import Foundation
import OperationWire
import Synchronization

typealias FunctionList = UnsafeMutablePointer<CK_FUNCTION_LIST>

/// SoftHSM, loaded once with a configuration of its own.
// Sendable: the table is not changed after loading, and SoftHSM is initialized for threads.
struct SoftHSM: @unchecked Sendable {
    let functions: FunctionList

    static let shared = Result { try SoftHSM() }

    struct Problem: Error { let what: String }

    private init() throws {
        let folder = NSTemporaryDirectory() + "/hsmcluster-provider-\(getpid())"
        try? FileManager.default.removeItem(atPath: folder)
        try FileManager.default.createDirectory(atPath: folder + "/tokens", withIntermediateDirectories: true)
        let configuration = """
            directories.tokendir = \(folder)/tokens
            objectstore.backend = file
            log.level = ERROR

            """
        try configuration.write(toFile: folder + "/softhsm2.conf", atomically: true, encoding: .utf8)
        setenv("SOFTHSM2_CONF", folder + "/softhsm2.conf", 1)
        setenv("HSMCLUSTER_TEST_PROVIDER_FOLDER", folder, 1)
        atexit {
            guard let folder = getenv("HSMCLUSTER_TEST_PROVIDER_FOLDER") else { return }
            try? FileManager.default.removeItem(atPath: String(cString: folder))
        }
        let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"]
        guard let installed = places.first(where: FileManager.default.isReadableFile(atPath:)) else {
            throw Problem(what: "SoftHSM 2 is missing: install the package softhsm2")
        }
        // A copy of the file is a library of its own: other tests of this process may have initialized SoftHSM.
        let path = folder + "/libsofthsm2.so"
        try FileManager.default.copyItem(
            atPath: URL(fileURLWithPath: installed).resolvingSymlinksInPath().path, toPath: path)
        guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL),
            let symbol = dlsym(library, "C_GetFunctionList")
        else { throw Problem(what: "SoftHSM cannot be loaded") }
        typealias GetList = @convention(c) (UnsafeMutablePointer<FunctionList?>) -> CK_RV
        var list: FunctionList?
        _ = unsafeBitCast(symbol, to: GetList.self)(&list)
        guard let list else { throw Problem(what: "SoftHSM has no functions") }
        functions = list
        var arguments = CK_C_INITIALIZE_ARGS()
        arguments.flags = CK_FLAGS(CKF_OS_LOCKING_OK)
        try check(list.pointee.C_Initialize(&arguments), "C_Initialize")
    }

    /// Makes a token and logs its user in.
    func makeToken(_ label: String) throws -> CK_SESSION_HANDLE {
        let list = functions.pointee
        var count: CK_ULONG = 0
        try check(list.C_GetSlotList(1, nil, &count), "C_GetSlotList")
        var slots = [CK_SLOT_ID](repeating: 0, count: Int(count))
        try check(list.C_GetSlotList(1, &slots, &count), "C_GetSlotList")
        guard let slot = slots.last else { throw Problem(what: "no slot") }
        var pin = Array("user-4711".utf8)
        var padded = Array(label.utf8) + [UInt8](repeating: 0x20, count: 32 - label.utf8.count)
        try check(list.C_InitToken(slot, &pin, CK_ULONG(pin.count), &padded), "C_InitToken")
        var session: CK_SESSION_HANDLE = 0
        let flags = CK_FLAGS(CKF_SERIAL_SESSION | CKF_RW_SESSION)
        // SoftHSM gives an initialized token a new slot number once the list is asked for again.
        try check(list.C_GetSlotList(1, nil, &count), "C_GetSlotList")
        try check(list.C_OpenSession(slot, flags, nil, nil, &session), "C_OpenSession")
        try check(list.C_Login(session, CK_USER_TYPE(CKU_SO), &pin, CK_ULONG(pin.count)), "C_Login")
        try check(list.C_InitPIN(session, &pin, CK_ULONG(pin.count)), "C_InitPIN")
        try check(list.C_Logout(session), "C_Logout")
        try check(list.C_Login(session, CK_USER_TYPE(CKU_USER), &pin, CK_ULONG(pin.count)), "C_Login")
        return session
    }

    func check(_ value: CK_RV, _ function: String) throws {
        guard value == CKR_OK else { throw Problem(what: "\(function): \(String(value, radix: 16))") }
    }
}

/// One endpoint.
final class SoftHSMHost: Sendable {
    /// How the host behaves.
    enum Behavior: Sendable, Equatable {
        case well
        case down
        case frozen
        case answers(CK_RV)
        /// Takes the request, does it, and loses the reply.
        case losesReplies
    }

    struct State {
        var behavior = Behavior.well
        var incarnation: UInt64 = 1
        var isLoggedIn = false
        var requests = 0
        var streams: [StreamNumber: (CK_SESSION_HANDLE, DataFunction)] = [:]
        var owners: [UInt64: [CK_OBJECT_HANDLE]] = [:]
    }

    let name: String
    let state = Mutex(State())
    let softHSM: SoftHSM
    let session: CK_SESSION_HANDLE
    private let slot: CK_SLOT_ID

    init(_ name: String) throws {
        self.name = name
        softHSM = try SoftHSM.shared.get()
        session = try softHSM.makeToken(name)
        var info = CK_SESSION_INFO()
        try softHSM.check(softHSM.functions.pointee.C_GetSessionInfo(session, &info), "C_GetSessionInfo")
        slot = info.slotID
    }

    func behave(_ behavior: Behavior) { state.withLock { $0.behavior = behavior } }

    /// As after a restart: session objects, streams and logins are gone.
    func restart() {
        state.withLock { state in
            state.incarnation += 1
            state.isLoggedIn = false
            for (session, _) in state.streams.values { _ = softHSM.functions.pointee.C_CloseSession(session) }
            state.streams = [:]
            state.owners = [:]
        }
    }

    /// Carries a request out; nil when there will be no reply.
    func serve(_ request: OperationRequest) -> OperationReply {
        state.withLock { state in
            state.requests += 1
            func refuse(_ value: CK_RV) -> OperationReply {
                OperationReply(number: request.number, returnValue: UInt64(value), origin: .tokenHost)
            }
            if case .answers(let value) = state.behavior {
                return OperationReply(number: request.number, returnValue: UInt64(value))
            }
            switch request.operation {
            case .logIn(let user, let password):
                guard user == Array("cms".utf8), password == Array("secret".utf8) else {
                    return refuse(CKR_PIN_INCORRECT)
                }
                state.isLoggedIn = true
                return OperationReply(number: request.number, returnValue: 0, origin: .tokenHost)
            case .logOut:
                state.isLoggedIn = false
                return OperationReply(number: request.number, returnValue: 0, origin: .tokenHost)
            case .closeSession:
                for handle in state.owners.removeValue(forKey: request.session) ?? [] {
                    _ = softHSM.functions.pointee.C_DestroyObject(session, handle)
                }
                return OperationReply(number: request.number, returnValue: 0, origin: .tokenHost)
            default: break
            }
            let performer = Performer(
                list: softHSM.functions.pointee, session: session, slot: slot, state: state, request: request)
            do {
                let body = try performer.perform()
                state = performer.state
                return OperationReply(number: request.number, returnValue: 0, body: body)
            } catch let failure as Performer.Failure {
                state = performer.state
                return OperationReply(
                    number: request.number, returnValue: UInt64(failure.value),
                    origin: failure.isHost ? .tokenHost : .module, body: failure.body)
            } catch { return refuse(CKR_GENERAL_ERROR) }
        }
    }
}
