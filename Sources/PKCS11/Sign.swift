// Signatures and MACs in one step (PKCS#11 v2.40 §5.11, C_SignInit, C_Sign).

internal import CP11Kit

extension Session {
    /// The signature or MAC of `data` by `key`.
    public mutating func sign(
        _ data: [UInt8], with key: ObjectHandle, using mechanism: Mechanism
    ) throws(PKCS11Error) -> [UInt8] {
        let handle = handle
        var data = data
        try module.call(.signInit, module.functions.pointee.C_SignInit) { entry in
            mechanism.withCKMechanism { entry(handle, $0, key.rawValue) }
        }
        let limit = Limits.outputBytes
        let entry = module.functions.pointee.C_Sign
        return try module.output(.sign, entry, expecting: 512, limit: limit) { entry, bytes, length in
            entry(handle, &data, CK_ULONG(data.count), bytes, length)
        }
    }
}
