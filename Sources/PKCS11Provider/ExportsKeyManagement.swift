public import CCryptoki
internal import OperationWire

// Key management and random numbers (PKCS#11 v2.40 §5.14 to §5.16): the exported functions. Session keys, and what endpoints make by chance.

/// C_GenerateKey.
@c(C_GenerateKey)
public func cGenerateKey(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ templ: AttributePointer, _ count: CK_ULONG,
    _ key: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.generateKey(session, mechanism, try readTemplate(templ, count: count), into: key)
    }
}

/// C_GenerateKeyPair.
@c(C_GenerateKeyPair)
public func cGenerateKeyPair(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ publicKeyTemplate: AttributePointer,
    _ publicKeyAttributeCount: CK_ULONG, _ privateKeyTemplate: AttributePointer,
    _ privateKeyAttributeCount: CK_ULONG, _ publicKey: HandlePointer, _ privateKey: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.generateKeyPair(
            session, mechanism, public: try readTemplate(publicKeyTemplate, count: publicKeyAttributeCount),
            private: try readTemplate(privateKeyTemplate, count: privateKeyAttributeCount), into: publicKey,
            privateKey)
    }
}

/// C_WrapKey.
@c(C_WrapKey)
public func cWrapKey(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ wrappingKey: CK_OBJECT_HANDLE,
    _ key: CK_OBJECT_HANDLE, _ wrappedKey: BytePointer, _ wrappedKeyLen: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.wrapKey(
            session, mechanism, wrappingKey: wrappingKey, key: key, into: wrappedKey, length: wrappedKeyLen)
    }
}

/// C_UnwrapKey.
@c(C_UnwrapKey)
public func cUnwrapKey(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ unwrappingKey: CK_OBJECT_HANDLE,
    _ wrappedKey: BytePointer, _ wrappedKeyLen: CK_ULONG, _ templ: AttributePointer,
    _ attributeCount: CK_ULONG, _ key: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.unwrapKey(
            session, mechanism, unwrappingKey: unwrappingKey, try input(wrappedKey, wrappedKeyLen),
            try readTemplate(templ, count: attributeCount), into: key)
    }
}

/// C_DeriveKey.
@c(C_DeriveKey)
public func cDeriveKey(
    _ session: CK_SESSION_HANDLE, _ mechanism: MechanismPointer, _ baseKey: CK_OBJECT_HANDLE,
    _ templ: AttributePointer, _ attributeCount: CK_ULONG, _ key: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.deriveKey(
            session, mechanism, base: baseKey, try readTemplate(templ, count: attributeCount), into: key)
    }
}

/// C_SeedRandom.
@c(C_SeedRandom)
public func cSeedRandom(_ session: CK_SESSION_HANDLE, _ seed: BytePointer, _ seedLen: CK_ULONG) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        guard seed != nil else { throw .arguments }
        try library.seedRandom(session, try input(seed, seedLen))
    }
}

/// C_GenerateRandom.
@c(C_GenerateRandom)
public func cGenerateRandom(_ session: CK_SESSION_HANDLE, _ randomData: BytePointer, _ randomLen: CK_ULONG)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        guard let randomData, randomLen <= CK_ULONG(ProviderLimits.callBytes) else { throw .arguments }
        try library.generateRandom(
            session, into: UnsafeMutableBufferPointer(start: randomData, count: Int(randomLen)))
    }
}

/// C_GetFunctionStatus.
@c(C_GetFunctionStatus)
public func cGetFunctionStatus(_ session: CK_SESSION_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        throw Refusal(CKR_FUNCTION_NOT_PARALLEL)
    }
}

/// C_CancelFunction.
@c(C_CancelFunction)
public func cCancelFunction(_ session: CK_SESSION_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        _ = session
        throw Refusal(CKR_FUNCTION_NOT_PARALLEL)
    }
}
