import Glibc
import RingLink
import Synchronization
import Testing

// What a well-behaved client sees of a host.

@Suite struct CallTests {
    @Test func aReplyComesBackToTheCallThatAskedForIt() throws {
        let host = try EchoHost()
        let client = try host.client()
        for length in [1, 2, 100, 16 << 10, (16 << 10) + 1, 1 << 20] {
            let request = [0] + (1..<length).map { UInt8(truncatingIfNeeded: $0) }
            #expect(try client.call(request, deadline: soon()) == request)
        }
    }

    @Test func messagesBeyondTheBoundsAreRefused() throws {
        let host = try EchoHost()
        let client = try host.client()
        #expect(throws: RingError.tooLarge) {
            try client.call([UInt8](repeating: 0, count: (1 << 20) + 1), deadline: soon())
        }
        // A reply larger than its lane is an error of this call only.
        let order: [UInt8] = [Command.produce] + withUnsafeBytes(of: UInt32(100_000)) { Array($0) }
        #expect(throws: RingError.tooLarge) { try client.call(order, deadline: soon()) }
        let call = try client.begin(order, replyBytes: 100_000, deadline: soon())
        #expect(RingCall.wait(for: call, until: soon()))
        #expect(try call.take().count == 100_000)
    }

    @Test func manyThreadsShareOneConnectionWithoutMixingReplies() throws {
        let host = try EchoHost(workers: 3)
        let client = try host.client()
        let wrong = Atomic<Int>(0)
        onThreads(100) { thread in
            for round in 0..<50 {
                let request: [UInt8] = [0, UInt8(thread), UInt8(round)]
                if (try? client.call(request, deadline: soon(60_000))) != request {
                    wrong.add(1, ordering: .relaxed)
                }
            }
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(host.service.served.load(ordering: .relaxed) == 5_000)
    }

    @Test func aRequestPastItsDeadlineIsNotBegun() throws {
        let host = try EchoHost()
        let client = try host.client()
        let call = try client.begin([0], deadline: RingClock.now() - 1)
        #expect(RingCall.wait(for: call, until: soon()))
        #expect(throws: RingError.expired) { try call.take() }
        #expect(host.service.served.load(ordering: .relaxed) == 0)
    }

    @Test func aSlowHostCostsACallerItsDeadlineAndNoMore() throws {
        let host = try EchoHost()
        let client = try host.client()
        #expect(throws: RingError.deadlineExceeded) {
            try client.call([Command.sleep, 50], deadline: soon(50))
        }
        // Others are served meanwhile, and the lane comes back when the late reply has come.
        for _ in 0..<200 { #expect(try client.call([0, 9], deadline: soon()) == [0, 9]) }
    }

    @Test func theFirstOfSeveralHostsIsTaken() throws {
        let (slow, quick) = (try EchoHost(), try EchoHost())
        let (first, second) = (try slow.client(), try quick.client())
        let calls = [
            try first.begin([Command.sleep, 100], deadline: soon()), try second.begin([0], deadline: soon()),
        ]
        #expect(RingCall.wait(forAnyOf: calls, until: soon()) == 1)
        #expect(try calls[1].take() == [0])
        calls[0].abandon()
    }

    @Test func aHostThatSleptIsWoken() throws {
        let host = try EchoHost()
        let client = try host.client()
        for _ in 0..<5 {
            usleep(20_000)
            #expect(try client.call([0, 1], deadline: soon()) == [0, 1])
        }
    }

    @Test func theHealthPageTellsWhatTheHostSays() throws {
        let host = try EchoHost(incarnation: 42)
        let client = try host.client()
        #expect(client.health.state == .notServing)
        host.server.announce(.serving)
        host.server.announce(error: 0x30)
        #expect(client.health.state == .serving)
        #expect(client.health.incarnation == 42)
        #expect(client.health.lastError == 0x30)
        _ = try client.call([0], deadline: soon())
        #expect(client.health.serviceNanoseconds > 0)
        #expect(eventually { client.health.outstanding == 0 })
    }

    @Test func aClientThatGoesIsForgotten() throws {
        let host = try EchoHost()
        do {
            let client = try host.client()
            _ = try client.call([0], deadline: soon())
            #expect(host.server.connectionCount == 1)
        }
        #expect(eventually { host.server.connectionCount == 0 })
        #expect(host.service.gone.withLock { $0 } == [1])
    }

    @Test func nobodyThereIsSaidAtOnce() {
        #expect(throws: RingError.unreachable) {
            try RingClient(path: "/tmp/hsmcluster-nobody-\(getpid())", deadline: soon())
        }
    }

    @Test func aStoppedHostFinishesWhatItHasBegun() throws {
        let host = try EchoHost()
        let client = try host.client()
        let call = try client.begin([Command.sleep, 5], deadline: soon())
        #expect(eventually { host.server.vitals().busy == 1 })
        host.server.stop()
        #expect(RingCall.wait(for: call, until: soon()))
        #expect(try call.take() == [Command.sleep, 5])
        #expect(host.server.waitUntilStopped(until: soon()))
        #expect(
            eventually {
                client.check(); return client.isLost
            })
        #expect(throws: RingError.lost) { try client.call([0], deadline: soon()) }
    }
}
