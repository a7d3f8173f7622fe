// Random bytes from the token (PKCS#11 v2.40 §5.15, C_GenerateRandom).

internal import CP11Kit

extension Session {
    /// `count` random bytes, at most `Limits.randomBytes`.
    public mutating func randomBytes(_ count: Int) throws(PKCS11Error) -> [UInt8] {
        guard (0...Limits.randomBytes).contains(count) else {
            throw PKCS11Error(.generateRandom, .argumentsBad)
        }
        guard count > 0 else { return [] }
        let handle = handle
        var bytes = [UInt8](repeating: 0, count: count)
        try module.call(.generateRandom, module.functions.pointee.C_GenerateRandom) { entry in
            bytes.withUnsafeMutableBufferPointer { entry(handle, $0.baseAddress, CK_ULONG($0.count)) }
        }
        return bytes
    }
}
