// Digests in one step (PKCS#11 v2.40 §5.10, C_DigestInit, C_Digest).

internal import CP11Kit

extension Session {
    /// The digest of `data`.
    public mutating func digest(_ data: [UInt8], using mechanism: Mechanism) throws(PKCS11Error) -> [UInt8] {
        let handle = handle
        var data = data
        try module.call(.digestInit, module.functions.pointee.C_DigestInit) { entry in
            mechanism.withCKMechanism { entry(handle, $0) }
        }
        let entry = module.functions.pointee.C_Digest
        return try module.output(.digest, entry, expecting: 64, limit: Limits.outputBytes) {
            entry, bytes, length in
            entry(handle, &data, CK_ULONG(data.count), bytes, length)
        }
    }
}
