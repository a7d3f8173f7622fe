import ClusterModel
import Foundation
import Glibc
import Raft
import Testing

@testable import Storage

// What the storage tests share: throw-away directories, small file systems of their own, and shorthands for
// entries.

/// A directory that goes away with the object. On a memory file system when there is one, since crash tests
/// open hundreds of stores and each open syncs.
final class ScratchDirectory: Sendable {
    let path: String

    init(onDisk: Bool = false) throws {
        let memory = access("/dev/shm", W_OK | X_OK) == 0 && !onDisk
        let root = memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path
        path = "\(root)/storage-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func bytes(_ name: String) throws -> [UInt8] {
        guard FileManager.default.fileExists(atPath: file(name)) else { return [] }
        return Array(try Data(contentsOf: URL(fileURLWithPath: file(name))))
    }

    func put(_ bytes: [UInt8], _ name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    }
}

/// A tmpfs of a given size, mounted for one test. Needs root.
final class SmallFileSystem: Sendable {
    let path: String
    private let scratch: ScratchDirectory

    init?(bytes: Int) {
        guard let scratch = try? ScratchDirectory() else { return nil }
        self.scratch = scratch
        path = scratch.path
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else { return nil }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    func grow(to bytes: Int) -> Bool { mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT), "size=\(bytes)") == 0 }

    func makeReadOnly() -> Bool {
        mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
    }

    /// Whether this user may mount: containers often forbid it even to root.
    static let isAvailable = geteuid() == 0 && SmallFileSystem(bytes: 1 << 20) != nil
}

let voters = VoterConfiguration(voters: [NodeID(1), NodeID(2), NodeID(3)])

func entry(_ index: UInt64, term: UInt64 = 1, _ payload: Payload? = nil) -> LogEntry {
    LogEntry(
        term: Term(term), index: LogIndex(index),
        payload: payload ?? .command(Array("command \(index) of \(term)".utf8)))
}

func hardState(_ term: UInt64, vote: UInt64? = nil, commit: UInt64 = 0) -> HardState {
    HardState(term: Term(term), votedFor: vote.map { NodeID($0) }, commitIndex: LogIndex(commit))
}

func snapshot(_ index: UInt64, term: UInt64) -> SnapshotMetadata {
    SnapshotMetadata(lastIndex: LogIndex(index), lastTerm: Term(term), configuration: voters)
}

func openLog(_ directory: String, cluster: String = "test", node: UInt64 = 1) throws -> LogStore {
    try LogStore(directory: directory, cluster: cluster, node: NodeID(node))
}

func openCatalog(_ directory: String, cluster: String = "test", node: UInt64 = 1) throws -> CatalogStore {
    try CatalogStore(directory: directory, cluster: cluster, node: NodeID(node))
}

extension LogStore {
    func recovered() throws -> RecoveredState { try recover(initialConfiguration: voters) }
    func append(_ entries: [LogEntry]) throws {
        try write(hardState: nil, truncateFrom: nil, entries: entries)
    }
}

/// Expects `body` to throw a storage error that `matches`.
func expectStorageError(
    _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void, matches: (StorageError) -> Bool
) {
    do {
        try body()
        Issue.record("no error: \(comment)", sourceLocation: sourceLocation)
    } catch let error as StorageError {
        #expect(matches(error), "\(comment): \(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("\(comment): \(error)", sourceLocation: sourceLocation)
    }
}
