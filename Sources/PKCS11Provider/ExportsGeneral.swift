public import CCryptoki
internal import OperationWire

// General purpose, slots and tokens (PKCS#11 v2.40 §5.4 and §5.5): the exported functions. What there is to say of the library, its one slot and its one token.

/// C_Finalize.
@c(C_Finalize)
public func cFinalize(_ reserved: UnsafeMutableRawPointer?) -> CK_RV {
    call { library throws(Refusal) in
        guard reserved == nil else { throw .arguments }
        try library.finish()
    }
}

/// C_GetInfo.
@c(C_GetInfo)
public func cGetInfo(_ info: UnsafeMutablePointer<CK_INFO>?) -> CK_RV {
    call { library throws(Refusal) in
        try library.info(info)
    }
}

/// C_GetSlotList.
@c(C_GetSlotList)
public func cGetSlotList(
    _ tokenPresent: CK_BYTE, _ slotList: UnsafeMutablePointer<CK_SLOT_ID>?, _ count: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        try library.slotList(tokenPresent != 0, slotList, count)
    }
}

/// C_GetSlotInfo.
@c(C_GetSlotInfo)
public func cGetSlotInfo(_ slotId: CK_SLOT_ID, _ info: UnsafeMutablePointer<CK_SLOT_INFO>?) -> CK_RV {
    call { library throws(Refusal) in
        try library.slotInfo(slotId, info)
    }
}

/// C_GetTokenInfo.
@c(C_GetTokenInfo)
public func cGetTokenInfo(_ slotId: CK_SLOT_ID, _ info: UnsafeMutablePointer<CK_TOKEN_INFO>?) -> CK_RV {
    call { library throws(Refusal) in
        try library.tokenInfo(slotId, info)
    }
}

/// C_WaitForSlotEvent.
@c(C_WaitForSlotEvent)
public func cWaitForSlotEvent(
    _ flags: CK_FLAGS, _ slot: UnsafeMutablePointer<CK_SLOT_ID>?, _ reserved: UnsafeMutableRawPointer?
) -> CK_RV {
    call { library throws(Refusal) in
        guard reserved == nil, slot != nil else { throw .arguments }
        // Waiting without an end is what this provider never does.
        throw flags & CK_FLAGS(CKF_DONT_BLOCK) != 0 ? Refusal(CKR_NO_EVENT) : .unsupported
    }
}

/// C_GetMechanismList.
@c(C_GetMechanismList)
public func cGetMechanismList(
    _ slotId: CK_SLOT_ID, _ mechanismList: UnsafeMutablePointer<CK_MECHANISM_TYPE>?, _ count: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        try library.mechanismList(slotId, mechanismList, count)
    }
}

/// C_GetMechanismInfo.
@c(C_GetMechanismInfo)
public func cGetMechanismInfo(
    _ slotId: CK_SLOT_ID, _ type: CK_MECHANISM_TYPE, _ info: UnsafeMutablePointer<CK_MECHANISM_INFO>?
) -> CK_RV {
    call { library throws(Refusal) in
        try library.mechanismInfo(slotId, type, info)
    }
}

/// C_InitToken.
@c(C_InitToken)
public func cInitToken(_ slotId: CK_SLOT_ID, _ pin: BytePointer, _ pinLen: CK_ULONG, _ label: BytePointer)
    -> CK_RV
{
    call { library throws(Refusal) in
        try library.checkSlot(slotId)
        guard label != nil else { throw .arguments }
        throw .unsupported
    }
}

/// C_InitPIN.
@c(C_InitPIN)
public func cInitPIN(_ session: CK_SESSION_HANDLE, _ pin: BytePointer, _ pinLen: CK_ULONG) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        // Only a security officer may, and this token has none.
        throw .notLoggedIn
    }
}

/// C_SetPIN.
@c(C_SetPIN)
public func cSetPIN(
    _ session: CK_SESSION_HANDLE, _ oldPin: BytePointer, _ oldLen: CK_ULONG, _ newPin: BytePointer,
    _ newLen: CK_ULONG
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        // Users are administered in the cluster.
        throw .unsupported
    }
}
