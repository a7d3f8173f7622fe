import ClusterModel
import Foundation
import Synchronization
import Testing

@testable import TokenHost
@testable import TokenHostLink

// The machinery of a token host around a scripted token: deadlines, the end, and a token that comes and goes.

private let gone = EndpointFailure(.tokenNotFound, returnValue: 0xE0, detail: "gone")

private func hurried() -> HostTiming {
    var timing = HostTiming()
    timing.probeMilliseconds = 20
    timing.retryFloorMilliseconds = 10
    timing.retryCeilingMilliseconds = 20
    timing.goneMilliseconds = 60_000
    return timing
}

/// Blocks threads until it is opened.
private final class Gate: Sendable {
    private let isOpen = Monitor<Bool>(false)
    func open() { isOpen.change { $0 = true } }
    func pass() { _ = isOpen.wait { $0 ? true : nil } as Bool? }
}

private func isServing(_ state: TokenHostState) -> Bool { if case .serving = state { true } else { false } }
private func isFailed(_ state: TokenHostState) -> Bool { if case .failed = state { true } else { false } }
private func isLoggedIn(_ state: TokenHostState) -> Bool {
    if case .serving(let token, pin: .accepted) = state { token.isLoggedIn } else { false }
}

@Suite struct ServerTests {
    @Test func requestThatWaitedTooLongIsNeverBegun() async throws {
        let host = try ScriptedHost(timing: hurried(), sessionThreads: 1)
        let gate = Gate()
        let begun = Told<EndpointRequest>()
        host.backend.script.withLock {
            $0.perform = { request in
                begun.add(request)
                gate.pass()
                return .success(.objects([]))
            }
        }
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        try link.request(2, .scan(labelPrefix: "first"))
        try await eventually("the first is begun") { begun.all.count == 1 }
        try link.request(3, .scan(labelPrefix: "second"), milliseconds: 1)
        guard case .failure(let failure) = try link.answer(3) else {
            Issue.record("an answer to a request that can't have begun")
            return
        }
        #expect(failure.kind == .deadlineExceeded)
        gate.open()
        #expect(try link.answer(2) == .success(.objects([])))
        try link.request(4, .scan(labelPrefix: "third"))
        #expect(try link.answer(4) == .success(.objects([])))
        #expect(begun.all == [.scan(labelPrefix: "first"), .scan(labelPrefix: "third")])
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
    }

    @Test func stoppingLetsRequestsUnderWayEndAndRefusesTheRest() async throws {
        let host = try ScriptedHost(timing: hurried(), sessionThreads: 1)
        let gate = Gate()
        let begun = Told<EndpointRequest>()
        host.backend.script.withLock {
            $0.perform = { request in
                begun.add(request)
                gate.pass()
                return .success(.made(adopted: false))
            }
        }
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        try link.request(2, .generate(keySpecification(1)))
        try await eventually("the request is begun") { begun.all.count == 1 }
        try link.request(3, .generate(keySpecification(2)))
        // The answer to a later request shows that the waiting one has arrived.
        try link.request(4, .inspect)
        _ = try link.answer(4)
        host.stop()
        guard case .failure(let failure) = try link.answer(3) else {
            Issue.record("a waiting request was begun")
            return
        }
        #expect(failure.kind == .tokenHostLost)
        gate.open()
        #expect(try link.answer(2) == .success(.made(adopted: false)))
        try await eventually("the server ends") { host.exitStatus == 0 }
        #expect(host.backend.script.withLock { $0.closes } == 1)
    }

    @Test func hungRequestDoesNotKeepTheServerFromEnding() async throws {
        var timing = hurried()
        timing.drainMilliseconds = 50
        timing.finalizeMilliseconds = 50
        let host = try ScriptedHost(timing: timing)
        let gate = Gate()
        let begun = Told<EndpointRequest>()
        host.backend.script.withLock {
            $0.perform = { request in
                begun.add(request)
                gate.pass()
                return .success(.done)
            }
        }
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        try link.request(2, .restrict(identity: [1]))
        try await eventually("the request is begun") { begun.all.count == 1 }
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
        gate.open()
    }

    @Test func tokenThatComesBackIsServedAndLoggedInAgain() async throws {
        let host = try ScriptedHost(timing: hurried())
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        host.backend.script.withLock {
            $0.absence = gone
            $0.isLoggedIn = false
        }
        try link.state(isFailed)
        try link.request(2, .scan(labelPrefix: ""))
        #expect(try link.answer(2) == .failure(gone))
        host.backend.script.withLock { $0.absence = nil }
        try link.state(isLoggedIn)
        #expect(host.backend.script.withLock { $0.logins } == 2)
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
    }

    @Test func lostLoginIsRestoredBeforeARequestIsAnswered() async throws {
        var timing = hurried()
        timing.probeMilliseconds = 3_600_000
        let host = try ScriptedHost(timing: timing)
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        host.backend.script.withLock { $0.isLoggedIn = false }
        try link.request(2, .scan(labelPrefix: ""))
        #expect(try link.answer(2) == .success(.objects([])))
        #expect(host.backend.script.withLock { $0.logins } == 2)
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
    }

    @Test func tokenGoneTooLongAsksForAFreshProcess() async throws {
        var timing = hurried()
        timing.goneMilliseconds = 50
        let host = try ScriptedHost(timing: timing)
        let link = try await host.link()
        try link.state(isServing)
        host.backend.script.withLock { $0.absence = gone }
        try await eventually("the server ends") {
            host.exitStatus == TokenHostServer.ExitStatus.restartWanted
        }
    }

    @Test func tokenNeverSeenIsLookedForWithAReloadedModule() async throws {
        let host = try ScriptedHost(timing: hurried(), absence: gone)
        let link = try await host.link()
        try await eventually("the module is let go of") { host.backend.script.withLock { $0.closes } > 2 }
        host.backend.script.withLock { $0.absence = nil }
        try link.state(isServing)
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
    }

    @Test(arguments: [true, false]) func onlyHarmlessRequestsAreRepeatedAfterDeviceTrouble(isHarmless: Bool)
        async throws
    {
        let host = try ScriptedHost(timing: hurried())
        let trouble = EndpointFailure(.returnValue, returnValue: 0x30, detail: "trouble")
        let begun = Told<EndpointRequest>()
        host.backend.script.withLock {
            $0.perform = { request in
                begun.add(request)
                return begun.all.count == 1 ? .failure(trouble) : .success(.objects([]))
            }
        }
        let link = try await host.link()
        try link.request(1, .logIn)
        #expect(try link.answer(1) == .success(.done))
        try link.request(2, isHarmless ? .scan(labelPrefix: "") : .restrict(identity: [1]))
        #expect(try link.answer(2) == (isHarmless ? .success(.objects([])) : .failure(trouble)))
        #expect(begun.all.count == (isHarmless ? 2 : 1))
        host.stop()
        try await eventually("the server ends") { host.exitStatus == 0 }
    }
}
