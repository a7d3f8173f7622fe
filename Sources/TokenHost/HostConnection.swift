import Glibc
import TokenHostLink

// One link to a node (or to another program of the same user), seen from the token host. It is driven by the
// serving thread's poll(2). A reader that is too slow costs a bounded buffer and then its link; one that
// sends garbage or too large frames is cut off; neither disturbs the others.

/// A non-blocking link. Confined to the serving thread.
final class HostConnection {
    /// The fault of a link that the other side ended.
    static let farewell = "closed by the other side"
    private static let readBytes = 64 << 10
    /// Reads per turn, so that one talkative link leaves room for others.
    private static let readsPerTurn = 16

    let number: UInt64
    let descriptor: Int32
    /// True once the other side has said an acceptable hello.
    var isGreeted = false
    /// The link is of no use any more, for this reason.
    private(set) var fault: String?
    private var reader = TokenHostFrameReader(bound: TokenHostLimits.requestBytes)
    private var outgoing: [UInt8] = []
    private var written = 0

    /// Takes over a non-blocking descriptor.
    init(number: UInt64, descriptor: Int32) {
        self.number = number
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// What poll(2) should watch for.
    var interest: Int16 { Int16(POLLIN) | (written < outgoing.count ? Int16(POLLOUT) : 0) }

    /// Reads what is there.
    func readAvailable() -> [TokenHostMessage] {
        var messages: [TokenHostMessage] = []
        var chunk = [UInt8](repeating: 0, count: Self.readBytes)
        for _ in 0..<Self.readsPerTurn where fault == nil {
            let count = read(descriptor, &chunk, chunk.count)
            if count > 0 {
                reader.append(chunk[..<count])
                collect(into: &messages)
            } else if count == 0 {
                fault = Self.farewell
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                fault = "\(SystemCallError("read"))"
            }
        }
        return messages
    }

    private func collect(into messages: inout [TokenHostMessage]) {
        do throws(TokenHostProtocolError) {
            while let message = try reader.next() { messages.append(message) }
        } catch {
            fault = error.description
        }
    }

    /// Sends a message, or as much of it as fits now. False when it is too large for any reader.
    func send(_ message: TokenHostMessage) -> Bool {
        guard fault == nil else { return true }
        guard let frame = TokenHostFrame.encode(message, bound: TokenHostLimits.replyBytes) else {
            return false
        }
        guard outgoing.count - written + frame.count <= TokenHostLimits.outgoingBytes else {
            fault = TokenHostProtocolError.readerTooSlow.description
            return true
        }
        if written > 0 {
            outgoing.removeFirst(written)
            written = 0
        }
        outgoing.append(contentsOf: frame)
        flush()
        return true
    }

    /// Sends what waits, as far as it fits.
    func flush() {
        while fault == nil && written < outgoing.count {
            let count = outgoing[written...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                written += count
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                fault = "\(SystemCallError("send"))"
            }
        }
        guard written == outgoing.count else { return }
        outgoing.removeAll(keepingCapacity: outgoing.count <= Self.readBytes)
        written = 0
    }

    /// Ends the link at the next opportunity.
    func give(up reason: String) { fault = fault ?? reason }
}
