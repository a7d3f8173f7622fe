import CSharedMemory
import Glibc
import RingLink
import Synchronization
import Testing

// A client that has broken into the memory it shares with the host, and writes there what it likes. The host
// must stay up, serve others meanwhile, and never show one client what belongs to another.

/// A client that speaks to the socket by itself.
private final class RawClient {
    let socket: Int32
    var rings: UnsafeMutableRawPointer?
    var length = 0
    var descriptors: [Int32] = [-1, -1, -1]

    init?(_ path: String) {
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { return nil }
    }

    func say(_ bytes: [UInt8]) { _ = send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    func greet() -> Bool {
        say(Array("HSMCRNG1".utf8) + [1, 0, 0, 0, 0, 0, 0, 0])
        var answer = [UInt8](repeating: 0, count: 16)
        var count: Int32 = 0
        var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 10_000) == 1 else { return false }
        guard CSharedMemory_receive(socket, &answer, 16, &descriptors, &count) == 16, count == 3 else {
            return false
        }
        var status = stat()
        fstat(descriptors[0], &status)
        length = Int(status.st_size)
        rings = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[0], 0)
        return rings != MAP_FAILED
    }

    func ring() {
        var one: UInt64 = 1
        _ = write(descriptors[2], &one, 8)
    }

    deinit {
        if let rings { munmap(rings, length) }
        for descriptor in descriptors where descriptor >= 0 { close(descriptor) }
        close(socket)
    }
}

@Suite struct HostileClientTests {
    @Test func noiseInTheRingsHurtsNobodyElse() throws {
        let host = try EchoHost()
        let honest = try host.client()
        for seed in 0..<10 {
            let hostile = try #require(RawClient(host.path))
            #expect(hostile.greet())
            let rings = try #require(hostile.rings)
            var generator = SystemRandomNumberGenerator()
            for round in 0..<200 {
                // Headers, the pending word, and some of the buffers.
                for _ in 0..<64 {
                    let offset = Int.random(in: 0..<(round % 2 == 0 ? 12_288 : hostile.length) / 8) * 8
                    (rings + offset).storeBytes(of: generator.next(), as: UInt64.self)
                }
                hostile.ring()
                if round % 20 == 0 {
                    #expect(try honest.call([0, UInt8(seed)], deadline: soon()) == [0, UInt8(seed)])
                }
            }
        }
        #expect(eventually { host.server.connectionCount == 1 })
        #expect(try honest.call([0, 3], deadline: soon()) == [0, 3])
    }

    @Test func aLengthThatIsALieEndsTheConnection() throws {
        let host = try EchoHost()
        let hostile = try #require(RawClient(host.path))
        #expect(hostile.greet())
        let rings = try #require(hostile.rings)
        CSharedMemory_store32(rings + 4_096, .max)
        CSharedMemory_store64(rings + 4_104, UInt64(soon()))
        CSharedMemory_store64(rings + 64, 1)
        hostile.ring()
        #expect(eventually { host.server.connectionCount == 0 })
    }

    @Test func theMemoryCannotBeMadeSmaller() throws {
        let host = try EchoHost()
        let hostile = try #require(RawClient(host.path))
        #expect(hostile.greet())
        #expect(ftruncate(hostile.descriptors[0], 0) != 0)
        #expect(ftruncate(hostile.descriptors[1], 0) != 0)
    }

    @Test func theHealthPageCannotBeWritten() throws {
        let host = try EchoHost()
        let hostile = try #require(RawClient(host.path))
        #expect(hostile.greet())
        let page = mmap(nil, 4_096, PROT_READ | PROT_WRITE, MAP_SHARED, hostile.descriptors[1], 0)
        #expect(page == MAP_FAILED)
        var byte: UInt8 = 1
        #expect(pwrite(hostile.descriptors[1], &byte, 1, 64) != 1)
    }

    @Test func aThousandConnectionsLeaveTheOthersServed() throws {
        let host = try EchoHost()
        let honest = try host.client()
        var refused = 0
        var hostile: [RawClient] = []
        for _ in 0..<1_000 {
            guard let client = RawClient(host.path) else { continue }
            if !client.greet() { refused += 1 }
            if hostile.count < 100 { hostile.append(client) }
        }
        #expect(refused >= 990)
        #expect(try honest.call([0, 3], deadline: soon()) == [0, 3])
        hostile = []
        #expect(eventually { host.server.connectionCount == 1 })
    }

    @Test func aFloodDoesNotCrowdOthersOut() throws {
        let host = try EchoHost(workers: 2)
        let (flooding, honest) = (try host.client(), try host.client())
        var calls: [RingCall] = []
        for _ in 0..<60 { calls.append(try flooding.begin([Command.sleep, 10], deadline: soon(60_000))) }
        // One of two threads is left to others.
        for _ in 0..<20 { #expect(try honest.call([0, 3], deadline: soon(400)) == [0, 3]) }
        for call in calls { call.abandon() }
    }

    @Test func garbageOnTheSocketIsTurnedAway() throws {
        let host = try EchoHost()
        let hostile = try #require(RawClient(host.path))
        hostile.say([UInt8](repeating: 0x55, count: 4_096))
        var byte: UInt8 = 0
        var entry = pollfd(fd: hostile.socket, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 10_000) == 1)
        #expect(recv(hostile.socket, &byte, 1, Int32(MSG_DONTWAIT)) <= 0)
    }

    @Test func aProcessThatMayNotEnterIsTurnedAway() throws {
        let host = try EchoHost(service: EchoService(admits: { _ in false }))
        #expect(throws: RingError.unreachable) { try host.client() }
    }

    @Test func aReplyNeverHoldsWhatAnotherClientWasSent() throws {
        let host = try EchoHost(workers: 1)
        let (first, second) = (try host.client(), try host.client())
        let secret = [UInt8](repeating: 0xAB, count: 10_000)
        _ = try first.call([0] + secret, deadline: soon())
        let hostile = try #require(RawClient(host.path))
        #expect(hostile.greet())
        _ = try second.call([0, 1], deadline: soon())
        let rings = UnsafeRawBufferPointer(start: try #require(hostile.rings), count: hostile.length)
        #expect(!rings.contains(0xAB))
    }
}
