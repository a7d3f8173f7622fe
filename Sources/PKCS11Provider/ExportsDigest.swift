public import CCryptoki
internal import OperationWire

// Digests (PKCS#11 v2.40 §5.10): the exported functions. Whole messages and pieces.

/// C_DigestInit.
@c(C_DigestInit)
public func cDigestInit(_ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.digest, session, mechanism, key: nil)
    }
}

/// C_Digest.
@c(C_Digest)
public func cDigest(
    _ session: CK_SESSION_HANDLE, _ data: BytePointer, _ dataLen: CK_ULONG, _ digest: BytePointer,
    _ digestLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(.digest, session, try input(data, dataLen), into: digest, length: digestLen)
    }
}

/// C_DigestUpdate.
@c(C_DigestUpdate)
public func cDigestUpdate(_ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.update(.digest, session, try input(part, partLen))
    }
}

/// C_DigestKey.
@c(C_DigestKey)
public func cDigestKey(_ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.digestKey(session, key)
    }
}

/// C_DigestFinal.
@c(C_DigestFinal)
public func cDigestFinal(_ session: CK_SESSION_HANDLE, _ digest: BytePointer, _ digestLen: LengthPointer)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.final(.digest, session, into: digest, length: digestLen)
    }
}
