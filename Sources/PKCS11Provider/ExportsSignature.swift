public import CCryptoki
internal import OperationWire

// Signatures and MACs (PKCS#11 v2.40 §5.11 and §5.12): the exported functions. Each signature is one message to the token host.

/// C_SignInit.
@c(C_SignInit)
public func cSignInit(_ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.sign, session, mechanism, key: key)
    }
}

/// C_Sign.
@c(C_Sign)
public func cSign(
    _ session: CK_SESSION_HANDLE, _ data: BytePointer, _ dataLen: CK_ULONG, _ signature: BytePointer,
    _ signatureLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(.sign, session, try input(data, dataLen), into: signature, length: signatureLen)
    }
}

/// C_SignUpdate.
@c(C_SignUpdate)
public func cSignUpdate(_ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.update(.sign, session, try input(part, partLen))
    }
}

/// C_SignFinal.
@c(C_SignFinal)
public func cSignFinal(_ session: CK_SESSION_HANDLE, _ signature: BytePointer, _ signatureLen: LengthPointer)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.final(.sign, session, into: signature, length: signatureLen)
    }
}

/// C_SignRecoverInit.
@c(C_SignRecoverInit)
public func cSignRecoverInit(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.signRecover, session, mechanism, key: key)
    }
}

/// C_SignRecover.
@c(C_SignRecover)
public func cSignRecover(
    _ session: CK_SESSION_HANDLE, _ data: BytePointer, _ dataLen: CK_ULONG, _ signature: BytePointer,
    _ signatureLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(
            .signRecover, session, try input(data, dataLen), into: signature, length: signatureLen)
    }
}

/// C_VerifyInit.
@c(C_VerifyInit)
public func cVerifyInit(_ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.verify, session, mechanism, key: key)
    }
}

/// C_Verify.
@c(C_Verify)
public func cVerify(
    _ session: CK_SESSION_HANDLE, _ data: BytePointer, _ dataLen: CK_ULONG, _ signature: BytePointer,
    _ signatureLen: CK_ULONG
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.verify(session, try input(data, dataLen), signature: try input(signature, signatureLen))
    }
}

/// C_VerifyUpdate.
@c(C_VerifyUpdate)
public func cVerifyUpdate(_ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.update(.verify, session, try input(part, partLen))
    }
}

/// C_VerifyFinal.
@c(C_VerifyFinal)
public func cVerifyFinal(_ session: CK_SESSION_HANDLE, _ signature: BytePointer, _ signatureLen: CK_ULONG)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.verifyFinal(session, signature: try input(signature, signatureLen))
    }
}

/// C_VerifyRecoverInit.
@c(C_VerifyRecoverInit)
public func cVerifyRecoverInit(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.verifyRecover, session, mechanism, key: key)
    }
}

/// C_VerifyRecover.
@c(C_VerifyRecover)
public func cVerifyRecover(
    _ session: CK_SESSION_HANDLE, _ signature: BytePointer, _ signatureLen: CK_ULONG, _ data: BytePointer,
    _ dataLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(
            .verifyRecover, session, try input(signature, signatureLen), into: data, length: dataLen)
    }
}
