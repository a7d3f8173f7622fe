import Foundation
import Glibc
import Testing

// The node under a service manager's protocol (sd_notify(3)): a socket of ours stands in for systemd's.

/// What a service manager would hear.
private final class NotifySocket {
    let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw CommandError(description: "the path of the notify socket is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0 else { throw CommandError(description: "cannot bind \(path): errno \(errno)") }
    }

    deinit { close(descriptor) }

    /// The messages that have arrived, one text each.
    func messages() -> [String] {
        var messages: [String] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return messages }
            messages.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
    }
}

extension ClusterScenarios {
    @Suite struct SystemdTests {
        @Test func aServiceManagerHearsReadyOnceTheNodeHasJoinedThenSignsOfLifeThenStopping() async throws {
            try await withCluster(nodes: 2, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                try await cluster.kill("node", "1")
                try await cluster.kill("node", "2")
                let notify = try NotifySocket(path: cluster.directory.appending(path: "notify").path)
                let node = Process()
                node.executableURL = Place.programs.appending(path: "hsmclusterd")
                node.arguments = ["--config", cluster.folder(ofNode: 1).appending(path: "node.yaml").path]
                node.environment = ProcessInfo.processInfo.environment.merging(
                    ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "1000000"]) { _, new in new }
                node.standardError = FileHandle.nullDevice
                try node.run()
                defer { node.terminate() }
                var heard: [String] = []
                try await eventually("a sign of life") {
                    heard += notify.messages()
                    return heard.contains("WATCHDOG=1") ? true : nil
                }
                // One of two nodes has no quorum, so it has not joined.
                try await eventually("an election that cannot be won") {
                    heard += notify.messages()
                    return heard.contains { $0.hasPrefix("STATUS=preCandidate") } ? true : nil
                }
                #expect(!heard.contains { $0.contains("READY=1") })
                try await cluster.start("node", "2")
                try await eventually("READY with role and term") {
                    heard += notify.messages()
                    return heard.contains { $0.hasPrefix("READY=1\nSTATUS=") && $0.contains(" in term ") }
                        ? true : nil
                }
                node.terminate()
                try await eventually("STOPPING") {
                    heard += notify.messages()
                    return heard.contains { $0.contains("STOPPING=1") } ? true : nil
                }
                node.waitUntilExit()
                #expect(node.terminationStatus == 0)
                #expect(heard.filter { $0.contains("READY=1") }.count == 1)
            }
        }
    }
}
