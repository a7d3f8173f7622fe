import Foundation
import Glibc
import Testing

// A disk that is full or has become read-only. Each test gives one node a small file system of its own, which
// needs the right to mount one; where that is missing the tests are skipped and say so.

extension ClusterScenarios {
    @Suite(.enabled(if: SmallDisk.isPossible, "mounting a file system needs root"))
    struct DiskTests {
        @Test func fullDiskStopsOneNodeAndNotTheCluster() async throws {
            try await withSmallDisk { cluster, disk, leader in
                try disk.fill()
                try await expectTheOthersGoOn(cluster, without: leader)

                try disk.empty()
                try await expectItComesBack(cluster, leader)
            }
        }

        @Test func nodeOnAReadOnlyDiskRefusesToStartAndSaysWhy() async throws {
            try await withSmallDisk { cluster, disk, leader in
                try await cluster.kill("node", "\(leader)")
                try await disk.remount("ro")
                let error = await #expect(throws: CommandError.self) {
                    try await cluster.start("node", "\(leader)")
                }
                #expect(
                    error?.description.contains("Read-only file system") == true,
                    "\(error?.description ?? "")")
                try await expectTheOthersGoOn(cluster, without: leader)

                try await disk.remount("rw")
                try await expectItComesBack(cluster, leader)
            }
        }

        /// Every node may become the leader, so all three get a small disk; the test breaks the leader's.
        private func withSmallDisk(_ body: (LocalCluster, SmallDisk, Int) async throws -> Void) async throws {
            var disks: [SmallDisk] = []
            try await withCluster(
                prepare: { cluster in
                    for node in 1...3 {
                        disks.append(try await SmallDisk.mount(under: cluster.folder(ofNode: node)))
                    }
                },
                release: { _ in
                    for disk in disks { await disk.unmount() }
                },
                { cluster in
                    let leader = try await cluster.newLeader()
                    try await body(cluster, disks[leader - 1], leader)
                })
        }

        private func expectTheOthersGoOn(_ cluster: LocalCluster, without broken: Int) async throws {
            let other = broken % 3 + 1
            // The broken node meets its disk with the next thing that it has to write.
            let key = try await cluster.generate(at: other)
            #expect(key.isUsable)
            #expect(key.verified.count >= 2)
            #expect(try await cluster.masterKeys(at: other).filter(\.isUsable).count >= 2)
        }

        private func expectItComesBack(_ cluster: LocalCluster, _ node: Int) async throws {
            let other = node % 3 + 1
            try await cluster.kill("node", "\(node)")
            try await cluster.start("node", "\(node)")
            let expected = try await cluster.masterKeys(at: other).map(\.label)
            try await eventually("node \(node) has caught up") {
                try await cluster.masterKeys(at: node).map(\.label) == expected ? true : nil
            }
        }
    }
}

/// A small file system in memory over one node's folder.
struct SmallDisk {
    let folder: URL

    static let isPossible = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/usr/bin/mount")

    /// Mounts it over the folder, keeping what the folder held.
    static func mount(under folder: URL) async throws -> SmallDisk {
        let kept = folder.appendingPathExtension("kept")
        try FileManager.default.moveItem(at: folder, to: kept)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        let options = "size=\(megabytes)m,mode=0700"
        try await run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder.path)
        for name in try FileManager.default.contentsOfDirectory(atPath: kept.path) {
            try FileManager.default.moveItem(at: kept.appending(path: name), to: folder.appending(path: name))
        }
        try FileManager.default.removeItem(at: kept)
        return SmallDisk(folder: folder)
    }

    private static let megabytes = 24

    private var filling: URL { folder.appending(path: "filling") }

    /// Writes until nothing fits any more.
    func fill() throws {
        let descriptor = open(filling.path, O_WRONLY | O_CREAT, 0o600)
        guard descriptor >= 0 else { throw CommandError(description: "cannot fill \(folder.path)") }
        defer { close(descriptor) }
        for size in [1 << 16, 1 << 12, 1] {
            let bytes = [UInt8](repeating: 0, count: size)
            while write(descriptor, bytes, size) > 0 {}
        }
    }

    func empty() throws { try FileManager.default.removeItem(at: filling) }

    func remount(_ mode: String) async throws {
        try await Self.run("mount", "-o", "remount,\(mode)", folder.path)
    }

    /// Lazily: a file may still be open.
    func unmount() async { _ = try? await Self.run("umount", "-l", folder.path) }

    private static func run(_ program: String, _ arguments: String...) async throws {
        let outcome = try await Command.run(program, arguments)
        guard outcome.exitCode == 0 else { throw CommandError(description: outcome.everything) }
    }
}
