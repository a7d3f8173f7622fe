import ClusterModel
import Gossip
import KeyCatalog

// The leader turns what all nodes observe into one decision that all nodes follow: the view. Observations
// never decide by themselves; an endpoint leaves service when a majority of the nodes that are alive has seen
// it fail for a while, and comes back as soon as a majority can use it.

extension Node {
    mutating func advanceView() {
        for name in settings.endpoints {
            guard let endpoint = catalog.endpoints[name] else {
                proposeUpkeep("register \(name)", .registerEndpoint(name))
                continue
            }
            if endpoint.withdrawal == nil { foldObservations(of: endpoint) }
            expireClaim(of: endpoint)
        }
    }

    private mutating func foldObservations(of endpoint: EndpointRecord) {
        let name = endpoint.name
        let aliveNodes = Set(gossip.members.filter { $0.state == .alive }.map(\.node)).union([settings.id])
        let seen = gossip.observations.filter { $0.endpoint == name && aliveNodes.contains($0.node) }
        let ready = seen.filter { $0.health == .ready || $0.health == .busy }.count
        if ready * 2 >= aliveNodes.count, ready > 0 {
            steward?.failingSince[name] = nil
            if !endpoint.isInService {
                proposeUpkeep("view \(name)", .setService(name, isInService: true, reason: nil))
            }
            return
        }
        guard endpoint.isInService else { return }
        guard let since = steward?.failingSince[name] else {
            steward?.failingSince[name] = moment.now
            return
        }
        guard moment.now - since > settings.serviceGrace else { return }
        let errors = seen.compactMap { observation in
            observation.lastError.map { "node \(observation.node): \($0)" }
        }
        let reason =
            errors.isEmpty
            ? "\(ready) of \(aliveNodes.count) nodes can use it" : errors.joined(separator: "; ")
        proposeUpkeep("view \(name)", .setService(name, isInService: false, reason: reason))
    }

    /// A node that was allowed to try a PIN and never said how it went must not keep the others waiting.
    private mutating func expireClaim(of endpoint: EndpointRecord) {
        guard let claim = endpoint.loginClaim else {
            steward?.claimSeen[endpoint.name] = nil
            return
        }
        guard let seen = steward?.claimSeen[endpoint.name], seen.index == claim.index else {
            steward?.claimSeen[endpoint.name] = (claim.index, moment.now)
            return
        }
        guard moment.now - seen.since > settings.loginClaimLife else { return }
        proposeUpkeep(
            "claim \(endpoint.name)", .reportLogin(endpoint.name, node: claim.node, outcome: .abandoned))
    }

    // MARK: Enrolment

    /// An endpoint can take part once its token and its transport key are pinned.
    mutating func advanceEnrolment() {
        for name in settings.endpoints {
            guard let endpoint = catalog.endpoints[name], endpoint.transportKey == nil, isReady(name) else {
                continue
            }
            if let retryAt = steward?.enrolRetryAt[name], moment.now < retryAt { continue }
            guard steward?.upkeep.insert("enrol \(name)").inserted == true else { continue }
            _ = stewardCall(name, .transportKey, for: .enrol(name))
        }
    }

    mutating func enrolAnswered(_ name: EndpointName, _ result: Result<EndpointReply, EndpointFailure>) {
        if case .success(.transportKey(let transportKey)) = result, let token = localEndpoints[name]?.token {
            propose(
                .enrolEndpoint(
                    name, serialNumber: token.serialNumber, tokenLabel: token.label,
                    transportKey: transportKey),
                for: .upkeep("enrol \(name)"))
            return
        }
        steward?.upkeep.remove("enrol \(name)")
        steward?.enrolRetryAt[name] = moment.now + settings.retryPause * 8
        if case .failure(let failure) = result {
            notice(
                .warning, "endpoint \(name) cannot be enrolled: \(failure.detail)", ["endpoint": "\(name)"])
        }
    }

    /// True when copies can be made from the endpoint now. One that is drained gives copies, so that it can be removed.
    func canGiveCopies(_ name: EndpointName) -> Bool {
        guard let endpoint = catalog.endpoints[name] else { return false }
        return isReady(name) && (endpoint.isInService || endpoint.withdrawal == .drained)
    }

    /// True when copies can be made to and from the endpoint now.
    func isUsable(_ name: EndpointName) -> Bool {
        guard let endpoint = catalog.endpoints[name] else { return false }
        return endpoint.isInService && endpoint.transportKey != nil && isReady(name)
    }
}
