import ClusterModel
import Gossip
import KeyCatalog

// This node's own token hosts: what they report, logging them in, and telling the others.
//
// A wrong PIN locks an HSM's user, for every node at once. So a PIN that has never been tried is tried by one
// node at a time, with the cluster's permission (a claim in the catalog); a rejection withdraws the
// permission from all until an operator says that the PIN was corrected. A PIN that was accepted before may
// be used again without asking: signing must not depend on a quorum.

/// What this node knows of one endpoint through its own token host.
public struct LocalEndpoint: Hashable, Sendable {
    /// What the token host last reported.
    public var state = TokenHostState.starting
    /// The last failure of a login, if the endpoint is not logged in.
    public var loginFailure: EndpointFailure?

    var loginCall: CallID?
    var loginClaim: ClientRequestID?
    var loginReport: LoginOutcome?
    var loginReportRequest: ClientRequestID?
    var usedClaim = LogIndex.zero
    /// Until when a granted claim may still be on its way into this node's catalog.
    var claimDue: Instant?
    var loginRetryAt: Instant?
    var loginRetries = 0
    var mustForgetRejection = false

    /// The token, when the token host serves it.
    public var token: TokenDescription? {
        guard case .serving(let token, _) = state else { return nil }
        return token
    }

    /// What the token host remembers of the PIN.
    public var pin: PINState? {
        guard case .serving(_, let pin) = state else { return nil }
        return pin
    }
}

struct LoginCall: Sendable {
    var endpoint: EndpointName
    var isForget: Bool
    /// The PIN's state when the call was made.
    var pin: PINState
}

extension Node {
    mutating func tokenHostChanged(_ name: EndpointName, _ state: TokenHostState) {
        guard var endpoint = localEndpoints[name], endpoint.state != state else { return }
        let wasReady = isReady(name)
        if case .serving(let token, _) = state, token.isLoggedIn { endpoint.loginFailure = nil }
        endpoint.state = state
        localEndpoints[name] = endpoint
        if wasReady != isReady(name) { stewardEndpointChanged(name) }
        observationsDue = moment.now
        switch state {
        case .failed(let failure):
            notice(
                .warning, "endpoint \(name): \(failure.detail)",
                ["endpoint": "\(name)", "kind": failure.kind.rawValue])
        case .serving(let token, _) where isAnotherToken(name):
            notice(
                .alarm,
                "endpoint \(name): the token found has serial number \(token.serialNumber), not the enrolled one; "
                    + "it is not used", ["endpoint": "\(name)"])
        default: break
        }
    }

    /// True when another token than the enrolled one answers at this endpoint.
    func isAnotherToken(_ name: EndpointName) -> Bool {
        guard let token = localEndpoints[name]?.token, let enrolled = catalog.endpoints[name]?.serialNumber
        else {
            return false
        }
        return token.serialNumber != enrolled
    }

    /// True when this node can use the endpoint now.
    public func isReady(_ name: EndpointName) -> Bool {
        guard let token = localEndpoints[name]?.token, !isRemoved(name) else { return false }
        return token.isLoggedIn && !isAnotherToken(name)
    }

    /// True when an operator took the endpoint out of the cluster; this node's file may still name it.
    public func isRemoved(_ name: EndpointName) -> Bool { catalog.endpoints[name]?.withdrawal == .removed }

    // MARK: Logging in

    mutating func advanceLogins() {
        for name in settings.endpoints {
            advanceLoginReport(name)
            if !isRemoved(name) { advanceLogin(name) }
        }
    }

    private mutating func advanceLogin(_ name: EndpointName) {
        guard let endpoint = localEndpoints[name], endpoint.loginCall == nil else { return }
        guard case .serving(let token, let pin) = endpoint.state, !token.isLoggedIn, !isAnotherToken(name)
        else {
            return
        }
        if let retryAt = endpoint.loginRetryAt, moment.now < retryAt { return }
        let record = catalog.endpoints[name]
        switch pin {
        case .rejected:
            if endpoint.mustForgetRejection {
                logIn(name, isForget: true, pin: pin)
            } else if record?.loginClaim?.node == settings.id, endpoint.loginReport == nil {
                // This node tried it with permission, and died before it could say how that ended.
                localEndpoints[name]?.loginReport = .rejected
            }
        case .accepted:
            if record?.rejectedBy != nil, record?.wasAcceptedBefore == true { return }
            logIn(name, isForget: false, pin: pin)
        case .untried:
            guard let record, record.rejectedBy == nil, endpoint.loginReport == nil else { return }
            if let claim = record.loginClaim {
                guard claim.node == settings.id, claim.index > endpoint.usedClaim else { return }
                localEndpoints[name]?.usedClaim = claim.index
                localEndpoints[name]?.claimDue = nil
                logIn(name, isForget: false, pin: pin)
            } else if endpoint.loginClaim == nil {
                if let due = endpoint.claimDue, moment.now < due { return }
                let id = ClientRequestID(ids.next() | ownRequestBit)
                localEndpoints[name]?.loginClaim = id
                accept(.claimLogin(name, node: settings.id), id, .init(high: 0, low: 0))
            }
        }
    }

    private mutating func logIn(_ name: EndpointName, isForget: Bool, pin: PINState) {
        let id = call(name, isForget ? .forgetRejectedPIN : .logIn)
        localEndpoints[name]?.loginCall = id
        if isForget { localEndpoints[name]?.mustForgetRejection = false }
        loginCalls[id] = LoginCall(endpoint: name, isForget: isForget, pin: pin)
    }

    mutating func loginAnswered(_ login: LoginCall, _ result: Result<EndpointReply, EndpointFailure>) {
        guard var endpoint = localEndpoints[login.endpoint] else { return }
        endpoint.loginCall = nil
        defer { localEndpoints[login.endpoint] = endpoint }
        if login.isForget { return }
        switch result {
        case .success:
            endpoint.loginFailure = nil
            endpoint.loginRetryAt = nil
            endpoint.loginRetries = 0
            if login.pin == .untried { endpoint.loginReport = .accepted }
        case .failure(let failure):
            endpoint.loginFailure = failure
            endpoint.loginRetries += 1
            endpoint.loginRetryAt = moment.now + pause(after: endpoint.loginRetries)
            if failure.kind == .credentialRejected {
                endpoint.loginReport = login.pin == .accepted ? .revoked : .rejected
            } else if login.pin == .untried {
                endpoint.loginReport = .abandoned
            }
            notice(
                failure.kind == .credentialRejected ? .alarm : .warning,
                "endpoint \(login.endpoint): login failed: \(failure.detail)",
                ["endpoint": "\(login.endpoint)"])
        }
        observationsDue = moment.now
    }

    /// Exponential, capped; without jitter, since nodes take turns anyway.
    func pause(after failures: Int) -> Duration {
        min(settings.retryPause * (1 << min(failures - 1, 10)), settings.longestRetryPause)
    }

    mutating func loginClaimEnded(_ name: EndpointName, _ reply: ClientReply) {
        localEndpoints[name]?.loginClaim = nil
        // Granted: the claim stands in the catalog, where `advanceLogin` finds it. Refused: try again later.
        if case .refused = reply {
            localEndpoints[name]?.loginRetryAt = moment.now + settings.retryPause * 2
        } else {
            localEndpoints[name]?.claimDue = moment.now + .seconds(2)
        }
    }

    private mutating func advanceLoginReport(_ name: EndpointName) {
        guard let endpoint = localEndpoints[name], let outcome = endpoint.loginReport else { return }
        guard endpoint.loginReportRequest == nil else { return }
        if let retryAt = endpoint.loginRetryAt, moment.now < retryAt, outcome == .abandoned { return }
        let id = ClientRequestID(ids.next() | ownRequestBit)
        localEndpoints[name]?.loginReportRequest = id
        accept(.reportLogin(name, node: settings.id, outcome: outcome), id, .init(high: 0, low: 0))
    }

    mutating func loginReportEnded(_ name: EndpointName, _ reply: ClientReply) {
        localEndpoints[name]?.loginReportRequest = nil
        if case .refused(let refusal) = reply {
            if case .catalog = refusal { localEndpoints[name]?.loginReport = nil }
        } else {
            localEndpoints[name]?.loginReport = nil
        }
    }

    // MARK: Observations

    /// What this node tells the others of its endpoints.
    mutating func publishObservations() {
        guard moment.now >= observationsDue else { return }
        observationsDue = moment.now + .seconds(1)
        stepGossip(.observed(settings.endpoints.map(reading)))
    }

    private func reading(_ name: EndpointName) -> EndpointReading {
        let endpoint = localEndpoints[name] ?? LocalEndpoint()
        var health = EndpointHealth.starting
        var error: String?
        switch endpoint.state {
        case .starting: health = .starting
        case .failed(let failure):
            switch failure.kind {
            case .credentialRejected, .pinUnavailable: health = .credentialError
            case .tokenNotFound: health = .tokenMissing
            case .moduleUnavailable: health = .moduleUnavailable
            default: health = .unreachable
            }
            error = failure.detail
        case .serving(let token, let pin):
            if isAnotherToken(name) {
                health = .unreachable
                error = "another token answers: serial number \(token.serialNumber)"
            } else if token.isLoggedIn {
                health = .ready
            } else if pin == .rejected || endpoint.loginFailure?.kind == .credentialRejected {
                health = .credentialError
                error = endpoint.loginFailure?.detail ?? "the token rejected this PIN before"
            } else {
                health = .notLoggedIn
                error = endpoint.loginFailure?.detail
            }
        }
        return EndpointReading(
            endpoint: name, health: health, latencyMicroseconds: 0, queueDepth: 0, lastError: error)
    }
}

/// Marks the numbers of requests that the node makes itself, so that they never meet a client's.
let ownRequestBit: UInt64 = 1 << 63
