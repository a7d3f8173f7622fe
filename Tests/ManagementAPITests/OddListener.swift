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
        guard let (listening, port) = LoopbackSocket.listen() else {
            throw CommandError(text: "no port is free")
        }
        descriptor = listening
        self.port = port
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
