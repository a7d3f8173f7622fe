// What can stand at an address instead of a node: something that accepts and says nothing, something that
// hangs up, something that does not speak TLS.

import Foundation
import ManagementFixture

/// A TCP listener on a free port of 127.0.0.1 that is not a node. Closes with the last reference.
final class OddListener: Sendable {
    enum Manner: Sendable { case silent, closes, plainHTTP }

    let port: Int
    private let descriptor: Int32

    var url: String { "https://127.0.0.1:\(port)" }

    init(_ manner: Manner) throws {
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        descriptor = listening
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(listening, generic, length) == 0 && listen(listening, 16) == 0
                    && getsockname(listening, generic, &length) == 0
            }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        guard bound else { throw CommandError(text: "no port can be listened on") }
        // A silent listener accepts nothing: the kernel completes the connection and that is all.
        guard manner != .silent else { return }
        Thread.detachNewThread {
            while true {
                let connection = accept(listening, nil, nil)
                guard connection >= 0 else { return }
                if manner == .plainHTTP {
                    var bytes = [UInt8](repeating: 0, count: 4_096)
                    _ = read(connection, &bytes, bytes.count)
                    let answer = Array("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".utf8)
                    _ = write(connection, answer, answer.count)
                }
                close(connection)
            }
        }
    }

    deinit {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }
}
