internal import CCryptoki
internal import ClusterModel
internal import OperationWire
internal import Synchronization

// Login as `user:password` (PKCS#11 v2.40 §5.6). It belongs to the application, not to a session (§6.7.4), and to no HSM: the
// token hosts check it against the cluster's users. The password is kept until C_Logout, in memory that is wiped, since a
// token host that was restarted has to be shown it again.

/// Whether this application is logged in, and as whom.
final class LoginKeeper: Sendable {
    struct Credential {
        var user: [UInt8]
        var password: [UInt8]
    }
    private let credential = Mutex<Credential?>(nil)
    private let flag = Atomic<Bool>(false)

    var isLoggedIn: Bool { flag.load(ordering: .acquiring) }

    func set(_ new: Credential) {
        credential.withLock { $0 = new }
        flag.store(true, ordering: .releasing)
    }

    /// The request that shows the password to a token host; nil when nobody is logged in.
    func request(number: UInt64, deadlineMilliseconds: UInt32) -> [UInt8]? {
        credential.withLock { credential in
            guard let credential else { return nil }
            return try? OperationRequest(
                number: number, session: 0, deadlineMilliseconds: deadlineMilliseconds,
                operation: .logIn(user: credential.user, password: credential.password)
            ).encode()
        }
    }

    /// Forgets the password; false when nobody was logged in.
    @discardableResult func clear() -> Bool {
        flag.store(false, ordering: .releasing)
        return credential.withLock { credential in
            guard credential != nil else { return false }
            credential?.password.wipe()
            credential = nil
            return true
        }
    }
}

extension Library {
    /// C_Login. All endpoints are asked at once: checking a password is made slow on purpose, and a failover should not
    /// have to wait for it. One that accepts suffices, one that rejects decides.
    func logIn(
        _ session: Session, user type: CK_USER_TYPE, pin: UnsafeBufferPointer<UInt8>
    ) throws(Refusal) {
        switch type {
        case CKU_USER: break
        case CKU_SO: throw Refusal(CKR_USER_TYPE_INVALID)
        case CKU_CONTEXT_SPECIFIC: throw .operationMissing
        default: throw Refusal(CKR_USER_TYPE_INVALID)
        }
        guard !login.isLoggedIn else { throw Refusal(CKR_USER_ALREADY_LOGGED_IN) }
        guard pin.count <= OperationLimits.userNameBytes + OperationLimits.passwordBytes,
            var credential = credential(pin)
        else { throw Refusal(CKR_PIN_INCORRECT) }
        let view = try anyView()
        let number = requestNumbers.add(1, ordering: .relaxed).oldValue
        let deadline = view.directory.deadlineMilliseconds
        let encoded = try? OperationRequest(
            number: number, session: 0, deadlineMilliseconds: deadline,
            operation: .logIn(user: credential.user, password: credential.password)
        ).encode()
        guard var request = encoded else {
            credential.password.wipe()
            throw Refusal(CKR_PIN_INCORRECT)
        }
        let outcome = askAll(request, of: view, deadline: deadline)
        request.wipe()
        guard outcome == CKR_OK else {
            credential.password.wipe()
            throw Refusal(outcome)
        }
        login.set(credential)
    }

    private func credential(_ pin: UnsafeBufferPointer<UInt8>) -> LoginKeeper.Credential? {
        guard let colon = pin.firstIndex(of: UInt8(ascii: ":")) else {
            guard !settings.defaultUser.isEmpty, !pin.isEmpty, pin.count <= OperationLimits.passwordBytes
            else {
                return nil
            }
            return LoginKeeper.Credential(user: settings.defaultUser, password: Array(pin))
        }
        let user = Array(pin[..<colon])
        let password = Array(pin[(colon + 1)...])
        guard !user.isEmpty, user.count <= OperationLimits.userNameBytes, !password.isEmpty,
            password.count <= OperationLimits.passwordBytes
        else { return nil }
        return LoginKeeper.Credential(user: user, password: password)
    }

    private func askAll(_ request: [UInt8], of view: DirectoryView, deadline: UInt32) -> CK_RV {
        var pending: [any PendingReply] = []
        for entry in view.directory.endpoints where entry.service != .out && !entry.socketPath.isEmpty {
            // Hosts that are frozen must not keep the others waiting.
            let now = network.now()
            let sent = try? network.begin(
                request, to: entry, replyBytes: 1_024,
                connectBy: now + Duration.milliseconds(Int64(view.directory.hedgeMilliseconds)),
                deadline: now + Duration.milliseconds(Int64(deadline)))
            guard let sent else { continue }
            pending.append(sent)
        }
        let end = network.now().nanoseconds + Int64(view.directory.deadlineMilliseconds) * 1_000_000
        var hasAccepted = false
        var other = CKR_DEVICE_ERROR
        while !pending.isEmpty {
            // Once one endpoint has accepted, the others get a moment only: they are asked again when used.
            let left =
                hasAccepted
                ? min(end - network.now().nanoseconds, 50_000_000) : end - network.now().nanoseconds
            guard left > 0, let (position, answer) = network.wait(for: pending, nanoseconds: left) else {
                break
            }
            pending.remove(at: position)
            guard case .reply(let bytes) = answer, let reply = try? OperationReply(decoding: bytes) else {
                continue
            }
            switch CK_RV(reply.returnValue) {
            case CKR_OK: hasAccepted = true
            case CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_PIN_EXPIRED:
                for one in pending { network.abandon(one) }
                return CK_RV(reply.returnValue)
            case let value: other = value
            }
        }
        for one in pending { network.abandon(one) }
        return hasAccepted ? CKR_OK : other
    }

    /// C_Logout: private session objects are destroyed, private keys no longer seen.
    func logOut() throws(Refusal) {
        guard login.isLoggedIn else { throw .notLoggedIn }
        logOutEverywhere()
    }

    func logOutEverywhere() {
        guard login.clear() else { return }
        for (handle, object) in objects.all() where object.isPrivate {
            object.recipe.withLock { $0.wipe() }
            _ = objects.remove(handle)
        }
        guard let view = directories.view() else { return }
        for (index, entry) in view.directory.endpoints.enumerated() where entry.service != .out {
            tell(.logOut, session: 0, to: index, of: view)
        }
    }
}
