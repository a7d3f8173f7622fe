import ClusterModel

// What a failed PKCS#11 call says about the endpoint, and what to do about it. Return values are a poor
// language: drivers report a lost link as CKR_FUNCTION_FAILED or CKR_DEVICE_ERROR, and a busy HSM as either.
// So values are sorted into six classes by what may safely be done next (PKCS#11 §5.1 for the meanings; the
// actions are this project's), and two rules stand above all: a PIN that was rejected is never tried again,
// and a call that may have had an effect is looked up by its CKA_ID before it is repeated.

/// What a failure says about the endpoint.
public enum FailureClass: String, Hashable, Sendable, Codable, CaseIterable {
    /// The device, its module or the way to it is gone. The endpoint is suspect at once.
    case gone
    /// Could be anything. Worth one more try; the endpoint is suspect if that fails, too.
    case ambiguous
    /// The session, the login or an object handle is no longer valid; the endpoint itself is well.
    case staleSession = "stale-session"
    /// The endpoint has no session or memory to spare: busy, not broken.
    case capacity
    /// The PIN or another credential was rejected. Every further try may lock the token.
    case credential
    /// The request is at fault: it would fail on every endpoint.
    case badRequest = "bad-request"
}

/// What kind of call failed; decides whether it may be repeated.
public enum OperationKind: Hashable, Sendable, CaseIterable {
    /// Has no lasting effect: signing, deriving, finding, verifying. May be repeated anywhere.
    case repeatable
    /// May leave an object or destroy one: generate, unwrap, import, destroy.
    case mutating
    /// C_Login. Counts against the token's limit of tries.
    case login
}

/// What to do after a failure.
public enum Disposition: Hashable, Sendable, CaseIterable {
    /// Mark this endpoint suspect and let another one do it.
    case tryAnotherEndpoint
    /// Repeat it here, once.
    case retryOnceHere
    /// Open a new session, log in with the PIN that was accepted before, find the objects again, repeat once.
    case reopenSession
    /// Wait (see `Backoff`), then repeat; the endpoint is well.
    case backOff
    /// Stop using this credential and tell an operator. Never retry, here or elsewhere.
    case stopAndAlarm
    /// Give the error to the caller.
    case reject
    /// It may have happened, or may still happen: look for the object by its CKA_ID before anything else.
    case reconcile
}

extension FailureClass {
    /// What to do with a call of this kind that has failed so.
    /// - Parameter hasRetried: True when the one repetition on this endpoint has been used up.
    public func disposition(for kind: OperationKind, hasRetried: Bool = false) -> Disposition {
        switch (self, kind) {
        case (.credential, _): .stopAndAlarm
        case (.badRequest, _): .reject
        case (.capacity, _): .backOff
        case (.gone, .mutating), (.ambiguous, .mutating): .reconcile
        case (.gone, _), (.ambiguous, .login): .tryAnotherEndpoint
        case (.ambiguous, .repeatable): hasRetried ? .tryAnotherEndpoint : .retryOnceHere
        case (.staleSession, .mutating): hasRetried ? .reconcile : .reopenSession
        case (.staleSession, _): hasRetried ? .tryAnotherEndpoint : .reopenSession
        }
    }

    /// True when the endpoint should count as suspect now.
    public func makesSuspect(hasRetried: Bool = false) -> Bool {
        switch self {
        case .gone: true
        case .ambiguous, .staleSession: hasRetried
        case .capacity, .credential, .badRequest: false
        }
    }
}

/// One failed call, classified.
public struct Classification: Hashable, Sendable {
    /// The CKR_ value; nil when there was none, as with a missed deadline.
    public var returnValue: UInt?
    /// What it says about the endpoint.
    public var failureClass: FailureClass

    /// Puts a classification together.
    public init(returnValue: UInt?, failureClass: FailureClass) {
        self.returnValue = returnValue
        self.failureClass = failureClass
    }

    /// What to do with a call of this kind.
    /// - Parameter hasRetried: True when the one repetition on this endpoint has been used up.
    public func disposition(for kind: OperationKind, hasRetried: Bool = false) -> Disposition {
        // The session was closed while the function ran (PKCS#11 §5.1.2): it may have come to its end.
        if kind == .mutating, returnValue == ReturnValue.sessionClosed { return .reconcile }
        return failureClass.disposition(for: kind, hasRetried: hasRetried)
    }
}
