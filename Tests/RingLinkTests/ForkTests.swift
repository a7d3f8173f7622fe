import Glibc
import RingLink
import Testing

// An application that forks: the child has the parent's memory and descriptors, but must not use its rings.

@Suite struct ForkTests {
    @Test func aChildDoesNotUseItsParentsRings() throws {
        let host = try EchoHost()
        let client = try host.client()
        _ = try client.call([0, 1], deadline: soon())
        // Swift hides fork(2), rightly; the child does nothing but look and end.
        typealias Fork = @convention(c) () -> pid_t
        let symbol = try #require(dlsym(nil, "fork"))
        let fork = unsafeBitCast(symbol, to: Fork.self)
        let child = fork()
        if child == 0 { _exit(client.isLost ? 7 : 1) }
        #expect(child > 0)
        var status: Int32 = 0
        #expect(waitpid(child, &status, 0) == child)
        #expect((status >> 8) & 0xFF == 7)
        // The parent goes on as before.
        #expect(!client.isLost)
        #expect(try client.call([0, 2], deadline: soon()) == [0, 2])
    }

    @Test func aClientThatDiesWithCallsUnderWayLeavesNothingBehind() throws {
        let host = try EchoHost()
        do {
            let client = try host.client()
            for _ in 0..<30 { _ = try client.begin([Command.sleep, 1], deadline: soon()) }
        }
        #expect(eventually { host.server.connectionCount == 0 && host.server.vitals().busy == 0 })
        let other = try host.client()
        #expect(try other.call([0, 3], deadline: soon()) == [0, 3])
    }
}
