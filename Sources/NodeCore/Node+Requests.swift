import ClusterModel
import KeyCatalog
import Raft

// Any node takes any request. The leader carries it out; others pass it on, and pass it on again when the
// leader changes underneath: that is safe because every change carries the client's request id.

/// Who waits for an answer of the leader.
enum Ticket: Hashable, Sendable {
    /// A client of this node.
    case local(ClientRequestID)
    /// Another node, with its own number in one of its lives.
    case remote(NodeID, life: UInt64, sequence: UInt64)
}

/// A request of a client of this node, until it is answered.
struct LocalRequest: Sendable {
    var request: ClientRequest
    var freshIdentifier: Identifier128
    var askedAt: Int64
    var arrivedAt: Instant
    /// The node that works on it, or nil while there is no leader.
    var sentTo: NodeID?
    /// The first leader that it was given to.
    var firstLeader: NodeID?
    /// Since when there has been no leader to send it to.
    var leaderlessSince: Instant
}

extension Node {
    mutating func accept(_ request: ClientRequest, _ id: ClientRequestID, _ fresh: Identifier128) {
        guard requests.count < settings.pendingRequests else {
            return effects.replies.append((id, .refused(.overloaded)))
        }
        requests[id] = LocalRequest(
            request: request, freshIdentifier: fresh, askedAt: moment.wallClock, arrivedAt: moment.now,
            leaderlessSince: moment.now)
        route(id)
    }

    /// Refuses at once what cannot work, and gives up what took too long.
    mutating func checkRequests() {
        for id in requests.keys.sorted() {
            guard let request = requests[id] else { continue }
            if moment.now - request.arrivedAt > settings.requestDeadline {
                finish(id, .refused(deadlineRefusal(request.request)))
            } else if request.sentTo == nil {
                route(id)
            }
        }
    }

    private func deadlineRefusal(_ request: ClientRequest) -> ClientRefusal {
        switch request {
        case .generateKey(let generate): .pending(generate.requestID)
        case .createKeyStore(_, _, let requestID): .pending(requestID)
        default: .timedOut
        }
    }

    /// Sends the requests again that wait for a node that is not the leader any more.
    mutating func rerouteRequests(sentTo lost: NodeID? = nil) {
        for id in requests.keys.sorted() {
            guard let request = requests[id], let sentTo = request.sentTo else { continue }
            let leader = isLeader ? settings.id : raft.leader
            guard sentTo != leader || sentTo == lost else { continue }
            takeBack(id)
            route(id)
        }
    }

    private mutating func route(_ id: ClientRequestID) {
        guard let request = requests[id] else { return }
        if case .transferLeadership(nil) = request.request, let leader = raft.leader,
            request.firstLeader ?? leader != leader
        {
            // It has done its work: another node leads.
            return finish(id, .done)
        }
        if isRemoved, !isLeader {
            let isDone = request.request == .removeNode(settings.id)
            return finish(id, isDone ? .done : .refused(.nodeRemoved))
        }
        if isLeader {
            requests[id]?.sentTo = settings.id
            requests[id]?.firstLeader = request.firstLeader ?? settings.id
            execute(request.request, request.freshIdentifier, request.askedAt, for: .local(id))
        } else if let leader = raft.leader, linkedPeers.contains(leader) {
            requests[id]?.sentTo = leader
            requests[id]?.firstLeader = request.firstLeader ?? leader
            let forwarded = ForwardedRequest(
                life: life, sequence: id.rawValue, request: request.request,
                freshIdentifier: request.freshIdentifier,
                askedAt: request.askedAt)
            effects.send.append(PeerEnvelope(to: leader, message: .request(forwarded)))
        } else if !reachesMajority {
            finish(id, .refused(.noQuorum(reachable: reachableVoters, voters: voters.count)))
        } else if moment.now - request.leaderlessSince > settings.leaderPatience {
            finish(id, .refused(.noLeader))
        }
    }

    private mutating func finish(_ id: ClientRequestID, _ reply: ClientReply) {
        guard let request = requests.removeValue(forKey: id) else { return }
        switch request.request {
        case .claimLogin(let name, _): loginClaimEnded(name, reply)
        case .reportLogin(let name, _, _): loginReportEnded(name, reply)
        default: effects.replies.append((id, reply))
        }
    }

    // MARK: On the leader

    mutating func serve(_ forwarded: ForwardedRequest, for peer: NodeID) {
        let ticket = Ticket.remote(peer, life: forwarded.life, sequence: forwarded.sequence)
        guard isLeader, raft.configuration.isMember(peer) else { return bounce(ticket) }
        execute(forwarded.request, forwarded.freshIdentifier, forwarded.askedAt, for: ticket)
    }

    mutating func takeAnswer(_ answer: ForwardedAnswer, from peer: NodeID) {
        let id = ClientRequestID(answer.sequence)
        guard answer.life == life, requests[id]?.sentTo == peer else { return }
        if let reply = answer.reply {
            finish(id, reply)
        } else {
            takeBack(id)
        }
    }

    mutating func answer(_ ticket: Ticket, _ reply: ClientReply) {
        switch ticket {
        case .local(let id): finish(id, reply)
        case .remote(let peer, let life, let sequence): send(reply, to: peer, life, sequence)
        }
    }

    /// This node cannot say what became of it: whoever asked asks the next leader.
    mutating func bounce(_ ticket: Ticket) {
        switch ticket {
        case .local(let id): takeBack(id)
        case .remote(let peer, let life, let sequence): send(nil, to: peer, life, sequence)
        }
    }

    private mutating func send(_ reply: ClientReply?, to peer: NodeID, _ life: UInt64, _ sequence: UInt64) {
        let answer = ForwardedAnswer(life: life, sequence: sequence, reply: reply)
        effects.send.append(PeerEnvelope(to: peer, message: .answer(answer)))
    }

    /// The request waits for a leader again.
    private mutating func takeBack(_ id: ClientRequestID) {
        requests[id]?.sentTo = nil
        requests[id]?.leaderlessSince = moment.now
    }

    private mutating func execute(
        _ request: ClientRequest, _ fresh: Identifier128, _ askedAt: Int64, for ticket: Ticket
    ) {
        switch request {
        case .createKeyStore(let name, let minimum, let requestID):
            propose(
                .createKeyStore(
                    name: name, minimumReplicas: minimum ?? settings.minimumReplicas,
                    repairSources: settings.repairSources, createdAt: askedAt, requestID: requestID),
                for: .client(ticket))
        case .generateKey(let generate):
            startGeneration(generate, fresh, askedAt, for: ticket)
        case .readCatalog:
            let token = ids.next()
            reads[token] = ticket
            stepRaft(.readRequested(token: token))
        case .retryLogin(let name):
            propose(.clearRejection(name), for: .client(ticket))
        case .claimLogin(let name, let node):
            propose(.claimLogin(name, node: node), for: .client(ticket))
        case .reportLogin(let name, let node, let outcome):
            propose(.reportLogin(name, node: node, outcome: outcome), for: .client(ticket))
        case .transferLeadership(let target): transferLeadership(to: target, for: ticket)
        case .addNode(let record): change(.add(record), for: ticket)
        case .promoteNode(let node): change(.promote(node), for: ticket)
        case .removeNode(let node): change(.remove(node), for: ticket)
        case .drainEndpoint(let name): propose(.drainEndpoint(name), for: .client(ticket))
        case .enableEndpoint(let name): propose(.enableEndpoint(name), for: .client(ticket))
        case .removeEndpoint(let name, let isForced):
            propose(.removeEndpoint(name, isForced: isForced), for: .client(ticket))
        }
    }

    mutating func readOutcome(_ token: UInt64, _ outcome: ReadOutcome) {
        guard let ticket = reads.removeValue(forKey: token) else { return }
        switch outcome {
        case .ready:
            // Committed entries are applied within the same step, so everything up to the read index is here.
            answer(ticket, .catalog(CatalogView(catalog, appliedIndex: appliedIndex)))
        case .notLeader, .tooManyPending:
            bounce(ticket)
        }
    }

    /// A client's command has been applied.
    mutating func commandSettled(_ ticket: Ticket, _ outcome: CatalogOutcome) {
        switch outcome {
        case .done, .attempt: answer(ticket, .done)
        case .keyStore(let keyStore): answer(ticket, .keyStore(keyStore))
        case .key(let key): awaitKey(key, for: ticket)
        case .refused(let refusal): answer(ticket, .refused(.catalog(refusal)))
        }
    }
}
