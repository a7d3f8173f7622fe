import Glibc

// The few file operations that this target and the token host need, as errors that name the call. Files that
// decide about a PIN must be on the disk before the next step, hence the durable forms: the file is synced,
// then renamed, then its directory is synced (fsync(2), rename(2)).

/// A failed system call.
package struct SystemCallError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The call's name, such as `open`.
    package var call: String
    /// Its errno.
    package var code: Int32
    /// Takes errno as the last call left it.
    package init(_ call: String, code: Int32 = errno) {
        self.call = call
        self.code = code
    }
    /// The reason in words, and the call.
    package var description: String { "\(String(cString: strerror(code))) (\(call))" }
}

/// Small whole files. Every call blocks for the time that the file system takes.
package enum SystemFile {
    /// Opens with close-on-exec, repeating when a signal interrupts.
    package static func open(
        _ path: String, _ flags: Int32, mode: mode_t = 0o600
    ) throws(SystemCallError) -> Int32 {
        while true {
            let descriptor = Glibc.open(path, flags | O_CLOEXEC, mode)
            if descriptor >= 0 { return descriptor }
            if errno != EINTR { throw SystemCallError("open") }
        }
    }

    /// The content of a file of at most `bound` bytes.
    package static func read(_ path: String, bound: Int) throws(SystemCallError) -> [UInt8] {
        let descriptor = try open(path, O_RDONLY | O_NONBLOCK)
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw SystemCallError("read") }
            if count == 0 { return content }
            content.append(contentsOf: chunk[..<count])
            guard content.count <= bound else { throw SystemCallError("read", code: EFBIG) }
        }
    }

    /// Makes or replaces a file with mode 0600.
    package static func write(
        _ bytes: [UInt8], to path: String, durably: Bool
    ) throws(SystemCallError) {
        let descriptor = try open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
        defer { close(descriptor) }
        guard fchmod(descriptor, 0o600) == 0 else { throw SystemCallError("fchmod") }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw SystemCallError("write") }
            rest = rest.dropFirst(count)
        }
        if durably && fsync(descriptor) != 0 { throw SystemCallError("fsync") }
    }

    /// Puts a file in another's place in one step.
    package static func rename(
        _ source: String, to destination: String, durably: Bool
    ) throws(SystemCallError) {
        guard Glibc.rename(source, destination) == 0 else { throw SystemCallError("rename") }
        if durably { try syncDirectory(of: destination) }
    }

    /// Removes a file; that it is gone already is no error.
    package static func remove(_ path: String, durably: Bool) throws(SystemCallError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("unlink") }
        if durably { try syncDirectory(of: path) }
    }

    /// What tells one content of a file from another without reading it: device, inode, size, time of the
    /// last modification. Nil when there is no such file.
    package static func fingerprint(_ path: String) -> [UInt64]? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return [
            UInt64(status.st_dev), UInt64(status.st_ino), UInt64(bitPattern: Int64(status.st_size)),
            UInt64(bitPattern: Int64(status.st_mtim.tv_sec)),
            UInt64(bitPattern: Int64(status.st_mtim.tv_nsec)),
        ]
    }

    /// The part of a path before its last slash.
    package static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The part of a path after its last slash.
    package static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    private static func syncDirectory(of path: String) throws(SystemCallError) {
        let descriptor = try open(directory(of: path), O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SystemCallError("fsync") }
    }
}
