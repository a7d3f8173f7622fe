public import CCryptoki
internal import OperationWire

// Dual-function operations (PKCS#11 v2.40 §5.13): the exported functions. Two operations over the same pieces. The second one takes a piece only once the first one has given its output out.

/// C_DigestEncryptUpdate.
@c(C_DigestEncryptUpdate)
public func cDigestEncryptUpdate(
    _ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG, _ encryptedPart: BytePointer,
    _ encryptedPartLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try session.require([.encrypt, .digest])
        let plain = try input(part, partLen)
        try library.transform(.encrypt, session, plain, into: encryptedPart, length: encryptedPartLen)
        // A length query has not taken the piece yet.
        guard encryptedPart != nil else { return }
        try library.update(.digest, session, plain)
    }
}

/// C_DecryptDigestUpdate.
@c(C_DecryptDigestUpdate)
public func cDecryptDigestUpdate(
    _ session: CK_SESSION_HANDLE, _ encryptedPart: BytePointer, _ encryptedPartLen: CK_ULONG,
    _ part: BytePointer, _ partLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try session.require([.decrypt, .digest])
        try library.transform(
            .decrypt, session, try input(encryptedPart, encryptedPartLen), into: part, length: partLen)
        // A length query has not taken the piece yet.
        guard let part, let partLen else { return }
        try library.update(.digest, session, UnsafeBufferPointer(start: part, count: Int(partLen.pointee)))
    }
}

/// C_SignEncryptUpdate.
@c(C_SignEncryptUpdate)
public func cSignEncryptUpdate(
    _ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG, _ encryptedPart: BytePointer,
    _ encryptedPartLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try session.require([.encrypt, .sign])
        let plain = try input(part, partLen)
        try library.transform(.encrypt, session, plain, into: encryptedPart, length: encryptedPartLen)
        // A length query has not taken the piece yet.
        guard encryptedPart != nil else { return }
        try library.update(.sign, session, plain)
    }
}

/// C_DecryptVerifyUpdate.
@c(C_DecryptVerifyUpdate)
public func cDecryptVerifyUpdate(
    _ session: CK_SESSION_HANDLE, _ encryptedPart: BytePointer, _ encryptedPartLen: CK_ULONG,
    _ part: BytePointer, _ partLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try session.require([.decrypt, .verify])
        try library.transform(
            .decrypt, session, try input(encryptedPart, encryptedPartLen), into: part, length: partLen)
        // A length query has not taken the piece yet.
        guard let part, let partLen else { return }
        try library.update(.verify, session, UnsafeBufferPointer(start: part, count: Int(partLen.pointee)))
    }
}
