import CProcess
import Glibc

// Stream sockets in the file system (unix(7)). Two peculiarities are dealt with here: an address holds only
// 107 bytes of path, so longer paths go through /proc/self/fd; and a non-blocking connect either succeeds or
// fails at once, so it may be called where blocking is forbidden.

/// Who is at the other end of a Unix socket, by the kernel's word (SO_PEERCRED).
package struct PeerCredentials: Hashable, Sendable {
    /// The process that connected, or that called listen.
    package var process: pid_t
    /// Its effective user then.
    package var user: uid_t
}

/// How an attempt to connect ended.
package enum ConnectOutcome {
    /// Connected; the caller owns the non-blocking descriptor.
    case connected(Int32)
    /// Nobody listens there.
    case absent
    /// Somebody listens but doesn't accept.
    case congested
    /// Anything else.
    case failed(SystemCallError)
}

/// Unix stream sockets, always non-blocking and close-on-exec.
package enum UnixSocket {
    /// The longest path that fits into an address.
    package static let pathBytes = 107

    /// Tries to connect; never blocks.
    package static func connect(_ path: String) -> ConnectOutcome {
        do throws(SystemCallError) {
            let descriptor = try make()
            let result = try withAddress(path) { Glibc.connect(descriptor, $0, $1) }
            if result == 0 { return .connected(descriptor) }
            let error = SystemCallError("connect")
            close(descriptor)
            return switch error.code {
            case ENOENT, ECONNREFUSED: .absent
            case EAGAIN, EINPROGRESS, EINTR: .congested
            default: .failed(error)
            }
        } catch {
            return error.code == ENOENT ? .absent : .failed(error)
        }
    }

    /// Listens at `path`, which must not exist, with mode 0600.
    package static func listen(_ path: String, backlog: Int32) throws(SystemCallError) -> Int32 {
        let descriptor = try make()
        do throws(SystemCallError) {
            // umask decides about the mode of a new socket; chmod covers a caller who didn't set it.
            guard try withAddress(path, { bind(descriptor, $0, $1) }) == 0 else {
                throw SystemCallError("bind")
            }
            guard chmod(path, 0o600) == 0 else { throw SystemCallError("chmod") }
            guard Glibc.listen(descriptor, backlog) == 0 else { throw SystemCallError("listen") }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Accepts one waiting connection; nil when there is none.
    package static func accept(_ listener: Int32) throws(SystemCallError) -> Int32? {
        let descriptor = accept4(listener, nil, nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
        if descriptor >= 0 { return descriptor }
        switch errno {
        case EAGAIN, EINTR, ECONNABORTED: return nil
        default: throw SystemCallError("accept")
        }
    }

    /// The other end's credentials; nil when the kernel doesn't tell.
    package static func peer(of descriptor: Int32) -> PeerCredentials? {
        var credentials = CProcess_credentials()
        var length = socklen_t(MemoryLayout<CProcess_credentials>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        return PeerCredentials(process: credentials.process, user: credentials.user)
    }

    private static func make() throws(SystemCallError) -> Int32 {
        let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let descriptor = socket(AF_UNIX, Int32(kind), 0)
        guard descriptor >= 0 else { throw SystemCallError("socket") }
        return descriptor
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemCallError) -> Int32 {
        if path.utf8.count <= pathBytes { return withShortAddress(path, body) }
        let directory = try SystemFile.open(SystemFile.directory(of: path), O_RDONLY | O_DIRECTORY)
        defer { close(directory) }
        let short = "/proc/self/fd/\(directory)/\(SystemFile.name(of: path))"
        guard short.utf8.count <= pathBytes else { throw SystemCallError("bind", code: ENAMETOOLONG) }
        return withShortAddress(short, body)
    }

    private static func withShortAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
