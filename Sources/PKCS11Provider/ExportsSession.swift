public import CCryptoki
internal import OperationWire

// Sessions (PKCS#11 v2.40 §5.6): the exported functions. Opening, closing, logging in.

/// C_OpenSession.
@c(C_OpenSession)
public func cOpenSession(
    _ slotId: CK_SLOT_ID, _ flags: CK_FLAGS, _ application: UnsafeMutableRawPointer?, _ notify: CK_NOTIFY?,
    _ session: UnsafeMutablePointer<CK_SESSION_HANDLE>?
) -> CK_RV {
    call { library throws(Refusal) in
        try library.checkSlot(slotId)
        guard let session else { throw .arguments }
        guard flags & CK_FLAGS(CKF_SERIAL_SESSION) != 0 else {
            throw Refusal(CKR_SESSION_PARALLEL_NOT_SUPPORTED)
        }
        _ = try library.anyView()
        session.pointee = CK_SESSION_HANDLE(
            try library.openSession(readWrite: flags & CK_FLAGS(CKF_RW_SESSION) != 0))
    }
}

/// C_CloseSession.
@c(C_CloseSession)
public func cCloseSession(_ session: CK_SESSION_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        try library.closeSession(UInt64(session))
    }
}

/// C_CloseAllSessions.
@c(C_CloseAllSessions)
public func cCloseAllSessions(_ slotId: CK_SLOT_ID) -> CK_RV {
    call { library throws(Refusal) in
        try library.checkSlot(slotId)
        library.closeAllSessions(tellHosts: true)
    }
}

/// C_GetSessionInfo.
@c(C_GetSessionInfo)
public func cGetSessionInfo(_ session: CK_SESSION_HANDLE, _ info: UnsafeMutablePointer<CK_SESSION_INFO>?)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.sessionInfo(session, info)
    }
}

/// C_GetOperationState.
@c(C_GetOperationState)
public func cGetOperationState(
    _ session: CK_SESSION_HANDLE, _ operationState: BytePointer, _ operationStateLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        guard operationStateLen != nil else { throw .arguments }
        throw try session.hasOperation() ? Refusal(CKR_STATE_UNSAVEABLE) : .operationMissing
    }
}

/// C_SetOperationState.
@c(C_SetOperationState)
public func cSetOperationState(
    _ session: CK_SESSION_HANDLE, _ operationState: BytePointer, _ operationStateLen: CK_ULONG,
    _ encryptionKey: CK_OBJECT_HANDLE, _ authentiationKey: CK_OBJECT_HANDLE
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        guard operationState != nil else { throw .arguments }
        throw Refusal(CKR_SAVED_STATE_INVALID)
    }
}

/// C_Login.
@c(C_Login)
public func cLogin(
    _ session: CK_SESSION_HANDLE, _ userType: CK_USER_TYPE, _ pin: BytePointer, _ pinLen: CK_ULONG
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.logIn(session, user: userType, pin: try input(pin, pinLen))
    }
}

/// C_Logout.
@c(C_Logout)
public func cLogout(_ session: CK_SESSION_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        try library.logOut()
    }
}
