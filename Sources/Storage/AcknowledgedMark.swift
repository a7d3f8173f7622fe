import ClusterModel
import Glibc

// SQLite ends its recovery at the first frame of the write-ahead log whose checksum fails. That is right for
// a write that a crash tore, but a flipped bit in an older frame looks the same, and everything after it
// would vanish without a word; so would the votes of a node whose database was restored from an old copy.
// This small file beside the database names the last write that was acknowledged. It is written after the
// database has synced and is itself synced only now and then, so it may lag but never runs ahead: a database
// behind its mark has lost something. (The torn-or-corrupt question is discussed in the README of
// hashicorp/raft-wal.)

/// The sequence number of the last acknowledged write of one store. Used under its store's lock only.
final class AcknowledgedMark: Sendable {
    private static let magic = Array("HSMACK01".utf8)
    static let storeIDLength = 16
    private static let length = magic.count + storeIDLength + 8 + 4

    private let path: String
    private let descriptor: Int32
    private let storeID: [UInt8]

    /// What a mark file says: which store, and how far; nil when there is none or it is unreadable (a
    /// power cut may leave it empty). Never ahead of the store that it describes.
    static func read(_ path: String) throws(StorageError) -> (storeID: [UInt8], sequence: UInt64)? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw FileSystem.failure(errno, path, "open") }
            return nil
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: length)
        let count = pread(descriptor, &bytes, length, 0)
        guard count >= 0 else { throw FileSystem.failure(errno, path, "read") }
        guard count == length, bytes.starts(with: magic) else { return nil }
        let body = bytes[..<(length - 4)]
        let stored = bytes[(length - 4)...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard CRC32C.checksum(body) == stored else { return nil }
        let number = body[(magic.count + storeIDLength)...].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return (Array(body[magic.count..<(magic.count + storeIDLength)]), number)
    }

    /// Opens or creates the mark of the store `storeID` and sets it to `sequence`, durably.
    init(path: String, storeID: [UInt8], sequence: UInt64) throws(StorageError) {
        _ = try FileSystem.ensureFile(path)
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileSystem.failure(errno, path, "open") }
        self.path = path
        self.descriptor = descriptor
        self.storeID = storeID
        try set(sequence)
        try sync()
    }

    deinit { close(descriptor) }

    /// Notes that write `sequence` is durable.
    func set(_ sequence: UInt64) throws(StorageError) {
        var bytes = Self.magic + storeID + ByteOrder.bigEndian(sequence)
        bytes += ByteOrder.bigEndian(UInt64(CRC32C.checksum(bytes)))[4...]
        let written = pwrite(descriptor, bytes, bytes.count, 0)
        guard written == bytes.count else {
            throw FileSystem.failure(written < 0 ? errno : ENOSPC, path, "write")
        }
    }

    /// Makes the mark itself durable.
    func sync() throws(StorageError) {
        guard fdatasync(descriptor) == 0 else { throw FileSystem.failure(errno, path, "fdatasync") }
    }
}
