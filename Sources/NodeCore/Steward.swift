import ClusterModel
import KeyCatalog

// What only a leader does and knows, forgotten as soon as it no longer leads. Everything that must survive a
// change of leader is in the catalog; what is here (who waits, which call is out, when to try again) can be
// worked out anew by the next leader.

/// A leader's work in progress.
struct Steward: Sendable {
    /// The term that this node leads.
    let term: Term
    /// When it began to.
    let since: Instant
    /// True once an entry of this term is applied: everything committed before is in the catalog.
    var isReady = false
    /// True when something changed that may let work go on.
    var isDirty = true
    /// Upkeep proposals under way, by name.
    var upkeep: Set<String> = []
    /// What each outstanding call is for.
    var calls: [CallID: CallPurpose] = [:]
    /// The work on each pending key.
    var works: [OperationID: KeyWork] = [:]
    /// Copies under way or waiting to be tried again.
    var copies: [CopyKey: Copy] = [:]
    /// The latest scan of each endpoint.
    var scans: [EndpointName: Scan] = [:]
    /// Endpoints being scanned.
    var scanning: Set<EndpointName> = []
    /// When to scan a failing endpoint again.
    var scanRetryAt: [EndpointName: Instant] = [:]
    /// Generate requests that wait for scans before a number is given out.
    var waiting: [WaitingGeneration] = []
    /// Who waits for the end of a key.
    var waiters: [OperationID: [Ticket]] = [:]
    /// Since when a majority has seen an endpoint fail.
    var failingSince: [EndpointName: Instant] = [:]
    /// Since when a login claim has stood.
    var claimSeen: [EndpointName: (index: LogIndex, since: Instant)] = [:]
    /// When enrolment may be tried again.
    var enrolRetryAt: [EndpointName: Instant] = [:]
    /// Replicas that one scan did not find; a second one must agree before anything is done.
    var missing: [CopyKey: Instant] = [:]
    /// Orphans being destroyed, and when a failed one may be tried again.
    var orphanRetryAt: [String: Instant] = [:]
    var orphanCalls: Set<String> = []
    /// Leadership on its way to another node.
    var transfer: LeadershipTransfer?
    /// A change of the members.
    var membership: MembershipChange?

    init(term: Term, at now: Instant) {
        self.term = term
        since = now
    }

    /// A key and an endpoint that shall hold it.
    struct CopyKey: Hashable, Comparable, Sendable {
        var operation: OperationID
        var endpoint: EndpointName
        static func < (left: CopyKey, right: CopyKey) -> Bool {
            (left.operation, left.endpoint) < (right.operation, right.endpoint)
        }
    }

    /// The objects found on an endpoint.
    struct Scan: Sendable {
        /// When it was asked for: what came later may be missing.
        var askedAt: Instant
        var objects: [KeyObject]
        /// True when something was missing: the next one is asked for as soon as `scanRetryAt` allows.
        var isRepeatedSoon = false
    }

    struct WaitingGeneration: Sendable {
        var request: ClientRequest.GenerateKey
        var freshIdentifier: Identifier128
        var askedAt: Int64
        var arrivedAt: Instant
        var ticket: Ticket
    }

    /// What an outstanding call is for.
    enum CallPurpose: Sendable {
        case enrol(EndpointName)
        case scan(EndpointName, askedAt: Instant)
        case generate(OperationID, MasterKey.Attempt)
        case proveGenerated(OperationID, MasterKey.Attempt)
        case copy(CopyKey)
        case destroyOrphan(String)
    }
}

/// The work on one pending key.
struct KeyWork: Sendable {
    /// When this leader took it up.
    let takenUpAt: Instant
    /// True while a command about it is on its way through the log.
    var isProposing = false
    /// The call under way for its generation.
    var call: CallID?
    /// Attempts that this leader has asked an endpoint for. Each is asked for once.
    var issued: Set<KeyIdentity> = []
    /// When the last attempt of this leader ended without a key in hand.
    var endedAt: Instant?
    /// Where generating failed, with the number of failures and when to try again.
    var failures: [EndpointName: StepFailure] = [:]
    /// When the minimum of verified replicas was reached.
    var minimumAt: Instant?
    /// Since when no endpoint that could give a copy has been usable.
    var sourcelessSince: Instant?
}

/// A failed step and when it may be tried again.
struct StepFailure: Sendable {
    var count: Int
    var retryAt: Instant
    var failure: EndpointFailure
}

/// One copy of a key to an endpoint, step by step.
struct Copy: Sendable {
    enum Stage: Sendable {
        case idle
        case exporting(CallID)
        case importing(CallID)
        case proving(CallID)
        case recording
    }

    var stage = Stage.idle
    var source: EndpointName?
    var isExtractable = false
    var failure: StepFailure?
    /// Whether the endpoint has been tried at least once by this leader.
    var wasTried: Bool { failure != nil }
    /// Whether a step of it is under way.
    var isUnderWay: Bool {
        if case .idle = stage { false } else { true }
    }
}

extension Node {
    /// Runs after every event; does nothing unless something changed or time has passed.
    mutating func advanceSteward() {
        guard let steward, steward.isReady else { return }
        if let last = stewardRanAt, !steward.isDirty, moment.now - last < settings.tick { return }
        stewardRanAt = moment.now
        self.steward?.isDirty = false
        advanceMembership()
        advanceView()
        advanceEnrolment()
        advanceScans()
        advanceWaitingGenerations()
        advanceKeys()
        advanceCopies()
        advanceOrphans()
    }

    /// An endpoint became usable, or ceased to be: failures of before say nothing about now.
    mutating func stewardEndpointChanged(_ name: EndpointName) {
        guard steward != nil else { return }
        steward?.isDirty = true
        steward?.scans[name] = nil
        steward?.scanRetryAt[name] = nil
        steward?.enrolRetryAt[name] = nil
        guard isReady(name), let steward else { return }
        for key in steward.copies.keys where key.endpoint == name || steward.copies[key]?.source == name {
            self.steward?.copies[key]?.failure?.retryAt = moment.now
        }
        for operation in steward.works.keys {
            self.steward?.works[operation]?.failures[name]?.retryAt = moment.now
        }
    }

    mutating func proposeUpkeep(_ name: String, _ command: CatalogCommand) {
        guard steward?.upkeep.insert(name).inserted == true else { return }
        propose(command, for: .upkeep(name))
    }

    mutating func stewardCall(
        _ endpoint: EndpointName, _ request: EndpointRequest, for purpose: Steward.CallPurpose
    ) -> CallID {
        let id = call(endpoint, request)
        steward?.calls[id] = purpose
        return id
    }

    mutating func stewardAnswered(_ id: CallID, _ result: Result<EndpointReply, EndpointFailure>) {
        guard let purpose = steward?.calls.removeValue(forKey: id) else { return }
        steward?.isDirty = true
        switch purpose {
        case .enrol(let name): enrolAnswered(name, result)
        case .scan(let name, let askedAt): scanAnswered(name, askedAt, result)
        case .generate(let operation, let attempt): generateAnswered(operation, attempt, result)
        case .proveGenerated(let operation, let attempt): proofAnswered(operation, attempt, result)
        case .copy(let key): copyAnswered(key, result)
        case .destroyOrphan(let rowKey): orphanAnswered(rowKey, result)
        }
    }

    /// A failure with the time of the next try.
    func stepFailure(after previous: StepFailure?, _ failure: EndpointFailure) -> StepFailure {
        let count = (previous?.count ?? 0) + 1
        return StepFailure(count: count, retryAt: moment.now + pause(after: count), failure: failure)
    }
}
