internal import CCryptoki
internal import ClusterModel
internal import Glibc
internal import OperationWire
internal import RingLink
internal import Synchronization

// The network of a real application: rings to the token hosts, and the directory that the node of this machine publishes. The pulse page is mapped and its
// counter read at every use; the directory file itself is looked at a few times a second, in case there is no such page or
// another one has taken its place.

/// Initializes the library as its configuration says.
func initializeWithConfiguration() throws(Refusal) {
    let configuration = try ProviderConfiguration.load()
    try Library.start(configuration.settings) { () throws(Refusal) in
        LocalNetwork(runDirectory: configuration.runDirectory)
    }
}

/// The token hosts of this machine.
final class LocalNetwork: HostNetwork {
    private let directoryPath: String
    private let pulse: PulseReader
    private let connections = RingConnections()
    private let polledAt = Atomic<Int64>(-ProviderLimits.directoryPollNanoseconds)
    private let polledEpoch = Atomic<UInt64>(0)

    init(runDirectory: String) {
        directoryPath = runDirectory + "/" + PulsePage.directoryFileName
        pulse = PulseReader(path: runDirectory + "/" + PulsePage.fileName)
    }

    func begin(
        _ request: [UInt8], to endpoint: Directory.Endpoint, replyBytes: Int, connectBy: Instant,
        deadline: Instant
    ) throws(HostUnreachable) -> any PendingReply {
        let client = try connections.connection(endpoint.socketPath).client(connectBy: connectBy.nanoseconds)
        do throws(RingError) {
            return RingPending(
                try client.begin(
                    request, replyBytes: min(replyBytes, RingLimits.messageBytes),
                    deadline: deadline.nanoseconds))
        } catch { throw HostUnreachable() }
    }

    func wait(for pending: [any PendingReply], nanoseconds: Int64) -> (position: Int, answer: HostAnswer)? {
        let calls = pending.compactMap { ($0 as? RingPending)?.call }
        guard calls.count == pending.count,
            let position = RingCall.wait(forAnyOf: calls, until: RingClock.now() + nanoseconds)
        else { return nil }
        do throws(RingError) { return (position, .reply(try calls[position].take())) } catch {
            return (position, .lost)
        }
    }

    func abandon(_ pending: any PendingReply) { (pending as? RingPending)?.call.abandon() }

    func epoch() -> UInt64 {
        let now = now().nanoseconds
        let polled = polledAt.load(ordering: .relaxed)
        if now - polled >= ProviderLimits.directoryPollNanoseconds,
            polledAt.compareExchange(expected: polled, desired: now, ordering: .relaxed).exchanged
        {
            var status = stat()
            if stat(directoryPath, &status) == 0 {
                // Another file, or another time of writing, is another epoch.
                let seconds = UInt64(bitPattern: Int64(status.st_mtim.tv_sec))
                let nanoseconds = UInt64(bitPattern: Int64(status.st_mtim.tv_nsec))
                polledEpoch.store(
                    UInt64(status.st_ino) &* 31 &+ nanoseconds &+ seconds &* 1_000_000_007,
                    ordering: .relaxed)
            }
        }
        return polledEpoch.load(ordering: .relaxed) &+ (pulse.epoch() ?? 0) &* 0x9E37_79B9_7F4A_7C15
    }

    func directory() -> Directory? {
        readFile(directoryPath, limit: DirectoryLimits.fileBytes).flatMap { try? Directory(decoding: $0) }
    }

    func now() -> Instant { Instant(nanoseconds: RingClock.now()) }

    func sleep(nanoseconds: Int64) {
        var left = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while true {
            var time = left
            guard nanosleep(&time, &left) != 0, errno == EINTR else { return }
        }
    }

    func close() { connections.close() }
}

/// The mapped pulse page, if there is one.
// Sendable: the pointer never changes after `init`, and what it points to is read with one atomic load only.
private final class PulseReader: @unchecked Sendable {
    private let page: UnsafeMutableRawPointer?

    init(path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            page = nil
            return
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size >= PulsePage.bytes,
            let mapped = mmap(nil, PulsePage.bytes, PROT_READ, MAP_SHARED, descriptor, 0),
            mapped != MAP_FAILED
        else {
            page = nil
            return
        }
        let magic = UnsafeRawBufferPointer(start: mapped, count: PulsePage.magic.count)
        guard magic.elementsEqual(PulsePage.magic) else {
            munmap(mapped, PulsePage.bytes)
            page = nil
            return
        }
        page = mapped
    }

    deinit {
        if let page { munmap(page, PulsePage.bytes) }
    }

    func epoch() -> UInt64? {
        guard let page else { return nil }
        // An aligned eight-byte load is one instruction on the machines that this runs on; a reader that sees the old
        // value once reads the old directory once.
        return (page + PulsePage.epochOffset).load(as: UInt64.self)
    }
}
