import ClusterModel
import Dispatch
import Synchronization
import Testing

@testable import TokenHostLink

// Every call is answered once: by its answer, its deadline or the loss of the token host.

private final class Answers: Sendable {
    let list = Mutex<[Result<EndpointReply, EndpointFailure>]>([])
    var kinds: [EndpointFailure.Kind?] {
        list.withLock { list in
            list.map { if case .failure(let failure) = $0 { failure.kind } else { nil } }
        }
    }
    func add(_ result: Result<EndpointReply, EndpointFailure>) { list.withLock { $0.append(result) } }
}

@Suite struct OutstandingCallsTests {
    private let queue = DispatchQueue(label: "test")
    private let answers = Answers()

    private func begin(
        _ calls: OutstandingCalls, _ request: EndpointRequest = .inspect, deadline: Duration = .seconds(60),
        accepting: Bool = true
    ) {
        let answers = answers
        calls.begin(
            request, deadline: deadline, completion: { answers.add($0) }, transmit: { _ in accepting })
    }

    @Test func answerCompletesItsCallOnce() {
        queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            begin(calls, .logIn)
            #expect(calls.finish(1, with: .success(.done)))
            #expect(calls.finish(1, with: .success(.done)))
            calls.failAll(EndpointFailure(.tokenHostLost, detail: ""))
        }
        #expect(answers.kinds == [nil])
    }

    @Test func wrongKindOfAnswerLeavesTheCallOpen() {
        queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            begin(calls, .scan(labelPrefix: ""))
            #expect(!calls.finish(1, with: .success(.done)))
            calls.failAll(EndpointFailure(.tokenHostLost, detail: ""))
        }
        #expect(answers.kinds == [.tokenHostLost])
    }

    @Test func deadlineCompletesTheCallWithoutAnyAnswer() async throws {
        let calls = queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            begin(calls, deadline: .seconds(600))
            begin(calls, deadline: .milliseconds(20))
            begin(calls, deadline: .zero)
            return Confined(calls)
        }
        for _ in 0..<1_000 where answers.kinds.count < 2 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(answers.kinds == [.deadlineExceeded, .deadlineExceeded])
        queue.sync { calls.value.failAll(EndpointFailure(.tokenHostLost, detail: "")) }
        #expect(answers.kinds == [.deadlineExceeded, .deadlineExceeded, .tokenHostLost])
    }

    @Test func tooManyCallsAreBusy() {
        queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            for _ in 0..<TokenHostLimits.outstandingCalls { begin(calls) }
            #expect(answers.kinds.isEmpty)
            begin(calls)
            #expect(answers.kinds == [.busy])
            calls.failAll(EndpointFailure(.tokenHostLost, detail: ""))
        }
        #expect(answers.kinds.count == TokenHostLimits.outstandingCalls + 1)
    }

    @Test func fullLinkIsBusy() {
        queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            begin(calls, accepting: false)
        }
        #expect(answers.kinds == [.busy])
    }

    @Test func oversizedRequestIsInvalid() {
        queue.sync {
            let calls = OutstandingCalls(endpoint: EndpointName("a"), queue: queue)
            begin(calls, .destroy(identity: [UInt8](repeating: 0, count: 2 << 20), label: ""))
        }
        #expect(answers.kinds == [.invalidRequest])
    }
}

/// Carries a queue-confined object through a test.
private struct Confined<Value>: @unchecked Sendable {
    // Safe: the test touches the value only on the queue that confines it.
    let value: Value
    init(_ value: Value) { self.value = value }
}
