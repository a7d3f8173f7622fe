import Foundation
import Testing

@testable import TokenHostLink

// Sockets at paths of any length, and what connecting to nobody looks like.

@Suite struct UnixSocketTests {
    @Test(arguments: [10, 150]) func listenerIsReachedAtAPathOfAnyLength(length: Int) throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/" + String(repeating: "d", count: length)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/socket"
        let listener = try UnixSocket.listen(path, backlog: 1)
        defer { close(listener) }
        guard case .connected(let descriptor) = UnixSocket.connect(path) else {
            Issue.record("not connected")
            return
        }
        defer { close(descriptor) }
        #expect(UnixSocket.peer(of: descriptor) == PeerCredentials(process: getpid(), user: geteuid()))
        let accepted = try #require(try UnixSocket.accept(listener))
        close(accepted)
        #expect(try UnixSocket.accept(listener) == nil)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test func nobodyListeningIsAbsent() throws {
        let scratch = try Scratch()
        guard case .absent = UnixSocket.connect(scratch.path + "/none") else {
            Issue.record("a missing socket")
            return
        }
        let path = scratch.path + "/stale"
        close(try UnixSocket.listen(path, backlog: 1))
        guard case .absent = UnixSocket.connect(path) else {
            Issue.record("a stale socket")
            return
        }
    }

    @Test func listenerThatDoesNotAcceptIsCongested() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/socket"
        let listener = try UnixSocket.listen(path, backlog: 0)
        defer { close(listener) }
        var open: [Int32] = []
        defer { for descriptor in open { close(descriptor) } }
        for _ in 0..<16 {
            switch UnixSocket.connect(path) {
            case .connected(let descriptor): open.append(descriptor)
            case .congested: return
            default:
                Issue.record("neither connected nor congested")
                return
            }
        }
        Issue.record("never congested")
    }
}
