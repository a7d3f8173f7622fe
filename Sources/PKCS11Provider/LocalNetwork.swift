internal import CCryptoki
internal import ClusterModel
internal import Glibc
internal import OperationWire
internal import Synchronization

// The network of a real application: the directory that the node of this machine publishes. The pulse page is mapped and its
// counter read at every use; without it the directory file itself is looked at a few times a second.

/// Initializes the library as its configuration says.
func initializeWithConfiguration() throws(Refusal) {
    let configuration = try ProviderConfiguration.load()
    try Library.start(defaultUser: Array(configuration.defaultUser.utf8)) { () throws(Refusal) in
        LocalNetwork(runDirectory: configuration.runDirectory)
    }
}

/// The token hosts of this machine.
final class LocalNetwork: HostNetwork {
    private let directoryPath: String
    private let pulse: PulseReader
    private let polled = Mutex((at: Int64.min, epoch: UInt64(0)))

    init(runDirectory: String) {
        directoryPath = runDirectory + "/" + PulsePage.directoryFileName
        pulse = PulseReader(path: runDirectory + "/" + PulsePage.fileName)
    }

    func begin(
        _ request: [UInt8], to endpoint: Directory.Endpoint
    ) throws(HostUnreachable) -> any PendingReply { throw HostUnreachable() }

    func wait(for pending: [any PendingReply], nanoseconds: Int64) -> (position: Int, answer: HostAnswer)? {
        pending.isEmpty ? nil : (0, .lost)
    }

    func abandon(_ pending: any PendingReply) {}

    func epoch() -> UInt64 {
        if let epoch = pulse.epoch() { return epoch }
        let now = now().nanoseconds
        return polled.withLock { polled in
            guard now >= polled.at &+ ProviderLimits.directoryPollNanoseconds || polled.at == .min else {
                return polled.epoch
            }
            var status = stat()
            if stat(directoryPath, &status) == 0 {
                // Another file, or another time of writing, is another epoch.
                polled.epoch =
                    UInt64(status.st_ino) &* 31 &+ UInt64(bitPattern: Int64(status.st_mtim.tv_nsec))
                    &+ UInt64(bitPattern: Int64(status.st_mtim.tv_sec)) &* 1_000_000_007
            }
            polled.at = now
            return polled.epoch
        }
    }

    func directory() -> Directory? {
        readFile(directoryPath, limit: DirectoryLimits.fileBytes).flatMap { try? Directory(decoding: $0) }
    }

    func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    func sleep(nanoseconds: Int64) {
        var left = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while true {
            var time = left
            guard nanosleep(&time, &left) != 0, errno == EINTR else { return }
        }
    }

    func close() {}
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
