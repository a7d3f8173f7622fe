// Deriving a key from another inside the token (PKCS#11 v2.40 §5.14, C_DeriveKey).

internal import CP11Kit

extension Session {
    /// A new key with `template`, derived from `baseKey`.
    public mutating func deriveKey(
        from baseKey: ObjectHandle, using mechanism: Mechanism, template: Template
    ) throws(PKCS11Error) -> ObjectHandle {
        let handle = handle
        var key: CK_OBJECT_HANDLE = 0
        try module.call(.deriveKey, module.functions.pointee.C_DeriveKey) { entry in
            mechanism.withCKMechanism { mechanism in
                template.withCKAttributes { entry(handle, mechanism, baseKey.rawValue, $0, $1, &key) }
            }
        }
        return ObjectHandle(key)
    }
}
