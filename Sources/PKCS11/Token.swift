// A token is the cryptographic device in a slot (PKCS#11 v2.40 §5.5). Login belongs to it, not to a session: all
// sessions that this process has open on a token share one login state, see Login.swift.

internal import CP11Kit

/// The token in a slot of a module. Cheap to copy; usable from any thread.
public struct Token: Sendable {
    /// The module through which it is reached.
    public let module: Module
    /// The slot that it sits in.
    public let slotID: UInt

    /// What the token says of itself (C_GetTokenInfo).
    public func info() throws(PKCS11Error) -> TokenInfo {
        TokenInfo(try rawInfo())
    }

    /// The mechanisms it offers, in the module's order (C_GetMechanismList).
    public func mechanisms() throws(PKCS11Error) -> [MechanismType] {
        let list = module.functions.pointee.C_GetMechanismList
        let numbers = try module.numbers(.getMechanismList, list, limit: Limits.mechanisms) {
            entry, values, count in
            entry(slotID, values, count)
        }
        return numbers.map { MechanismType($0) }
    }

    /// What it says of one mechanism (C_GetMechanismInfo). CKR_MECHANISM_INVALID when it lacks that one.
    public func info(of mechanism: MechanismType) throws(PKCS11Error) -> MechanismInfo {
        var info = CK_MECHANISM_INFO()
        try module.call(.getMechanismInfo, module.functions.pointee.C_GetMechanismInfo) {
            $0(slotID, mechanism.rawValue, &info)
        }
        return MechanismInfo(
            minimumKeySize: info.ulMinKeySize, maximumKeySize: info.ulMaxKeySize,
            flags: MechanismFlags(rawValue: info.flags))
    }

    func rawInfo() throws(PKCS11Error) -> CK_TOKEN_INFO {
        var info = CK_TOKEN_INFO()
        try module.call(.getTokenInfo, module.functions.pointee.C_GetTokenInfo) { $0(slotID, &info) }
        return info
    }
}

/// What a token says of itself (CK_TOKEN_INFO). Texts are without their padding.
public struct TokenInfo: Hashable, Sendable {
    /// The label that the security officer gave it.
    public var label: String
    /// The serial number.
    public var serialNumber: String
    /// Who made it.
    public var manufacturer: String
    /// The model.
    public var model: String
    /// What it can do and in what state its PINs are.
    public var flags: TokenFlags
    /// How many sessions this process has open; nil when it doesn't say.
    public var sessionCount: UInt?
    /// How many it may have open; nil when it doesn't say, 0 for no practical limit.
    public var maximumSessionCount: UInt?
    /// The shortest PIN, in bytes.
    public var minimumPINBytes: UInt
    /// The longest PIN, in bytes.
    public var maximumPINBytes: UInt
    /// The firmware's version.
    public var firmwareVersion: String

    init(_ info: CK_TOKEN_INFO) {
        label = paddedText(of: info.label)
        serialNumber = paddedText(of: info.serialNumber)
        manufacturer = paddedText(of: info.manufacturerID)
        model = paddedText(of: info.model)
        flags = TokenFlags(rawValue: info.flags)
        sessionCount = Self.known(info.ulSessionCount)
        maximumSessionCount = Self.known(info.ulMaxSessionCount)
        minimumPINBytes = info.ulMinPinLen
        maximumPINBytes = info.ulMaxPinLen
        firmwareVersion = versionText(info.firmwareVersion)
    }

    private static func known(_ count: CK_ULONG) -> UInt? {
        count == hsmcluster_unavailable_information ? nil : count
    }
}

/// The flags of a token (PKCS#11 v2.40 §3.2).
public struct TokenFlags: OptionSet, Hashable, Sendable {
    /// The bits.
    public let rawValue: UInt
    /// Wraps the bits.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKF_RNG: it makes random numbers.
    public static let hasRandomGenerator = TokenFlags(rawValue: CKF_RNG)
    /// CKF_WRITE_PROTECTED.
    public static let isWriteProtected = TokenFlags(rawValue: CKF_WRITE_PROTECTED)
    /// CKF_LOGIN_REQUIRED: some functions need a login.
    public static let requiresLogin = TokenFlags(rawValue: CKF_LOGIN_REQUIRED)
    /// CKF_USER_PIN_INITIALIZED: the user has a PIN.
    public static let isUserPINInitialized = TokenFlags(rawValue: CKF_USER_PIN_INITIALIZED)
    /// CKF_PROTECTED_AUTHENTICATION_PATH: the PIN is entered on the device.
    public static let hasProtectedAuthenticationPath = TokenFlags(rawValue: CKF_PROTECTED_AUTHENTICATION_PATH)
    /// CKF_TOKEN_INITIALIZED.
    public static let isInitialized = TokenFlags(rawValue: CKF_TOKEN_INITIALIZED)
    /// CKF_USER_PIN_COUNT_LOW: a wrong PIN has been entered since the last right one.
    public static let isUserPINCountLow = TokenFlags(rawValue: CKF_USER_PIN_COUNT_LOW)
    /// CKF_USER_PIN_FINAL_TRY: one more wrong PIN locks it.
    public static let isUserPINFinalTry = TokenFlags(rawValue: CKF_USER_PIN_FINAL_TRY)
    /// CKF_USER_PIN_LOCKED.
    public static let isUserPINLocked = TokenFlags(rawValue: CKF_USER_PIN_LOCKED)
    /// CKF_USER_PIN_TO_BE_CHANGED.
    public static let isUserPINToBeChanged = TokenFlags(rawValue: CKF_USER_PIN_TO_BE_CHANGED)
}

/// What a token says of one mechanism (CK_MECHANISM_INFO).
public struct MechanismInfo: Hashable, Sendable {
    /// The smallest key, in bits or bytes as the mechanism has it.
    public var minimumKeySize: UInt
    /// The largest key, in the same unit.
    public var maximumKeySize: UInt
    /// What the mechanism may be used for.
    public var flags: MechanismFlags
}

/// What a mechanism may be used for (PKCS#11 v2.40 §3.5).
public struct MechanismFlags: OptionSet, Hashable, Sendable {
    /// The bits.
    public let rawValue: UInt
    /// Wraps the bits.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKF_HW: done by the device.
    public static let hardware = MechanismFlags(rawValue: CKF_HW)
    /// CKF_ENCRYPT.
    public static let encrypt = MechanismFlags(rawValue: CKF_ENCRYPT)
    /// CKF_DECRYPT.
    public static let decrypt = MechanismFlags(rawValue: CKF_DECRYPT)
    /// CKF_DIGEST.
    public static let digest = MechanismFlags(rawValue: CKF_DIGEST)
    /// CKF_SIGN.
    public static let sign = MechanismFlags(rawValue: CKF_SIGN)
    /// CKF_VERIFY.
    public static let verify = MechanismFlags(rawValue: CKF_VERIFY)
    /// CKF_GENERATE.
    public static let generate = MechanismFlags(rawValue: CKF_GENERATE)
    /// CKF_GENERATE_KEY_PAIR.
    public static let generateKeyPair = MechanismFlags(rawValue: CKF_GENERATE_KEY_PAIR)
    /// CKF_WRAP.
    public static let wrap = MechanismFlags(rawValue: CKF_WRAP)
    /// CKF_UNWRAP.
    public static let unwrap = MechanismFlags(rawValue: CKF_UNWRAP)
    /// CKF_DERIVE.
    public static let derive = MechanismFlags(rawValue: CKF_DERIVE)
}
