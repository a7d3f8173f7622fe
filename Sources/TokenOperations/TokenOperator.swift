// Carries out what a node asks of an endpoint (`EndpointRequest`) on one PKCS#11 session. No key is ever in clear
// outside the token: keys are generated, wrapped, unwrapped and derived inside it, and check values are computed
// there. Everything here is synchronous and may block for as long as the vendor's module does.
//
// The rules that the cluster rests on: an object is found by its exact CKA_ID, never by its label; before making
// one, look whether it is already there and adopt it; never touch an object that the request does not name.

import ClusterModel
public import PKCS11

/// One session with one token, and the requests that it can carry out. Not Sendable: the thread that makes it uses it.
public final class TokenOperator {
    let token: Token
    var session: Session
    private var lastInfo: TokenInfo?
    private var lastDetails: (mechanisms: [MechanismType], details: [MechanismDescription])?
    /// The length of a transport key yet to be made; tests save time with a shorter one.
    var transportKeyBits = TransportKeyLimits.preferredBits

    /// Opens a read-write session on `token`.
    public init(token: Token) throws(EndpointFailure) {
        do {
            self.token = token
            // Whether the token can be used is for C_OpenSession to say; see `info()`.
            lastInfo = try? token.info()
            session = try token.openSession(readWrite: true)
        } catch {
            throw EndpointFailure(error, during: "open a session")
        }
    }

    /// True when the token counts this session as logged in, or asks for no login.
    public func isLoggedIn() throws(EndpointFailure) -> Bool {
        if let lastInfo, !lastInfo.flags.contains(.requiresLogin) { return true }
        do {
            return try session.info().loggedIn == .user
        } catch {
            throw EndpointFailure(error, during: "ask for the login state")
        }
    }

    /// Logs the user in for every session that this process has on the token, with one call of C_Login. The
    /// caller remembers a rejected PIN and never tries it again. CKR_USER_ALREADY_LOGGED_IN is reported as such.
    public func logIn(_ pin: borrowing SecretBytes) throws(EndpointFailure) {
        do {
            try token.logIn(as: .user, pin: pin, through: &session)
        } catch {
            throw EndpointFailure(error, during: "log in")
        }
    }

    /// Carries one request out. `logIn` and `forgetRejectedPIN` are not among them: they need the PIN and the
    /// record of rejected ones, which the token host keeps. All but `inspect` need a login.
    public func perform(_ request: EndpointRequest) throws(EndpointFailure) -> EndpointReply {
        do {
            return try carryOut(request)
        } catch let failure as EndpointFailure {
            throw failure
        } catch let error as PKCS11Error {
            throw EndpointFailure(error, during: request.name)
        } catch {
            throw EndpointFailure(.invalidRequest, detail: "\(request.name): \(error)")
        }
    }

    private func carryOut(_ request: EndpointRequest) throws -> EndpointReply {
        try request.validate()
        if case .inspect = request { return .token(try inspect()) }
        guard try isLoggedIn() else {
            throw EndpointFailure(.notLoggedIn, detail: "\(request.name): nobody is logged in to the token")
        }
        switch request {
        case .inspect:
            return .token(try inspect())
        case .logIn, .forgetRejectedPIN:
            throw EndpointFailure(.invalidRequest, detail: "\(request.name): the token host does this itself")
        case .scan(let labelPrefix):
            return .objects(try scan(labelPrefix: labelPrefix))
        case .generate(let specification):
            return .made(adopted: try generate(specification))
        case .transportKey:
            return .transportKey(try transportKey())
        case .exportKey(let identity, let destination):
            return .wrapped(try exportKey(identity: identity, for: destination))
        case .importKey(let specification, let wrapped):
            return .made(adopted: try importKey(specification, wrapped))
        case .verify(let identity, let algorithm, let challenge):
            return .proof(try proof(identity: identity, algorithm: algorithm, challenge: challenge))
        case .restrict(let identity):
            try restrict(identity: identity)
            return .done
        case .destroy(let identity, let label):
            return .destroyed(try destroy(identity: identity, label: label))
        }
    }

    /// The token as it describes itself, with its mechanisms in ascending order.
    private func inspect() throws -> TokenDescription {
        let info = try info()
        let mechanisms = try token.mechanisms().sorted { $0.rawValue < $1.rawValue }
        return TokenDescription(
            label: info.label, serialNumber: info.serialNumber, manufacturer: info.manufacturer,
            model: info.model, mechanisms: mechanisms.map { UInt64($0.rawValue) },
            isLoggedIn: try isLoggedIn(), mechanismDetails: details(mechanisms))
    }

    /// What the token says of its mechanisms; asked once, since it may be a call over a network for each.
    private func details(_ mechanisms: [MechanismType]) -> [MechanismDescription] {
        if let lastDetails, lastDetails.mechanisms == mechanisms { return lastDetails.details }
        let details = mechanisms.compactMap { mechanism -> MechanismDescription? in
            guard let info = try? token.info(of: mechanism) else { return nil }
            return MechanismDescription(
                type: UInt64(mechanism.rawValue), minimumKeySize: UInt64(info.minimumKeySize),
                maximumKeySize: UInt64(info.maximumKeySize), flags: UInt64(info.flags.rawValue))
        }
        if details.count == mechanisms.count { lastDetails = (mechanisms, details) }
        return details
    }

    /// What the token says of itself, or has said earlier. SoftHSM reads this from a file that every login, of any
    /// process, writes anew; whoever reads it in that instant gets CKR_GENERAL_ERROR from then on, although
    /// the token works. So a token that still makes random numbers counts as present.
    private func info() throws -> TokenInfo {
        do {
            let info = try token.info()
            lastInfo = info
            return info
        } catch {
            guard error.returnValue == .generalError, let lastInfo else { throw error }
            _ = try session.randomBytes(1)
            return lastInfo
        }
    }
}
