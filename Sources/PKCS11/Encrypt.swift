// Encryption in one step (PKCS#11 v2.40 §5.8, C_EncryptInit, C_Encrypt).

internal import CP11Kit

extension Session {
    /// `data` encrypted by `key`.
    public mutating func encrypt(
        _ data: [UInt8], with key: ObjectHandle, using mechanism: Mechanism
    ) throws(PKCS11Error) -> [UInt8] {
        let handle = handle
        var data = data
        try module.call(.encryptInit, module.functions.pointee.C_EncryptInit) { entry in
            mechanism.withCKMechanism { entry(handle, $0, key.rawValue) }
        }
        let limit = data.count + Limits.outputBytes
        let entry = module.functions.pointee.C_Encrypt
        return try module.output(.encrypt, entry, expecting: data.count + 512, limit: limit) {
            entry, bytes, length in
            entry(handle, &data, CK_ULONG(data.count), bytes, length)
        }
    }
}
