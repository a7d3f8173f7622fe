// Making keys inside the token (PKCS#11 v2.40 §5.14, C_GenerateKey, C_GenerateKeyPair). Whether a call that failed or
// never returned made a key can't be told from its result: look for the CKA_ID that the template carried.

internal import CP11Kit

extension Session {
    /// Makes a secret key.
    public mutating func generateKey(
        _ mechanism: Mechanism, template: Template
    ) throws(PKCS11Error) -> ObjectHandle {
        let handle = handle
        var key: CK_OBJECT_HANDLE = 0
        try module.call(.generateKey, module.functions.pointee.C_GenerateKey) { entry in
            mechanism.withCKMechanism { mechanism in
                template.withCKAttributes { entry(handle, mechanism, $0, $1, &key) }
            }
        }
        return ObjectHandle(key)
    }

    /// Makes a key pair.
    public mutating func generateKeyPair(
        _ mechanism: Mechanism, publicTemplate: Template, privateTemplate: Template
    ) throws(PKCS11Error) -> (publicKey: ObjectHandle, privateKey: ObjectHandle) {
        let handle = handle
        var publicKey: CK_OBJECT_HANDLE = 0
        var privateKey: CK_OBJECT_HANDLE = 0
        try module.call(.generateKeyPair, module.functions.pointee.C_GenerateKeyPair) { entry in
            mechanism.withCKMechanism { mechanism in
                publicTemplate.withCKAttributes { publicAttributes, publicCount in
                    privateTemplate.withCKAttributes { privateAttributes, privateCount in
                        entry(
                            handle, mechanism, publicAttributes, publicCount, privateAttributes, privateCount,
                            &publicKey, &privateKey)
                    }
                }
            }
        }
        return (ObjectHandle(publicKey), ObjectHandle(privateKey))
    }
}
