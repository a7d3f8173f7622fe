public import CCryptoki
internal import Glibc
internal import Synchronization

// The table of all functions, and the functions that have to work before C_Initialize (PKCS#11 v2.40 §5.4).

/// A pointer to bytes of the application.
public typealias BytePointer = UnsafeMutablePointer<CK_BYTE>?
/// A pointer to a length of the application.
public typealias LengthPointer = UnsafeMutablePointer<CK_ULONG>?
/// A pointer to a handle of the application.
public typealias HandlePointer = UnsafeMutablePointer<CK_OBJECT_HANDLE>?
/// A pointer to a mechanism of the application.
public typealias MechanismPointer = UnsafeMutablePointer<CK_MECHANISM>?
/// A pointer to a template of the application.
public typealias AttributePointer = UnsafeMutablePointer<CK_ATTRIBUTE>?

/// Runs a function's body and turns what it throws into its return value.
func call(_ body: (Library) throws(Refusal) -> Void) -> CK_RV {
    do throws(Refusal) {
        try body(try Library.entered())
        return CKR_OK
    } catch { return error.code }
}

/// Input of the application. A null pointer is allowed for no bytes only.
func input(_ start: BytePointer, _ count: CK_ULONG) throws(Refusal) -> UnsafeBufferPointer<UInt8> {
    guard count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
    guard let start else { throw .arguments }
    guard count <= CK_ULONG(ProviderLimits.callBytes) else { throw .dataLength }
    return UnsafeBufferPointer(start: start, count: Int(count))
}

/// C_Initialize.
@c(C_Initialize)
public func cInitialize(_ initArgs: UnsafeMutableRawPointer?) -> CK_RV {
    do throws(Refusal) {
        try checkInitializeArguments(initArgs?.assumingMemoryBound(to: CK_C_INITIALIZE_ARGS.self))
        try initializeWithConfiguration()
        return CKR_OK
    } catch { return error.code }
}

/// C_GetFunctionList.
@c(C_GetFunctionList)
public func cGetFunctionList(
    _ list: UnsafeMutablePointer<UnsafeMutablePointer<CK_FUNCTION_LIST>?>?
) -> CK_RV {
    guard let list else { return CKR_ARGUMENTS_BAD }
    list.pointee = functionList.pointer
    return CKR_OK
}

/// Keeps the table, which is written once and lives as long as the library is loaded.
// Sendable: nobody writes to the memory after `init`, which runs once before the first use.
private struct FunctionTable: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<CK_FUNCTION_LIST>
}

private let functionList: FunctionTable = {
    let pointer = UnsafeMutablePointer<CK_FUNCTION_LIST>.allocate(capacity: 1)
    pointer.initialize(
        to: CK_FUNCTION_LIST(
            version: CK_VERSION(major: 2, minor: 40), C_Initialize: cInitialize, C_Finalize: cFinalize,
            C_GetInfo: cGetInfo, C_GetFunctionList: cGetFunctionList, C_GetSlotList: cGetSlotList,
            C_GetSlotInfo: cGetSlotInfo, C_GetTokenInfo: cGetTokenInfo, C_GetMechanismList: cGetMechanismList,
            C_GetMechanismInfo: cGetMechanismInfo, C_InitToken: cInitToken, C_InitPIN: cInitPIN,
            C_SetPIN: cSetPIN, C_OpenSession: cOpenSession, C_CloseSession: cCloseSession,
            C_CloseAllSessions: cCloseAllSessions, C_GetSessionInfo: cGetSessionInfo,
            C_GetOperationState: cGetOperationState, C_SetOperationState: cSetOperationState, C_Login: cLogin,
            C_Logout: cLogout, C_CreateObject: cCreateObject, C_CopyObject: cCopyObject,
            C_DestroyObject: cDestroyObject, C_GetObjectSize: cGetObjectSize,
            C_GetAttributeValue: cGetAttributeValue, C_SetAttributeValue: cSetAttributeValue,
            C_FindObjectsInit: cFindObjectsInit, C_FindObjects: cFindObjects,
            C_FindObjectsFinal: cFindObjectsFinal, C_EncryptInit: cEncryptInit, C_Encrypt: cEncrypt,
            C_EncryptUpdate: cEncryptUpdate, C_EncryptFinal: cEncryptFinal, C_DecryptInit: cDecryptInit,
            C_Decrypt: cDecrypt, C_DecryptUpdate: cDecryptUpdate, C_DecryptFinal: cDecryptFinal,
            C_DigestInit: cDigestInit, C_Digest: cDigest, C_DigestUpdate: cDigestUpdate,
            C_DigestKey: cDigestKey, C_DigestFinal: cDigestFinal, C_SignInit: cSignInit, C_Sign: cSign,
            C_SignUpdate: cSignUpdate, C_SignFinal: cSignFinal, C_SignRecoverInit: cSignRecoverInit,
            C_SignRecover: cSignRecover, C_VerifyInit: cVerifyInit, C_Verify: cVerify,
            C_VerifyUpdate: cVerifyUpdate, C_VerifyFinal: cVerifyFinal,
            C_VerifyRecoverInit: cVerifyRecoverInit, C_VerifyRecover: cVerifyRecover,
            C_DigestEncryptUpdate: cDigestEncryptUpdate, C_DecryptDigestUpdate: cDecryptDigestUpdate,
            C_SignEncryptUpdate: cSignEncryptUpdate, C_DecryptVerifyUpdate: cDecryptVerifyUpdate,
            C_GenerateKey: cGenerateKey, C_GenerateKeyPair: cGenerateKeyPair, C_WrapKey: cWrapKey,
            C_UnwrapKey: cUnwrapKey, C_DeriveKey: cDeriveKey, C_SeedRandom: cSeedRandom,
            C_GenerateRandom: cGenerateRandom, C_GetFunctionStatus: cGetFunctionStatus,
            C_CancelFunction: cCancelFunction, C_WaitForSlotEvent: cWaitForSlotEvent))
    return FunctionTable(pointer: pointer)
}()
