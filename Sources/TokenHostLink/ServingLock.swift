import Glibc

// One process per endpoint and node serves, and others must be able to learn which. A record lock
// (fcntl(2), F_SETLK) fits better than flock(2): the kernel names its holder to anyone who asks (F_GETLK),
// drops it the moment the process ends, and doesn't hand it to processes that a vendor module forks.

/// The lock file beside a token host's socket.
package enum ServingLock {
    /// Takes the lock for the rest of this process's life. The descriptor must stay open, and no other
    /// descriptor of the same file may ever be closed in this process.
    /// - Throws: `SystemCallError` with EAGAIN or EACCES when another process holds it.
    package static func take(_ path: String) throws(SystemCallError) -> Int32 {
        let descriptor = try SystemFile.open(path, O_RDWR | O_CREAT | O_NOFOLLOW)
        var lock = wholeFile
        guard fcntl(descriptor, F_SETLK, &lock) == 0 else {
            let error = SystemCallError("fcntl")
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// The process that holds the lock; nil when none does, or the file can't be read.
    package static func holder(_ path: String) -> pid_t? {
        guard let descriptor = try? SystemFile.open(path, O_RDWR | O_NOFOLLOW) else { return nil }
        defer { close(descriptor) }
        var lock = wholeFile
        guard fcntl(descriptor, F_GETLK, &lock) == 0, lock.l_type != Int16(F_UNLCK), lock.l_pid > 1 else {
            return nil
        }
        return lock.l_pid
    }

    private static var wholeFile: flock {
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        return lock
    }
}
