// Plain TCP on 127.0.0.1 for tests that need something else than a well-behaved HTTP client or server.

import Foundation
import Synchronization

/// Blocking TCP sockets on the loopback interface.
public enum LoopbackSocket {
    /// A listener on a free port; nil when there is none.
    public static func listen() -> (descriptor: Int32, port: Int)? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        let listens = withAddress(port: 0, &address) { pointer, length in
            bind(descriptor, pointer, length) == 0 && Foundation.listen(descriptor, 64) == 0
        }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0
            }
        }
        guard listens, named else { return nil }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    /// A connection to `port`; nil when nothing listens there.
    public static func connect(port: Int) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        let connects = withAddress(port: port, &address) { pointer, length in
            Foundation.connect(descriptor, pointer, length) == 0
        }
        guard connects else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private static func withAddress(
        port: Int, _ address: inout sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
    ) -> Bool {
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// Passes bytes to a port until it is cut: what a killed node looks like from outside.
public final class CuttableProxy: Sendable {
    /// The port to connect to instead.
    public let port: Int
    private let listener: Int32
    private let open = Mutex<[Int32]>([])

    /// `https://127.0.0.1:port`.
    public var url: String { "https://127.0.0.1:\(port)" }

    /// A proxy in front of `target`.
    public init(target: Int) throws {
        guard let listening = LoopbackSocket.listen() else { throw CommandError(text: "no port is free") }
        (listener, port) = listening
        open.withLock { $0 = [listener] }
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0, let server = LoopbackSocket.connect(port: target) else { return }
                open.withLock { $0 += [client, server] }
                for (from, to) in [(client, server), (server, client)] {
                    Thread.detachNewThread { Self.copy(from, to) }
                }
            }
        }
    }

    /// Ends every connection at once and accepts no more.
    public func cut() {
        open.withLock { descriptors in
            // Shut down, not closed: the copying threads still hold the numbers.
            for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
            descriptors = []
        }
    }

    private static func copy(_ from: Int32, _ to: Int32) {
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = recv(from, &bytes, bytes.count, 0)
            guard count > 0, send(to, bytes, count, Int32(MSG_NOSIGNAL)) == count else { break }
        }
        shutdown(to, Int32(SHUT_RDWR))
    }
}
