import ClusterModel
import PKCS11

// The seam between the machinery of a token host (threads, queues, deadlines, the record of PINs) and the
// vendor's module. The machinery is tested with scripted backends that hang, fail and answer; the real one
// is PKCS11Backend.

/// One module and one token in it. The custodian's thread calls everything but `makePerformer`, which
/// session threads call, also at the same time as anything else.
public protocol EndpointBackend: Sendable {
    /// Loads and initializes the module, finds the token and opens the session that keeps a login alive.
    /// Called again after a failure, or after `close()`.
    func open() throws(EndpointFailure) -> TokenDescription
    /// Asks the token to describe itself; fails when it is gone. `isLoggedIn` is the token's own word.
    func inspect() throws(EndpointFailure) -> TokenDescription
    /// C_Login with exactly this PIN, once.
    func logIn(_ pin: borrowing SecretBytes) throws(EndpointFailure)
    /// Opens a session for one thread.
    func makePerformer() throws(EndpointFailure) -> any EndpointPerformer
    /// The token for the sessions of applications; nil when it isn't open. Called by any thread.
    func dataToken() -> Token?
    /// Lets go of token and module. Performers made before may still be in use; the module is finalized
    /// when the last of them is gone.
    func close()
}

extension EndpointBackend {
    /// Backends without a module have no token for applications.
    public func dataToken() -> Token? { nil }
}

/// Carries requests out on one session. Made, used and dropped by one session thread.
public protocol EndpointPerformer: AnyObject {
    /// Whether the token counts this session as logged in. Asked before every request: without a login a
    /// token hides its keys instead of failing, and an empty answer would look like lost keys.
    func isLoggedIn() throws(EndpointFailure) -> Bool
    /// Carries one request out.
    func perform(_ request: EndpointRequest) throws(EndpointFailure) -> EndpointReply
}

/// What a failure says about the session, the login and the PIN (PKCS#11 v2.40 §5.1, error codes).
enum FailureMeaning {
    /// The session or the login is gone, and the request was not carried out: repeat it on a new session.
    static func isStaleSession(_ failure: EndpointFailure) -> Bool {
        if failure.kind == .notLoggedIn { return true }
        return has(failure, [.sessionClosed, .sessionHandleInvalid, .userNotLoggedIn])
    }

    /// The token or the module broke down under the request, which may have been carried out.
    static func isDeviceTrouble(_ failure: EndpointFailure) -> Bool {
        has(
            failure,
            [
                .generalError, .functionFailed, .deviceError, .deviceRemoved, .tokenNotPresent,
                .cryptokiNotInitialized, primusConnectTimeout, primusAddressUnreachable,
            ])
    }

    /// The PIN itself was refused; trying it again could lock the token.
    static func isRejectedPIN(_ failure: EndpointFailure) -> Bool {
        if failure.returnValue == nil { return failure.kind == .credentialRejected }
        return has(
            failure,
            [
                .pinIncorrect, .pinInvalid, .pinLengthRange, .pinExpired, .pinLocked, primusWrongPIN,
                primusPINExpired,
            ])
    }

    /// A login failed for a reason that a freshly loaded module may not have.
    static func needsFreshModule(_ failure: EndpointFailure) -> Bool {
        isDeviceTrouble(failure) || has(failure, [.userPINNotInitialized, .tokenNotRecognized])
    }

    /// Somebody in this process has logged in already: as good as success.
    static func isAlreadyLoggedIn(_ failure: EndpointFailure) -> Bool {
        has(failure, [.userAlreadyLoggedIn])
    }

    // Securosys Primus gives these of its own.
    private static let primusWrongPIN = ReturnValue(0x8000_000B)
    private static let primusPINExpired = ReturnValue(0x8000_0037)
    private static let primusConnectTimeout = ReturnValue(0x8000_003B)
    private static let primusAddressUnreachable = ReturnValue(0x8000_5015)

    private static func has(_ failure: EndpointFailure, _ values: [ReturnValue]) -> Bool {
        guard let value = failure.returnValue else { return false }
        return values.contains { UInt64($0.rawValue) == value }
    }
}
