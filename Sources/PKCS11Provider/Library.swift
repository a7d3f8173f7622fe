internal import CCryptoki
internal import ClusterModel
internal import Glibc
internal import OperationWire
internal import Synchronization

// C_Initialize, C_Finalize and fork (PKCS#11 v2.40 §5.4, §6.6.1): a child process is not initialized, whatever its parent
// was, and may initialize anew. The parent's locks may be held by threads that the child does not have, so the child
// never touches them: it makes a library object of its own and leaves the other one alone.

/// Everything between C_Initialize and C_Finalize.
final class Library: Sendable {
    let network: any HostNetwork
    let settings: LibrarySettings
    let directories: DirectoryKeeper
    let sessions = HandleTable<Session>(limit: ProviderLimits.sessions)
    let objects = HandleTable<SessionObject>(limit: ProviderLimits.sessionObjects)
    let login = LoginKeeper()
    let requestNumbers = Atomic<UInt64>(1)
    private let nextSession = Atomic<UInt64>(1)
    private let nextObject = Atomic<UInt64>(ProviderLimits.firstSessionObject)
    private let process: pid_t
    private let phase = Atomic<Int>(Phase.running)

    private enum Phase {
        static let running = 1
        static let finished = 2
    }

    init(network: any HostNetwork, settings: LibrarySettings) {
        self.network = network
        self.settings = settings
        directories = DirectoryKeeper(network: network, settings: settings)
        process = getpid()
    }

    /// The address of the library object in use, 0 before the first C_Initialize.
    private static let current = Atomic<UInt>(0)

    /// The initialized library of this process.
    static func entered() throws(Refusal) -> Library {
        guard let library = latest(), library.isRunning else { throw .notInitialized }
        return library
    }

    private static func latest() -> Library? {
        guard let address = UnsafeRawPointer(bitPattern: current.load(ordering: .acquiring)) else {
            return nil
        }
        return Unmanaged<Library>.fromOpaque(address).takeUnretainedValue()
    }

    private var isRunning: Bool {
        phase.load(ordering: .acquiring) == Phase.running && process == getpid()
    }

    /// C_Initialize. The object of an earlier time is freed only now: a thread that is still leaving it holds it itself. One
    /// that came from a parent process is left alone.
    static func start(
        _ settings: LibrarySettings, network: () throws(Refusal) -> any HostNetwork
    ) throws(Refusal) {
        let before = current.load(ordering: .acquiring)
        if let library = latest(), library.isRunning { throw Refusal(CKR_CRYPTOKI_ALREADY_INITIALIZED) }
        let library = Library(network: try network(), settings: settings)
        let address = Unmanaged.passRetained(library).toOpaque()
        let (exchanged, _) = current.compareExchange(
            expected: before, desired: UInt(bitPattern: address), ordering: .acquiringAndReleasing)
        guard !exchanged else {
            guard let old = UnsafeRawPointer(bitPattern: before) else { return }
            let retired = Unmanaged<Library>.fromOpaque(old)
            if retired.takeUnretainedValue().process == getpid() { retired.release() }
            return
        }
        library.network.close()
        Unmanaged<Library>.fromOpaque(address).release()
        throw Refusal(CKR_CRYPTOKI_ALREADY_INITIALIZED)
    }

    /// C_Finalize.
    func finish() throws(Refusal) {
        let (exchanged, _) = phase.compareExchange(
            expected: Phase.running, desired: Phase.finished, ordering: .acquiringAndReleasing)
        guard exchanged else { throw .notInitialized }
        closeAllSessions(tellHosts: true)
        network.close()
    }

    // MARK: Sessions

    func session(_ handle: CK_SESSION_HANDLE) throws(Refusal) -> Session {
        guard let session = sessions[UInt64(handle)] else { throw .sessionHandle }
        return session
    }

    func openSession(readWrite: Bool) throws(Refusal) -> UInt64 {
        let handle = nextSession.add(1, ordering: .relaxed).oldValue
        guard sessions.insert(Session(handle: handle, isReadWrite: readWrite), at: handle) else {
            throw Refusal(CKR_SESSION_COUNT)
        }
        return handle
    }

    /// Closes a session: its objects are destroyed, its operations given up. The last one logs out (§5.6).
    func closeSession(_ handle: UInt64) throws(Refusal) {
        guard let session = sessions.remove(handle) else { throw .sessionHandle }
        discard(session, tellHosts: true)
        if sessions.count == 0 { logOutEverywhere() }
    }

    func closeAllSessions(tellHosts: Bool) {
        for (handle, _) in sessions.all() {
            guard let session = sessions.remove(handle) else { continue }
            discard(session, tellHosts: tellHosts)
        }
        logOutEverywhere()
    }

    private func discard(_ session: Session, tellHosts: Bool) {
        if objects.count > 0 {
            for (handle, object) in objects.all() where object.owner == session.handle {
                object.recipe.withLock { $0.wipe() }
                _ = objects.remove(handle)
            }
        }
        session.state.withLock { $0 = SessionState() }
        let touched = session.touched.withLock { $0 }
        guard tellHosts, !touched.isEmpty, let view = directories.view() else { return }
        for (index, endpoint) in view.endpoints.enumerated() where touched.contains(endpoint.name) {
            tell(.closeSession, session: session.handle, to: index, of: view)
        }
    }

    /// The view that a session works with.
    func view(_ state: inout SessionState) throws(Refusal) -> DirectoryView {
        let epoch = directories.epoch()
        if let view = state.view, state.epoch == epoch { return view }
        guard let view = directories.view() else { throw Refusal(CKR_TOKEN_NOT_PRESENT) }
        state.view = view
        state.epoch = epoch
        return view
    }

    func anyView() throws(Refusal) -> DirectoryView {
        guard let view = directories.view() else { throw Refusal(CKR_TOKEN_NOT_PRESENT) }
        return view
    }

    // MARK: Objects

    func addObject(owner: UInt64, recipe: Recipe, known: [WireAttribute]) throws(Refusal) -> SessionObject {
        let handle = nextObject.add(1, ordering: .relaxed).oldValue
        let object = SessionObject(handle: handle, owner: owner, recipe: recipe, known: known)
        guard objects.insert(object, at: handle) else { throw Refusal(CKR_DEVICE_MEMORY) }
        return object
    }

    /// Finds a key for use; private ones only after login.
    func source(
        _ handle: CK_OBJECT_HANDLE, in view: DirectoryView, otherwise: Refusal = .keyHandle
    ) throws(Refusal) -> KeySource {
        let handle = UInt64(handle)
        if handle >= ProviderLimits.firstSessionObject {
            guard let object = objects[handle] else { throw otherwise }
            return .session(object)
        }
        guard let key = view.key(number: handle) else { throw otherwise }
        guard !key.flags.contains(.isPrivate) || mayUsePrivate(in: view) else { throw otherwise }
        return .token(handle)
    }

    func mayUsePrivate(in view: DirectoryView) -> Bool {
        login.isLoggedIn || !view.directory.loginRequired
    }
}

extension Recipe {
    /// Overwrites key material that the application gave.
    mutating func wipe() {
        guard case .create(var template) = self else { return }
        self = .generated
        template.wipe()
    }
}
