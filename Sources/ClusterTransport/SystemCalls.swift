// The few calls of the operating system that the transport needs, with their errno turned into values.
// Sockets are non-blocking and close-on-exec from birth, so neither a Dispatch thread nor a child process
// is ever held by one. Source: socket(7), tcp(7), getaddrinfo(3).

import COpenSSL
import Glibc

/// A resolved address, as the kernel takes it.
struct SocketAddress: Sendable {
    var family: Int32
    var bytes: [UInt8]
}

enum SystemCalls {
    /// The system's words for an errno.
    static func text(ofErrno number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "errno \(number)" }
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return bytes.isEmpty ? "errno \(number)" : String(decoding: bytes, as: UTF8.self)
    }

    // MARK: Files

    private static let maxFileBytes = 1 << 20

    /// Reads a small file.
    /// - Parameter isSecret: refuse when every user of the machine may read it. The caller clears the bytes.
    static func contents(of path: String, isSecret: Bool) throws(TransportSetupError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT ? .fileMissing(path: path) : .fileUnreadable(path: path, errno: errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .fileUnreadable(path: path, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .fileUnreadable(path: path, errno: EISDIR) }
        guard !isSecret || status.st_mode & S_IROTH == 0 else { throw .privateKeyExposed(path: path) }
        guard status.st_size <= maxFileBytes else { throw .fileTooLarge(path: path) }
        // The buffer is filled in place and never grows, so no copy of a secret stays behind in the heap.
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
            while count < buffer.count {
                let got = read(descriptor, buffer.baseAddress?.advanced(by: count), buffer.count - count)
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = errno }
                if got <= 0 { break }
                count += got
            }
        }
        guard failure == 0 else { throw .fileUnreadable(path: path, errno: failure) }
        return bytes
    }

    // MARK: Addresses

    /// Resolves a name. Blocks while a resolver answers: never call it on a Dispatch queue.
    static func addresses(host: String, port: UInt16, passive: Bool) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        return unpack(list)
    }

    /// Reads a numeric address; empty when `host` is a name. Never blocks.
    static func numericAddresses(host: String, port: UInt16) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        return unpack(list)
    }

    private static func unpack(_ list: UnsafeMutablePointer<addrinfo>?) -> [SocketAddress] {
        var result: [SocketAddress] = []
        var cursor = list
        while let entry = cursor?.pointee {
            if let address = entry.ai_addr {
                let raw = UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen))
                result.append(SocketAddress(family: entry.ai_family, bytes: Array(raw)))
            }
            cursor = entry.ai_next
        }
        return result
    }

    /// `address:port` of an address, for reports.
    static func text(of storage: UnsafePointer<sockaddr>, length: socklen_t) -> String {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var service = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let flags = NI_NUMERICHOST | NI_NUMERICSERV
        guard
            getnameinfo(
                storage, length, &host, socklen_t(host.count), &service, socklen_t(service.count), flags) == 0
        else { return "unknown" }
        func string(_ buffer: [CChar]) -> String {
            String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        let name = string(host)
        return name.contains(":") ? "[\(name)]:\(string(service))" : "\(name):\(string(service))"
    }

    // MARK: Sockets

    private static let socketType = Int32(
        SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)

    /// Begins to connect.
    /// - Returns: a descriptor on which connecting is under way or done, or the errno.
    static func beginConnect(to address: SocketAddress, options: SocketOptions) -> Result<Int32, ErrnoValue> {
        let descriptor = socket(address.family, socketType, 0)
        guard descriptor >= 0 else { return .failure(ErrnoValue(errno)) }
        apply(options, to: descriptor)
        let outcome = withSocketAddress(address) { connect(descriptor, $0, $1) }
        guard outcome == 0 || errno == EINPROGRESS else {
            let number = errno
            close(descriptor)
            return .failure(ErrnoValue(number))
        }
        return .success(descriptor)
    }

    /// Opens a listening socket.
    static func listen(on address: SocketAddress, backlog: Int32) -> Result<Int32, ErrnoValue> {
        let descriptor = socket(address.family, socketType, 0)
        guard descriptor >= 0 else { return .failure(ErrnoValue(errno)) }
        setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        let bound = withSocketAddress(address) { bind(descriptor, $0, $1) }
        guard bound == 0, Glibc.listen(descriptor, backlog) == 0 else {
            let number = errno
            close(descriptor)
            return .failure(ErrnoValue(number))
        }
        return .success(descriptor)
    }

    /// Takes the next connection of a listening socket, with the other side's address.
    static func accept(from listener: Int32, options: SocketOptions) -> Result<(Int32, String), ErrnoValue> {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let descriptor = COpenSSL_accept_without_inheritance(listener, address, &length)
                guard descriptor >= 0 else { return .failure(ErrnoValue(errno)) }
                apply(options, to: descriptor)
                return .success((descriptor, text(of: address, length: length)))
            }
        }
    }

    /// Whether the descriptor is a TCP socket that listens; makes it non-blocking when it is.
    static func adoptListener(_ descriptor: Int32) -> Bool {
        guard option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1,
            option(descriptor, SOL_SOCKET, SO_TYPE) == Int32(SOCK_STREAM.rawValue),
            [AF_INET, AF_INET6].contains(option(descriptor, SOL_SOCKET, SO_DOMAIN) ?? -1)
        else { return false }
        let flags = fcntl(descriptor, F_GETFL)
        return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0
    }

    /// The port a socket is bound to; 0 when unknown.
    static func localPort(of descriptor: Int32) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let outcome = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard outcome == 0 else { return 0 }
        // The port stands at the same place in sockaddr_in and sockaddr_in6: after the family.
        return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }

    /// The error that a finished connect left on the socket; 0 is success.
    static func pendingError(of descriptor: Int32) -> Int32 {
        option(descriptor, SOL_SOCKET, SO_ERROR) ?? errno
    }

    private static func apply(_ options: SocketOptions, to descriptor: Int32) {
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, options.keepaliveIdleSeconds)
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, options.keepaliveIntervalSeconds)
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, options.keepaliveProbes)
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, options.userTimeoutMilliseconds)
    }

    private static func setOption(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, level, name, &value, &length) == 0 ? value : nil
    }

    private static func withSocketAddress<T>(
        _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T
    ) -> T {
        var storage = sockaddr_storage()
        let length = min(address.bytes.count, MemoryLayout<sockaddr_storage>.size)
        withUnsafeMutableBytes(of: &storage) { $0.copyBytes(from: address.bytes.prefix(length)) }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }
}

/// An errno that can be a failure value.
struct ErrnoValue: Error, Hashable, Sendable {
    var number: Int32
    init(_ number: Int32) { self.number = number }
}

/// What every link's socket is set to.
struct SocketOptions: Sendable {
    var keepaliveIdleSeconds: Int32
    var keepaliveIntervalSeconds: Int32
    var keepaliveProbes: Int32
    var userTimeoutMilliseconds: Int32
}
