internal import CSharedMemory
internal import Glibc

// How a client and a host meet (unix(7)): the client connects and says which version it speaks; the host
// looks at the kernel's word on who that is, makes the memory, and passes three descriptors: the rings, the
// health page, and an eventfd(2) that wakes the host. After that nothing is said on the socket; when it
// closes, the other side is gone.

/// Who is at the other end of a connection, by the kernel's word (SO_PEERCRED).
public struct RingPeer: Hashable, Sendable {
    /// Its process when it connected.
    public var process: Int32
    /// Its effective user then.
    public var user: UInt32
    /// Its effective group then.
    public var group: UInt32
}

/// The first message of a client.
struct ClientHello: Equatable {
    static let bytes = 16
    var magic = RingLayout.magic
    var version = RingLayout.version
    var reserved: UInt32 = 0

    var encoded: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }

    /// Nil when the bytes are something else altogether.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.bytes else { return nil }
        let raw = bytes.withUnsafeBytes { ($0.loadUnaligned(as: UInt64.self), $0) }
        guard raw.0 == RingLayout.magic else { return nil }
        version = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self) }
    }
    init() {}
}

/// The host's answer.
struct HostHello: Equatable {
    static let bytes = 16
    enum Verdict: UInt32 {
        case welcome = 0
        case versionMismatch = 1
        case tooManyConnections = 2
        case refused = 3
    }
    var magic = RingLayout.magic
    var version = RingLayout.version
    var verdict: UInt32

    init(_ verdict: Verdict) { self.verdict = verdict.rawValue }
    var encoded: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.bytes else { return nil }
        magic = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        version = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self) }
        verdict = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 12, as: UInt32.self) }
        guard magic == RingLayout.magic else { return nil }
    }
}

/// Unix stream sockets, non-blocking and close-on-exec.
enum SetupSocket {
    static func make() -> Int32 {
        socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    }

    static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= room else {
            errno = ENAMETOOLONG
            return -1
        }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    static func peer(of descriptor: Int32) -> RingPeer? {
        var credentials = CSharedMemory_credentials()
        var length = socklen_t(MemoryLayout<CSharedMemory_credentials>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        return RingPeer(process: credentials.process, user: credentials.user, group: credentials.group)
    }

    /// True when the other side has closed the socket, or says what it mustn't.
    static func isOver(_ descriptor: Int32) -> Bool {
        var byte: UInt8 = 0
        let result = recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT))
        return result >= 0 || (errno != EAGAIN && errno != EINTR)
    }

    static func awaitReadable(_ descriptor: Int32, until end: Int64) -> Bool {
        while true {
            let left = end - RingClock.now()
            guard left > 0 else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let result = poll(&entry, 1, Int32(clamping: left / 1_000_000 + 1))
            if result > 0 { return true }
            if result < 0, errno != EINTR { return false }
        }
    }
}

/// What a client has after the greeting.
struct ClientSetup {
    var socket: Int32
    var rings: SharedMemory
    var health: HealthPage
    var bell: Int32

    /// Connects and greets, until `end` at most.
    static func connect(_ path: String, until end: Int64) throws(RingError) -> ClientSetup {
        let descriptor = SetupSocket.make()
        guard descriptor >= 0 else { throw .unreachable }
        do throws(RingError) {
            return try greet(descriptor, path, end)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func greet(_ socket: Int32, _ path: String, _ end: Int64) throws(RingError) -> ClientSetup
    {
        // A local connect(2) succeeds or fails at once; EAGAIN is a full backlog.
        while SetupSocket.withAddress(path, { Glibc.connect(socket, $0, $1) }) != 0 {
            guard errno == EAGAIN || errno == EINTR, RingClock.now() < end else { throw .unreachable }
            usleep(500)
        }
        let hello = ClientHello().encoded
        // A host that refuses may have closed already; its answer can be read all the same.
        _ = send(socket, hello, hello.count, Int32(MSG_NOSIGNAL))
        guard SetupSocket.awaitReadable(socket, until: end) else { throw .deadlineExceeded }
        var bytes = [UInt8](repeating: 0, count: HostHello.bytes)
        var descriptors: [Int32] = [-1, -1, -1]
        var count: Int32 = 0
        let received = CSharedMemory_receive(socket, &bytes, bytes.count, &descriptors, &count)
        // The rings and the page stay mapped without their descriptors.
        var unused = Array(descriptors.prefix(Int(count)))
        defer { for descriptor in unused { close(descriptor) } }
        guard received == bytes.count, let answer = HostHello(bytes) else { throw .unreachable }
        switch HostHello.Verdict(rawValue: answer.verdict) {
        case .welcome where count == 3: break
        case .versionMismatch: throw .versionMismatch
        case .tooManyConnections: throw .tooManyConnections
        default: throw .unreachable
        }
        guard SharedMemory.isFixed(descriptors[0], length: RingLayout.bytes),
            let rings = SharedMemory(descriptor: descriptors[0], length: RingLayout.bytes, isWritable: true),
            let health = HealthPage(descriptor: descriptors[1])
        else { throw .unreachable }
        unused.removeLast()
        return ClientSetup(socket: socket, rings: rings, health: health, bell: descriptors[2])
    }
}
