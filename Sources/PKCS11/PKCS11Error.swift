// One error for every Cryptoki call: which function, and what it returned. The reader of a log can look both up
// in the specification, and a caller can decide by the return value without parsing text.

/// A Cryptoki function that the wrapper calls, spelled as in the specification (PKCS#11 v2.40 §5).
public enum Function: String, Hashable, Sendable, CaseIterable {
    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    case initialize = "C_Initialize"
    case getInfo = "C_GetInfo"
    case getSlotList = "C_GetSlotList"
    case getSlotInfo = "C_GetSlotInfo"
    case getTokenInfo = "C_GetTokenInfo"
    case getMechanismList = "C_GetMechanismList"
    case getMechanismInfo = "C_GetMechanismInfo"
    case initToken = "C_InitToken"
    case initPIN = "C_InitPIN"
    case openSession = "C_OpenSession"
    case closeSession = "C_CloseSession"
    case getSessionInfo = "C_GetSessionInfo"
    case login = "C_Login"
    case logout = "C_Logout"
    case createObject = "C_CreateObject"
    case copyObject = "C_CopyObject"
    case destroyObject = "C_DestroyObject"
    case getAttributeValue = "C_GetAttributeValue"
    case setAttributeValue = "C_SetAttributeValue"
    case findObjectsInit = "C_FindObjectsInit"
    case findObjects = "C_FindObjects"
    case findObjectsFinal = "C_FindObjectsFinal"
    case encryptInit = "C_EncryptInit"
    case encrypt = "C_Encrypt"
    case decryptInit = "C_DecryptInit"
    case decrypt = "C_Decrypt"
    case digestInit = "C_DigestInit"
    case digest = "C_Digest"
    case signInit = "C_SignInit"
    case sign = "C_Sign"
    case verifyInit = "C_VerifyInit"
    case verify = "C_Verify"
    case generateKey = "C_GenerateKey"
    case generateKeyPair = "C_GenerateKeyPair"
    case wrapKey = "C_WrapKey"
    case unwrapKey = "C_UnwrapKey"
    case deriveKey = "C_DeriveKey"
    case generateRandom = "C_GenerateRandom"
}

/// A Cryptoki function returned something other than CKR_OK.
public struct PKCS11Error: Error, Hashable, Sendable, CustomStringConvertible {
    /// The function that failed.
    public var function: Function
    /// What it returned.
    public var returnValue: ReturnValue

    /// Puts an error together.
    public init(_ function: Function, _ returnValue: ReturnValue) {
        self.function = function
        self.returnValue = returnValue
    }

    /// Such as `C_Login: CKR_PIN_INCORRECT (0xA0)`.
    public var description: String { "\(function.rawValue): \(returnValue)" }
}
