import PKCS11
import TokenHostLink

// What a token host keeps for each client: the session objects that it made. Each session of an application
// that makes objects has one session of the module behind it, since that is what their life hangs on (PKCS#11
// v2.40 §5.6, C_CloseSession). All sessions of this process see all its objects, so every thread can use
// them; that a client uses only its own is checked here.

/// A session of the module with its token.
final class DataSession {
    var session: Session
    init(_ session: consuming Session) { self.session = session }
}

/// Bounds of what one client may keep here.
enum DataLimits {
    /// The most sessions with objects.
    static let sessions = 1_024
    /// The most session objects.
    static let objects = 16_384
}

/// One client's session objects. Used from any thread.
final class DataClient: Sendable {
    private struct State {
        var owners: [UInt64: Monitor<DataSession>] = [:]
        /// Which session of the application owns an object.
        var objects: [UInt: UInt64] = [:]
        var isGone = false
        var role: ApplicationUser.Role?
    }
    private let shared = Monitor<State>(State())

    /// The session that owns what this session of the application makes, opened when it is the first time.
    func owner(
        _ session: UInt64, open: () throws(PKCS11Error) -> DataSession
    ) throws(PKCS11Error) -> Monitor<DataSession> {
        if let owner = shared.look({ $0.owners[session] }) { return owner }
        guard shared.look({ $0.owners.count < DataLimits.sessions && !$0.isGone }) else {
            throw PKCS11Error(.openSession, .sessionCount)
        }
        let opened = Monitor(try open())
        // Another thread may have been quicker; then this one is closed again.
        return shared.change { state in
            if let present = state.owners[session] { return present }
            if !state.isGone { state.owners[session] = opened }
            return opened
        }
    }

    /// Remembers an object; false when there are too many, or the client is gone.
    func remember(_ objects: [ObjectHandle], of session: UInt64) -> Bool {
        shared.change { state in
            guard !state.isGone, state.objects.count + objects.count <= DataLimits.objects else {
                return false
            }
            for object in objects { state.objects[object.number] = session }
            return true
        }
    }

    /// What the user may do who has logged in; nil for nobody.
    var role: ApplicationUser.Role? { shared.look { $0.role } }
    func logIn(as role: ApplicationUser.Role) { shared.change { $0.role = role } }

    /// Nobody is logged in any more, and all session objects are gone.
    func logOut() {
        let owners = shared.change { state in
            state.role = nil
            state.objects = [:]
            defer { state.owners = [:] }
            return state.owners
        }
        withExtendedLifetime(owners) {}
    }

    func owns(_ object: UInt) -> Bool { shared.look { $0.objects[object] != nil } }
    func ownerOf(_ object: UInt) -> UInt64? { shared.look { $0.objects[object] } }
    func forget(_ object: ObjectHandle) { shared.change { $0.objects[object.number] = nil } }

    /// Closes the session behind a session of the application; its objects are gone with it.
    func close(_ session: UInt64) {
        let owner = shared.change { state in
            state.objects = state.objects.filter { $0.value != session }
            return state.owners.removeValue(forKey: session)
        }
        withExtendedLifetime(owner) {}
    }

    /// Closes everything, for good.
    func close() {
        let owners = shared.change { state in
            state.isGone = true
            state.objects = [:]
            defer { state.owners = [:] }
            return state.owners
        }
        withExtendedLifetime(owners) {}
    }
}

/// All clients.
final class DataClients: Sendable {
    private let shared = Monitor<[UInt64: DataClient]>([:])
    func add(_ number: UInt64) { shared.change { $0[number] = DataClient() } }
    func remove(_ number: UInt64) -> DataClient? { shared.change { $0.removeValue(forKey: number) } }
    func find(_ number: UInt64) -> DataClient? { shared.look { $0[number] } }
}
