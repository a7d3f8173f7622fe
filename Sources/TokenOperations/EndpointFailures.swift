// From what a module returned to what a node can act on. The classes follow the specification's descriptions of the
// return values (PKCS#11 v2.40 §5.1); what is not clearly one of the others stays `returnValue`, with the number.

public import ClusterModel
public import PKCS11

extension EndpointFailure {
    /// A call of a module failed while doing `action`.
    public init(_ error: PKCS11Error, during action: String) {
        let kind: Kind
        let advice: String
        switch error.returnValue {
        // Not CKR_USER_PIN_NOT_INITIALIZED: it says nothing about this PIN.
        case .pinIncorrect, .pinInvalid, .pinLengthRange, .pinExpired, .pinLocked:
            kind = .credentialRejected
            advice = "correct the PIN at its source, then allow one more try"
        case .userNotLoggedIn:
            kind = .notLoggedIn
            advice = "log in first"
        case .mechanismInvalid, .functionNotSupported:
            kind = .mechanismMissing
            advice = "the token lacks what this needs"
        case .keyUnextractable, .keyNotWrappable:
            kind = .keyNotExtractable
            advice = "this key may not leave the token; replicate it from another endpoint"
        case .tokenNotPresent, .tokenNotRecognized,
            .slotIDInvalid where error.function == .openSession:
            kind = .tokenNotFound
            advice = "check that the token is connected"
        default:
            kind = .returnValue
            advice = ""
        }
        self.init(
            kind, function: error.function.rawValue, returnValue: UInt64(error.returnValue.rawValue),
            detail: "\(action): \(error)" + (advice.isEmpty ? "" : "; \(advice)"))
    }

    /// The module is not usable.
    public init(_ error: ModuleLoadError) {
        guard case .initializeFailed(let result) = error.reason else {
            self.init(.moduleUnavailable, detail: error.description)
            return
        }
        self.init(
            .moduleUnavailable, function: Function.initialize.rawValue, returnValue: UInt64(result.rawValue),
            detail: error.description)
    }

    /// The selector found no token.
    public init(_ error: TokenLookupError) {
        switch error {
        case .failed(let error): self.init(error, during: "look for the token")
        case .notFound, .ambiguous: self.init(.tokenNotFound, detail: error.description)
        }
    }

    /// The selector is no selector.
    public init(_ error: TokenSelectorError) {
        self.init(.tokenNotFound, detail: error.description)
    }
}
