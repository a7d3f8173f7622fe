import ClusterModel
import Dispatch

// The promise that every call is answered exactly once lives here, apart from processes and sockets: a call
// leaves the table by its answer, by its deadline or by the loss of the token host, whichever comes first,
// and only what leaves the table is completed.

/// The requests that were sent and not answered. Confined to the supervisor's queue.
final class OutstandingCalls {
    typealias Completion = @Sendable (Result<EndpointReply, EndpointFailure>) -> Void

    private struct Call {
        let request: EndpointRequest
        let deadline: SuspendingClock.Instant
        let completion: Completion
    }

    private let endpoint: EndpointName
    private let timer: any DispatchSourceTimer
    private var calls: [UInt64: Call] = [:]
    private var nextID: UInt64 = 1
    private var armedFor: SuspendingClock.Instant?

    init(endpoint: EndpointName, queue: DispatchQueue) {
        self.endpoint = endpoint
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.setEventHandler { [weak self] in self?.expire() }
        timer.activate()
    }

    deinit { timer.cancel() }

    /// Enters a call and hands its frame to `transmit`, which says whether it was accepted.
    func begin(
        _ request: EndpointRequest, deadline: Duration, completion: @escaping Completion,
        transmit: ([UInt8]) -> Bool
    ) {
        let limit = min(deadline, TokenHostLimits.longestDeadline)
        guard limit > .zero else { return completion(.failure(lateness)) }
        guard calls.count < TokenHostLimits.outstandingCalls else { return completion(.failure(busyness)) }
        let id = nextID
        nextID += 1
        let message = TokenHostMessage.request(
            id: id, request: request, deadlineMilliseconds: UInt64(max(1, limit.wholeMilliseconds)))
        guard let frame = TokenHostFrame.encode(message, bound: TokenHostLimits.requestBytes) else {
            let detail = "the request is larger than \(TokenHostLimits.requestBytes) bytes"
            return completion(.failure(EndpointFailure(.invalidRequest, detail: detail)))
        }
        // Entered first: transmitting may discover that the token host is gone, which empties the table.
        let end = SuspendingClock.now + limit
        calls[id] = Call(request: request, deadline: end, completion: completion)
        if !transmit(frame), let refused = calls.removeValue(forKey: id) {
            return refused.completion(.failure(busyness))
        }
        if armedFor.map({ end < $0 }) ?? true { arm(end) }
    }

    /// Completes call `id`. An answer to an unknown call is late, and ignored. False when the answer isn't
    /// of the kind that was asked for; the call stays in the table.
    func finish(_ id: UInt64, with result: Result<EndpointReply, EndpointFailure>) -> Bool {
        guard let call = calls[id] else { return true }
        if case .success(let reply) = result, !call.request.isAnswered(by: reply) { return false }
        calls[id] = nil
        call.completion(result)
        return true
    }

    /// Completes all calls, oldest first.
    func failAll(_ failure: EndpointFailure) {
        let lost = calls.sorted { $0.key < $1.key }
        calls = [:]
        for (_, call) in lost { call.completion(.failure(failure)) }
    }

    private func expire() {
        armedFor = nil
        let now = SuspendingClock.now
        let expired = calls.filter { $0.value.deadline <= now }.sorted { $0.key < $1.key }
        for (id, _) in expired { calls[id] = nil }
        for (_, call) in expired { call.completion(.failure(lateness)) }
        if let next = calls.values.map(\.deadline).min() { arm(next) }
    }

    private func arm(_ instant: SuspendingClock.Instant) {
        armedFor = instant
        let delay = max(.zero, instant - SuspendingClock.now)
        timer.schedule(
            deadline: .now() + .nanoseconds(Int(delay.wholeNanoseconds)), leeway: .milliseconds(1))
    }

    private var lateness: EndpointFailure {
        EndpointFailure(.deadlineExceeded, detail: "\(endpoint) gave no answer within the deadline")
    }

    private var busyness: EndpointFailure {
        EndpointFailure(.busy, detail: "too many requests to \(endpoint) are unanswered; try again")
    }
}
