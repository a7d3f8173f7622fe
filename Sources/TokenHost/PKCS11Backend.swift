import ClusterModel
import PKCS11
import TokenOperations

// The real backend: one module loaded through p11-kit, the one token that the endpoint's URI selects, and a
// session that is never used for work: a login lives only as long as the application has a session with the
// token (PKCS#11 v2.40 §5.6, C_CloseSession), so this one keeps it alive while others come and go.

/// An endpoint behind a PKCS#11 module.
public final class PKCS11Backend: EndpointBackend {
    /// The session that keeps the login alive.
    private final class Anchor: @unchecked Sendable {
        // Safe: only the custodian's thread calls the operator.
        let operation: TokenOperator
        init(_ token: Token) throws(EndpointFailure) { operation = try TokenOperator(token: token) }
    }

    private struct State {
        var module: Module?
        var token: Token?
        var anchor: Anchor?
    }

    private let modulePath: String
    private let tokenURI: String
    // Never held during a call into the module: that call may not return.
    private let shared = Monitor<State>(State())

    /// An endpoint that isn't loaded yet.
    public init(modulePath: String, tokenURI: String) {
        self.modulePath = modulePath
        self.tokenURI = tokenURI
    }

    /// Loads the module unless it is loaded, finds the token, opens the session that keeps a login alive.
    public func open() throws(EndpointFailure) -> TokenDescription {
        let module = try loadedModule()
        let token = try find(in: module)
        let anchor = try Anchor(token)
        let earlier = shared.change { state in
            defer { (state.token, state.anchor) = (token, anchor) }
            return state.anchor
        }
        // An earlier session is closed here, outside of the lock.
        withExtendedLifetime(earlier) {}
        return try Self.describe(anchor)
    }

    /// Asks the token to describe itself.
    public func inspect() throws(EndpointFailure) -> TokenDescription {
        try Self.describe(try anchor())
    }

    /// C_Login with exactly this PIN, once.
    public func logIn(_ pin: borrowing SecretBytes) throws(EndpointFailure) {
        try anchor().operation.logIn(pin)
    }

    /// Opens a read-write session.
    public func makePerformer() throws(EndpointFailure) -> any EndpointPerformer {
        guard let token = shared.look({ $0.token }) else { throw Self.notOpen }
        return try TokenOperator(token: token)
    }

    /// The token while it is open.
    public func dataToken() -> Token? { shared.look { $0.token } }

    /// Lets go of session, token and module.
    public func close() {
        let released = shared.change { state in
            defer { state = State() }
            return state
        }
        // The last reference to go finalizes the module; here, outside of the lock.
        withExtendedLifetime(released) {}
    }

    private static let notOpen = EndpointFailure(.tokenNotFound, detail: "the token is not open")

    private static func describe(_ anchor: Anchor) throws(EndpointFailure) -> TokenDescription {
        guard case .token(let description) = try anchor.operation.perform(.inspect) else { throw notOpen }
        return description
    }

    private func anchor() throws(EndpointFailure) -> Anchor {
        guard let anchor = shared.look({ $0.anchor }) else { throw Self.notOpen }
        return anchor
    }

    private func loadedModule() throws(EndpointFailure) -> Module {
        if let module = shared.look({ $0.module }) { return module }
        do {
            let module = try Module(path: modulePath)
            shared.change { $0.module = module }
            return module
        } catch {
            throw EndpointFailure(error)
        }
    }

    private func find(in module: Module) throws(EndpointFailure) -> Token {
        let selector: TokenSelector
        do {
            selector = try TokenSelector(uri: tokenURI)
        } catch {
            throw EndpointFailure(error)
        }
        do {
            return try module.token(matching: selector)
        } catch {
            throw EndpointFailure(error)
        }
    }
}

extension TokenOperator: EndpointPerformer {}
