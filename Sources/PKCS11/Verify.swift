// Verification of signatures and MACs in one step (PKCS#11 v2.40 §5.12, C_VerifyInit, C_Verify).

internal import CP11Kit

extension Session {
    /// True when `signature` is the signature or MAC of `data` by `key`. A wrong one is an answer, not an error.
    public mutating func verify(
        _ signature: [UInt8], of data: [UInt8], with key: ObjectHandle, using mechanism: Mechanism
    ) throws(PKCS11Error) -> Bool {
        let handle = handle
        var (data, signature) = (data, signature)
        try module.call(.verifyInit, module.functions.pointee.C_VerifyInit) { entry in
            mechanism.withCKMechanism { entry(handle, $0, key.rawValue) }
        }
        do {
            try module.call(.verify, module.functions.pointee.C_Verify) { entry in
                entry(handle, &data, CK_ULONG(data.count), &signature, CK_ULONG(signature.count))
            }
        } catch  where [.signatureInvalid, .signatureLengthRange].contains(error.returnValue) {
            return false
        }
        return true
    }
}
