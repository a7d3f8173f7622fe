// Decryption in one step (PKCS#11 v2.40 §5.9, C_DecryptInit, C_Decrypt).

internal import CP11Kit

extension Session {
    /// `data` decrypted by `key`. The answer is clear text: the caller zeroes it.
    public mutating func decrypt(
        _ data: [UInt8], with key: ObjectHandle, using mechanism: Mechanism
    ) throws(PKCS11Error) -> [UInt8] {
        let handle = handle
        var data = data
        try module.call(.decryptInit, module.functions.pointee.C_DecryptInit) { entry in
            mechanism.withCKMechanism { entry(handle, $0, key.rawValue) }
        }
        let limit = data.count + Limits.outputBytes
        let entry = module.functions.pointee.C_Decrypt
        return try module.output(.decrypt, entry, expecting: max(data.count, 512), limit: limit) {
            entry, bytes, length in
            entry(handle, &data, CK_ULONG(data.count), bytes, length)
        }
    }
}
