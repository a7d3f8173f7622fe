// A session is one conversation with a token (PKCS#11 v2.40 §5.6). Cryptoki allows one operation of a kind at
// a time in it and says nothing good about two threads in one session, so ours can't be copied: whoever owns
// it is the only one to use it, closing it twice does not compile, and forgetting it closes it.

internal import CP11Kit

/// An open session. It may move between threads, but only its owner uses it.
public struct Session: ~Copyable, Sendable {
    /// The module that it belongs to.
    public let module: Module
    /// The slot of its token.
    public let slotID: UInt
    private var openHandle: CK_SESSION_HANDLE?

    init(module: Module, slotID: UInt, handle: CK_SESSION_HANDLE) {
        self.module = module
        self.slotID = slotID
        openHandle = handle
    }

    /// The module's handle; invalid once closed.
    var handle: CK_SESSION_HANDLE { openHandle ?? CK_SESSION_HANDLE(CK_INVALID_HANDLE) }

    /// Closes the session and destroys its session objects (C_CloseSession).
    public consuming func close() throws(PKCS11Error) {
        guard let open = openHandle.take() else { return }
        try module.call(.closeSession, module.functions.pointee.C_CloseSession) { $0(open) }
    }

    deinit {
        // An error has no one to go to here, and nothing can be done about it.
        guard let openHandle else { return }
        _ = module.functions.pointee.C_CloseSession?(openHandle)
    }

    /// The state of the session, and through it whether the token is logged in (C_GetSessionInfo).
    public mutating func info() throws(PKCS11Error) -> SessionInfo {
        var info = CK_SESSION_INFO()
        let handle = handle
        try module.call(.getSessionInfo, module.functions.pointee.C_GetSessionInfo) { $0(handle, &info) }
        return SessionInfo(info)
    }
}

/// What a session says of itself (CK_SESSION_INFO).
public struct SessionInfo: Hashable, Sendable {
    /// True when it may change token objects.
    public var isReadWrite: Bool
    /// Who is logged in to the token; nil for nobody.
    public var loggedIn: UserType?

    init(_ info: CK_SESSION_INFO) {
        isReadWrite = info.flags & CKF_RW_SESSION != 0
        switch info.state {
        case CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS: loggedIn = .user
        case CKS_RW_SO_FUNCTIONS: loggedIn = .securityOfficer
        default: loggedIn = nil
        }
    }
}

extension Token {
    /// Opens a session (C_OpenSession), without notifications from the module.
    public func openSession(readWrite: Bool) throws(PKCS11Error) -> Session {
        var handle: CK_SESSION_HANDLE = 0
        let flags = CKF_SERIAL_SESSION | (readWrite ? CKF_RW_SESSION : 0)
        try module.call(.openSession, module.functions.pointee.C_OpenSession) {
            $0(slotID, flags, nil, nil, &handle)
        }
        return Session(module: module, slotID: slotID, handle: handle)
    }
}

/// The module's number for an object, valid in this process until the object or (for session objects) its
/// session goes away. Not an identity: two nodes, or two runs, see different handles for the same key.
public struct ObjectHandle: Hashable, Sendable {
    let rawValue: CK_OBJECT_HANDLE

    init(_ rawValue: CK_OBJECT_HANDLE) { self.rawValue = rawValue }

    /// The handle as a number, and back.
    public var number: UInt { rawValue }
    /// Takes a number that was a handle of this very process.
    public init(number: UInt) { rawValue = number }
}
