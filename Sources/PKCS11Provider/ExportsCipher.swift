public import CCryptoki
internal import OperationWire

// Encryption and decryption (PKCS#11 v2.40 §5.8 and §5.9): the exported functions. Whole messages in one message to the token host; pieces as a stream.

/// C_EncryptInit.
@c(C_EncryptInit)
public func cEncryptInit(_ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.encrypt, session, mechanism, key: key)
    }
}

/// C_Encrypt.
@c(C_Encrypt)
public func cEncrypt(
    _ session: CK_SESSION_HANDLE, _ data: BytePointer, _ dataLen: CK_ULONG, _ encryptedData: BytePointer,
    _ encryptedDataLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(
            .encrypt, session, try input(data, dataLen), into: encryptedData, length: encryptedDataLen)
    }
}

/// C_EncryptUpdate.
@c(C_EncryptUpdate)
public func cEncryptUpdate(
    _ session: CK_SESSION_HANDLE, _ part: BytePointer, _ partLen: CK_ULONG, _ encryptedPart: BytePointer,
    _ encryptedPartLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.transform(
            .encrypt, session, try input(part, partLen), into: encryptedPart, length: encryptedPartLen)
    }
}

/// C_EncryptFinal.
@c(C_EncryptFinal)
public func cEncryptFinal(
    _ session: CK_SESSION_HANDLE, _ lastEncryptedPart: BytePointer, _ lastEncryptedPartLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.final(.encrypt, session, into: lastEncryptedPart, length: lastEncryptedPartLen)
    }
}

/// C_DecryptInit.
@c(C_DecryptInit)
public func cDecryptInit(_ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ key: CK_OBJECT_HANDLE)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.begin(.decrypt, session, mechanism, key: key)
    }
}

/// C_Decrypt.
@c(C_Decrypt)
public func cDecrypt(
    _ session: CK_SESSION_HANDLE, _ encryptedData: BytePointer, _ encryptedDataLen: CK_ULONG,
    _ data: BytePointer, _ dataLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.whole(
            .decrypt, session, try input(encryptedData, encryptedDataLen), into: data, length: dataLen)
    }
}

/// C_DecryptUpdate.
@c(C_DecryptUpdate)
public func cDecryptUpdate(
    _ session: CK_SESSION_HANDLE, _ encryptedPart: BytePointer, _ encryptedPartLen: CK_ULONG,
    _ part: BytePointer, _ partLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.transform(
            .decrypt, session, try input(encryptedPart, encryptedPartLen), into: part, length: partLen)
    }
}

/// C_DecryptFinal.
@c(C_DecryptFinal)
public func cDecryptFinal(_ session: CK_SESSION_HANDLE, _ lastPart: BytePointer, _ lastPartLen: LengthPointer)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.final(.decrypt, session, into: lastPart, length: lastPartLen)
    }
}
