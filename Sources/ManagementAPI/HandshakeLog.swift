// A client whose certificate is refused sees a bare TLS alert; the reason stands in the node's log, where an
// administrator looks for it. Anybody who reaches the port can cause such lines, so they are limited.

import Logging
import NIOCore
import NIOSSL
import Synchronization

/// Writes at most one line a second about failed handshakes, with the number of those left out.
final class HandshakeLog: Sendable {
    private struct State {
        var last: ContinuousClock.Instant?
        var leftOut = 0
    }

    private let logger: Logger
    private let state = Mutex(State())

    init(logger: Logger) { self.logger = logger }

    func failed(_ reason: String, from address: String) {
        let leftOut: Int? = state.withLock { state in
            let now = ContinuousClock.now
            if let last = state.last, now - last < .seconds(1) {
                state.leftOut += 1
                return nil
            }
            defer { state = State(last: now) }
            return state.leftOut
        }
        guard let leftOut else { return }
        logger.notice(
            "TLS connection refused",
            metadata: ["address": "\(address)", "reason": "\(reason)", "left-out": "\(leftOut)"])
    }
}

/// Sees the errors that the TLS handler passes up one connection's pipeline.
final class HandshakeFailureHandler: ChannelInboundHandler, RemovableChannelHandler {
    // It reads nothing, whatever passes.
    typealias InboundIn = Never

    private let log: HandshakeLog

    init(log: HandshakeLog) { self.log = log }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOSSLError, case .handshakeFailed(let reason) = error {
            log.failed(
                "\(reason)".quotableReason, from: "\(context.channel.remoteAddress?.description ?? "-")")
        }
        context.fireErrorCaught(error)
    }
}

extension String {
    /// The first 200 characters: OpenSSL's reasons can be long, and say the important things first.
    fileprivate var quotableReason: String { String(prefix(200)) }
}
