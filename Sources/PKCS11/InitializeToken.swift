// Making a new token (PKCS#11 v2.40 §5.5 C_InitToken, C_InitPIN). The cluster itself never does this to an HSM;
// its tests and its local demonstration do it to SoftHSM.

internal import CP11Kit

extension Slot {
    /// Initializes the token in this slot (C_InitToken): everything on it is destroyed. The label is cut to 32
    /// bytes. The module may give the token another slot number afterwards, so look it up again.
    public func initializeToken(
        label: String, securityOfficerPIN pin: borrowing SecretBytes
    ) throws(PKCS11Error) {
        var padded = Array(label.utf8.prefix(Self.labelBytes))
        padded += [UInt8](repeating: UInt8(ascii: " "), count: Self.labelBytes - padded.count)
        try module.call(.initToken, module.functions.pointee.C_InitToken) { entry in
            pin.withUnsafeBytes { bytes in
                let start = UnsafeMutablePointer(
                    mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
                return entry(id, start, CK_ULONG(bytes.count), &padded)
            }
        }
    }

    private static var labelBytes: Int { 32 }
}

extension Session {
    /// Sets the user's first PIN (C_InitPIN); the security officer must be logged in.
    public mutating func initializeUserPIN(_ pin: borrowing SecretBytes) throws(PKCS11Error) {
        let handle = handle
        try module.call(.initPIN, module.functions.pointee.C_InitPIN) { entry in
            pin.withUnsafeBytes { bytes in
                let start = UnsafeMutablePointer(
                    mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
                return entry(handle, start, CK_ULONG(bytes.count))
            }
        }
    }
}
