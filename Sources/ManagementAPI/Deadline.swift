// A caller's deadline has to hold even when what is behind it ignores cancellation, so the call runs in a
// task of its own and the caller stops waiting. How many calls are under way, abandoned ones included, is
// counted and bounded: a cluster that hangs costs a known number of tasks.

import ManagementModel
import Synchronization

/// Counts the calls under way.
final class CallGate: Sendable {
    private let limit: Int
    private let underWay = Mutex(0)

    init(limit: Int) { self.limit = limit }

    /// Runs `call`, waiting at most `deadline`. Throws `busy` when too many calls are under way, and what
    /// `expired` returns when the time is over.
    func run<Value: Sendable>(
        deadline: Duration, expired: ManagementError,
        _ call: @escaping @Sendable () async throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        guard enter() else {
            throw ManagementError(
                .busy, detail: "\(limit) calls are under way.", requestID: expired.requestID)
        }
        let race = Race<Value>()
        let work = Task {
            let result: Result<Value, ManagementError>
            do throws(ManagementError) {
                result = .success(try await call())
            } catch {
                result = .failure(error)
            }
            leave()
            race.settle(result)
        }
        let timer = Task {
            try await Task.sleep(for: deadline)
            race.settle(.failure(expired))
        }
        let result = await withTaskCancellationHandler {
            await race.result()
        } onCancel: {
            race.settle(.failure(expired))
        }
        timer.cancel()
        work.cancel()
        return try result.get()
    }

    private func enter() -> Bool {
        underWay.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
    }

    private func leave() {
        underWay.withLock { $0 -= 1 }
    }
}

/// The first of several results, for one waiter.
private final class Race<Value: Sendable>: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Result<Value, ManagementError>, Never>)
        case settled(Result<Value, ManagementError>)
    }

    private let state = Mutex(State.open)

    func settle(_ result: Result<Value, ManagementError>) {
        let waiter: CheckedContinuation<Result<Value, ManagementError>, Never>? = state.withLock { state in
            switch state {
            case .open:
                state = .settled(result)
                return nil
            case .awaited(let continuation):
                state = .settled(result)
                return continuation
            case .settled:
                return nil
            }
        }
        waiter?.resume(returning: result)
    }

    func result() async -> Result<Value, ManagementError> {
        await withCheckedContinuation { continuation in
            let settled: Result<Value, ManagementError>? = state.withLock { state in
                if case .settled(let result) = state { return result }
                state = .awaited(continuation)
                return nil
            }
            if let settled { continuation.resume(returning: settled) }
        }
    }
}
