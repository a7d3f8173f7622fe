// Taking a key out of a token under another key (PKCS#11 v2.40 §5.14, C_WrapKey). The answer is ciphertext.

internal import CP11Kit

extension Session {
    /// `key`, encrypted by `wrappingKey`. CKR_KEY_UNEXTRACTABLE when it may not leave the token.
    public mutating func wrapKey(
        _ key: ObjectHandle, under wrappingKey: ObjectHandle, using mechanism: Mechanism
    ) throws(PKCS11Error) -> [UInt8] {
        let handle = handle
        let entry = module.functions.pointee.C_WrapKey
        return try module.output(.wrapKey, entry, expecting: 512, limit: Limits.outputBytes) {
            entry, bytes, length in
            mechanism.withCKMechanism { entry(handle, $0, wrappingKey.rawValue, key.rawValue, bytes, length) }
        }
    }
}
