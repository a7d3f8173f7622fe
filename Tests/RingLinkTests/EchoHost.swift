import Glibc
import RingLink
import Synchronization

// A host in the test's own process that answers with the bytes it got, or does what the first byte says.

/// What the first byte of a request asks for.
enum Command {
    static let echo: UInt8 = 0
    /// Sleeps for so many milliseconds (second byte times ten), then echoes.
    static let sleep: UInt8 = 1
    /// Replies with as many bytes as the next four say.
    static let produce: UInt8 = 2
}

final class EchoService: RingService {
    let served = Atomic<Int>(0)
    let gone = Mutex<[UInt64]>([])
    let admits: @Sendable (RingPeer) -> Bool

    init(admits: @escaping @Sendable (RingPeer) -> Bool = { _ in true }) { self.admits = admits }

    func mayConnect(_ peer: RingPeer) -> Bool { admits(peer) }
    func connected(_ client: UInt64, _ peer: RingPeer) {}
    func disconnected(_ client: UInt64) { gone.withLock { $0.append(client) } }
    func makeWorker() -> any RingWorker { EchoWorker(self) }
}

private final class EchoWorker: RingWorker {
    private let service: EchoService
    init(_ service: EchoService) { self.service = service }

    func serve(
        _ request: UnsafeRawBufferPointer, from client: UInt64, deadline: Int64, into reply: inout [UInt8]
    ) {
        service.served.add(1, ordering: .relaxed)
        switch request.first {
        case Command.sleep?:
            usleep(UInt32(request[1]) * 10_000)
            reply.append(contentsOf: request)
        case Command.produce?:
            let count = request.loadUnaligned(fromByteOffset: 1, as: UInt32.self)
            reply = [UInt8](repeating: 7, count: Int(count))
        default: reply.append(contentsOf: request)
        }
    }

    func rest() {}
}

/// A host, stopped when it goes away.
final class EchoHost {
    let service: EchoService
    let server: RingServer
    let path: String

    init(workers: Int = 2, incarnation: UInt64 = 1, service: EchoService = EchoService()) throws {
        self.service = service
        path = "/tmp/hsmcluster-rings-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        server = try RingServer(
            settings: RingServerSettings(path: path, workers: workers, incarnation: incarnation),
            service: service)
        try server.start()
    }

    deinit { server.stop() }

    func client() throws -> RingClient { try RingClient(path: path, deadline: soon()) }
}

/// So many milliseconds from now.
func soon(_ milliseconds: Int64 = 10_000) -> Int64 { RingClock.now() + milliseconds * 1_000_000 }

/// Looks again and again until something holds; false after ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
    let end = soon()
    while RingClock.now() < end {
        if condition() { return true }
        usleep(2_000)
    }
    return condition()
}

/// Runs a body on so many threads and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Task {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
    let threads = (0..<count).map { index in
        var thread = pthread_t()
        let task = Unmanaged.passRetained(Task { body(index) })
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Task>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, task.toOpaque())
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}
