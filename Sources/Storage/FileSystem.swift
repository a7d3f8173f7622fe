import Glibc
import Synchronization

// The few file system calls that SQLite does not make for us: private directories and files, syncing a
// directory after a name appeared in it (without that a power cut may lose the file although its content was
// synced), and telling a full from a read-only disk.

/// File system calls with named errors.
enum FileSystem {
    static let privateDirectory: mode_t = 0o700
    static let privateFile: mode_t = 0o600

    /// Makes `directory` with mode 0700 if it is missing; its parent must exist.
    static func ensureDirectory(_ directory: String) throws(StorageError) {
        if mkdir(directory, privateDirectory) == 0 {
            try syncDirectory(parent(of: directory))
        } else if errno != EEXIST {
            throw failure(errno, directory, "mkdir")
        }
    }

    /// Makes an empty `path` with mode 0600 if it is missing, durably. Tells whether it was missing.
    static func ensureFile(_ path: String) throws(StorageError) -> Bool {
        let created = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, privateFile)
        guard created >= 0 else {
            guard errno == EEXIST else { throw failure(errno, path, "open") }
            return false
        }
        close(created)
        try syncDirectory(parent(of: path))
        return true
    }

    /// Makes the names in `directory` durable.
    static func syncDirectory(_ directory: String) throws(StorageError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(errno, directory, "open") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(errno, directory, "fsync") }
    }

    /// Makes the content of `path` durable.
    static func syncFile(_ path: String) throws(StorageError) {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(errno, path, "open") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(errno, path, "fsync") }
    }

    /// Puts `source` in the place of `target` atomically and durably; both are in one directory.
    static func replace(_ target: String, with source: String) throws(StorageError) {
        guard rename(source, target) == 0 else { throw failure(errno, target, "rename") }
        try syncDirectory(parent(of: target))
    }

    /// Removes `path` if it exists.
    static func remove(_ path: String) throws(StorageError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure(errno, path, "unlink") }
    }

    /// The length of `path` in bytes; nil when there is no such file.
    static func size(of path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// True when the file system of `path` has no block or no inode left.
    static func isFull(_ path: String) -> Bool {
        var status = statvfs()
        guard statvfs(parent(of: path), &status) == 0 else { return false }
        return status.f_bavail == 0 || (status.f_files > 0 && status.f_favail == 0)
    }

    /// True when this process may not create files beside `path`.
    static func isReadOnly(_ path: String) -> Bool {
        access(parent(of: path), W_OK | X_OK) != 0 && [EROFS, EACCES, EPERM].contains(errno)
    }

    /// The directory that `path` is in.
    static func parent(of path: String) -> String {
        var end = path.endIndex
        while end > path.startIndex, path[path.index(before: end)] == "/" { end = path.index(before: end) }
        guard let slash = path[..<end].lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The named error for an errno.
    static func failure(_ number: Int32, _ path: String, _ call: String) -> StorageError {
        switch number {
        case ENOSPC, EDQUOT: .diskFull(path: path)
        case EROFS, EACCES, EPERM: .readOnly(path: path)
        default:
            .inputOutput(path: path, code: number, detail: "\(call): \(String(cString: strerror(number)))")
        }
    }
}

/// An advisory lock (flock) that keeps a second process, or a second object of this one, away from a store.
/// Held from creation to `release` or deallocation; the descriptor is not inherited by child processes, so a
/// child that outlives its parent does not keep the lock.
final class StoreLock: Sendable {
    private let descriptor: Mutex<Int32?>

    init(path: String) throws(StorageError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FileSystem.privateFile)
        guard descriptor >= 0 else { throw FileSystem.failure(errno, path, "open") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(descriptor)
            guard number == EWOULDBLOCK else { throw FileSystem.failure(number, path, "flock") }
            throw .lockedByAnotherProcess(path: path)
        }
        self.descriptor = Mutex(descriptor)
    }

    deinit { release() }

    /// Lets go of the lock. Releasing twice is harmless.
    func release() {
        descriptor.withLock { descriptor in
            guard let held = descriptor.take() else { return }
            // A child that is between fork and exec shares the open file, and the lock with it: closing alone
            // would leave it locked until the child gets on.
            flock(held, LOCK_UN)
            close(held)
        }
    }
}
