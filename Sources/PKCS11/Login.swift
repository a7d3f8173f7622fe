// Login and logout (PKCS#11 v2.40 §5.6). Cryptoki takes a session handle for both, yet the state belongs to the
// token: a login through one session counts for all that this process has open there, and is lost when the last of
// them closes. Hence both are verbs of `Token`, done through some open session.

internal import CP11Kit

/// Who logs in (CK_USER_TYPE).
public enum UserType: Hashable, Sendable {
    /// CKU_USER: the one who uses keys.
    case user
    /// CKU_SO: the one who initializes the token and its user's PIN.
    case securityOfficer

    var rawValue: CK_USER_TYPE {
        switch self {
        case .user: CKU_USER
        case .securityOfficer: CKU_SO
        }
    }
}

extension Token {
    /// Logs in (C_Login) through any session on this token. A wrong PIN counts towards the token's lock, so
    /// never call this again with a PIN that was rejected. CKR_USER_ALREADY_LOGGED_IN when somebody is.
    public func logIn(
        as user: UserType, pin: borrowing SecretBytes, through session: inout Session
    ) throws(PKCS11Error) {
        guard session.slotID == slotID else { throw PKCS11Error(.login, .sessionHandleInvalid) }
        let handle = session.handle
        try module.call(.login, module.functions.pointee.C_Login) { entry in
            pin.withUnsafeBytes { bytes in
                // C_Login takes a pointer to mutable memory by convention only.
                let start = UnsafeMutablePointer(
                    mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
                return entry(handle, user.rawValue, start, CK_ULONG(bytes.count))
            }
        }
    }

    /// Logs out (C_Logout): all sessions on this token lose their private objects.
    public func logOut(through session: inout Session) throws(PKCS11Error) {
        guard session.slotID == slotID else { throw PKCS11Error(.logout, .sessionHandleInvalid) }
        let handle = session.handle
        try module.call(.logout, module.functions.pointee.C_Logout) { $0(handle) }
    }
}
