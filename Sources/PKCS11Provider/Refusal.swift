internal import CCryptoki

// Inside the provider a failed call is a thrown return value (PKCS#11 v2.40 §5.1); the exported functions turn it
// back into a number. Typed throws keep that free of allocation.

/// A return value other than CKR_OK.
struct Refusal: Error, Hashable {
    let code: CK_RV
    init(_ code: CK_RV) { self.code = code }

    static let arguments = Refusal(CKR_ARGUMENTS_BAD)
    static let parameter = Refusal(CKR_MECHANISM_PARAM_INVALID)
    static let notInitialized = Refusal(CKR_CRYPTOKI_NOT_INITIALIZED)
    static let sessionHandle = Refusal(CKR_SESSION_HANDLE_INVALID)
    static let objectHandle = Refusal(CKR_OBJECT_HANDLE_INVALID)
    static let keyHandle = Refusal(CKR_KEY_HANDLE_INVALID)
    static let operationMissing = Refusal(CKR_OPERATION_NOT_INITIALIZED)
    static let operationActive = Refusal(CKR_OPERATION_ACTIVE)
    static let notLoggedIn = Refusal(CKR_USER_NOT_LOGGED_IN)
    static let writeProtected = Refusal(CKR_TOKEN_WRITE_PROTECTED)
    static let readOnly = Refusal(CKR_SESSION_READ_ONLY)
    static let device = Refusal(CKR_DEVICE_ERROR)
    static let busy = Refusal(CKR_DEVICE_MEMORY)
    static let dataLength = Refusal(CKR_DATA_LEN_RANGE)
    static let unsupported = Refusal(CKR_FUNCTION_NOT_SUPPORTED)
}

/// Bounds that the provider publishes (docs/FEATURES.md).
enum ProviderLimits {
    /// The one slot's number, for good.
    static let slot: CK_SLOT_ID = 1
    /// The most sessions of one application.
    static let sessions = 65_536
    /// The most session objects of one application.
    static let sessionObjects = 65_536
    /// Input of a multi-part operation that is kept, so that it can be begun anew on another endpoint.
    static let keptInputBytes = 262_144
    /// The most input of one call; longer data is taken in pieces where the function allows it.
    static let callBytes = 1 << 30
    /// The most attributes of a template.
    static let templateAttributes = 128
    /// Handles from here on are session objects; below are keys of the cluster, by their numbers.
    static let firstSessionObject: UInt64 = 1 << 41
    /// The most bytes of the configuration file.
    static let configurationBytes = 65_536
    /// On how many endpoints one operation may be waited for at the same time.
    static let flights = 4
    /// How long an endpoint that failed is nobody's first choice, in nanoseconds.
    static let avoidNanoseconds: Int64 = 1_000_000_000
    /// The pause before a call that failed everywhere begins again within its deadline, in nanoseconds.
    static let roundPauseNanoseconds: Int64 = 20_000_000
    /// How often a directory without a pulse page is looked at, in nanoseconds.
    static let directoryPollNanoseconds: Int64 = 200_000_000
}
