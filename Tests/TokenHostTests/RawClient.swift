import ClusterModel
import Foundation
import Testing

@testable import TokenHostLink

// A client of a token host that may say anything, and that reads only when told.

final class RawClient {
    private let descriptor: Int32
    private var reader = TokenHostFrameReader(bound: TokenHostLimits.replyBytes)

    init(_ path: String) throws {
        guard case .connected(let descriptor) = UnixSocket.connect(path) else {
            throw Missing(description: "cannot connect to \(path)")
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    func send(_ message: TokenHostMessage) throws {
        send(try #require(TokenHostFrame.encode(message, bound: TokenHostLimits.requestBytes)))
    }

    func greet() throws { try send(.hello(TokenHostHello(process: getpid(), configurationDigest: 0))) }

    /// The next message; nil when the token host ends the link, or says nothing for a long while.
    func next() throws -> TokenHostMessage? {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        while true {
            if let message = try reader.next() { return message }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 60_000) > 0 else { return nil }
            let count = read(descriptor, &bytes, bytes.count)
            guard count > 0 else { return nil }
            reader.append(bytes[..<count])
        }
    }

    /// True when the token host ends the link.
    func isCutOff() throws -> Bool {
        while try next() != nil {}
        return true
    }

    func request(_ id: UInt64, _ request: EndpointRequest, milliseconds: UInt64 = 60_000) throws {
        try send(.request(id: id, request: request, deadlineMilliseconds: milliseconds))
    }

    /// Reads until request `id` is answered.
    func answer(_ id: UInt64) throws -> Result<EndpointReply, EndpointFailure> {
        while let message = try next() {
            if case .reply(id, let outcome) = message { return outcome.result }
        }
        throw Missing(description: "request \(id) is never answered")
    }

    /// Reads until a state comes that `isWanted`.
    func state(_ isWanted: (TokenHostState) -> Bool) throws {
        while let message = try next() {
            if case .state(let state) = message, isWanted(state) { return }
        }
        throw Missing(description: "the state never comes")
    }
}
