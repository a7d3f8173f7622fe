// Bringing a wrapped key into a token (PKCS#11 v2.40 §5.14, C_UnwrapKey).

internal import CP11Kit

extension Session {
    /// The key in `wrapped`, decrypted inside the token by `unwrappingKey`, as a new object with `template`.
    public mutating func unwrapKey(
        _ wrapped: [UInt8], with unwrappingKey: ObjectHandle, using mechanism: Mechanism, template: Template
    ) throws(PKCS11Error) -> ObjectHandle {
        let handle = handle
        var wrapped = wrapped
        var key: CK_OBJECT_HANDLE = 0
        try module.call(.unwrapKey, module.functions.pointee.C_UnwrapKey) { entry in
            mechanism.withCKMechanism { mechanism in
                template.withCKAttributes { attributes, count in
                    entry(
                        handle, mechanism, unwrappingKey.rawValue, &wrapped, CK_ULONG(wrapped.count),
                        attributes,
                        count, &key)
                }
            }
        }
        return ObjectHandle(key)
    }
}
