import Dispatch
import Glibc

// The node's end of a link to a token host: messages in, messages out, nothing blocks. What the other side
// doesn't read at once is kept up to a bound; beyond it the link is of no use. Both Dispatch sources are made
// and cancelled on the supervisor's queue, and the descriptor is closed only after both cancel handlers ran,
// as libdispatch demands.

/// A non-blocking connection that carries messages. Confined to `queue`.
final class TokenHostChannel {
    private static let readBytes = 64 << 10
    /// Reads per wake-up, so that one talkative link leaves room for others on the queue.
    private static let readsPerWakeUp = 16

    private let descriptor: Int32
    private let readSource: any DispatchSourceRead
    private let writeSource: any DispatchSourceWrite
    private var reader = TokenHostFrameReader(bound: TokenHostLimits.replyBytes)
    private var outgoing: [UInt8] = []
    private var written = 0
    private var isWriteSourceActive = false
    private var isOpen = true
    private let onMessage: (TokenHostMessage) -> Void
    private let onClose: (String) -> Void

    /// Takes over a connected non-blocking descriptor. The handlers run on `queue`; `onClose` at most once,
    /// and not after `close()`.
    init(
        descriptor: Int32, queue: DispatchQueue, onMessage: @escaping (TokenHostMessage) -> Void,
        onClose: @escaping (String) -> Void
    ) {
        self.descriptor = descriptor
        self.onMessage = onMessage
        self.onClose = onClose
        readSource = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        writeSource = DispatchSource.makeWriteSource(fileDescriptor: descriptor, queue: queue)
        let group = DispatchGroup()
        group.enter()
        group.enter()
        readSource.setCancelHandler { group.leave() }
        writeSource.setCancelHandler { group.leave() }
        group.notify(queue: queue) { Glibc.close(descriptor) }
    }

    deinit { close() }

    /// Begins to read. Once.
    func start() {
        readSource.setEventHandler { [weak self] in self?.readAvailable() }
        writeSource.setEventHandler { [weak self] in self?.flush() }
        readSource.activate()
    }

    /// Sends a frame or keeps it until it can be sent; false when it is not accepted: the link is closed,
    /// or too much is waiting.
    func send(_ frame: [UInt8]) -> Bool {
        guard isOpen, outgoing.count - written + frame.count <= TokenHostLimits.outgoingBytes else {
            return false
        }
        if written > 0 {
            outgoing.removeFirst(written)
            written = 0
        }
        outgoing.append(contentsOf: frame)
        if !isWriteSourceActive { flush() }
        return isOpen
    }

    /// Ends the link; calls no handler.
    func close() {
        guard isOpen else { return }
        isOpen = false
        readSource.activate()
        readSource.cancel()
        if !isWriteSourceActive { writeSource.resume() }
        writeSource.cancel()
    }

    private func fail(_ reason: String) {
        guard isOpen else { return }
        close()
        onClose(reason)
    }

    private func readAvailable() {
        var chunk = [UInt8](repeating: 0, count: Self.readBytes)
        for _ in 0..<Self.readsPerWakeUp {
            guard isOpen else { return }
            let count = read(descriptor, &chunk, chunk.count)
            if count > 0 {
                reader.append(chunk[..<count])
                deliver()
                continue
            }
            if count == 0 { return fail("the token host closed the connection") }
            switch errno {
            case EINTR: continue
            case EAGAIN: return
            default: return fail("\(SystemCallError("read"))")
            }
        }
    }

    private func deliver() {
        do {
            while isOpen, let message = try reader.next() { onMessage(message) }
        } catch {
            fail("\(error)")
        }
    }

    private func flush() {
        while isOpen && written < outgoing.count {
            // MSG_NOSIGNAL: a token host that just died must not end the node with SIGPIPE.
            let count = outgoing[written...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                written += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: return setWriting(true)
            default: return fail("\(SystemCallError("send"))")
            }
        }
        guard isOpen else { return }
        outgoing.removeAll(keepingCapacity: outgoing.count <= Self.readBytes)
        written = 0
        setWriting(false)
    }

    private func setWriting(_ wanted: Bool) {
        guard wanted != isWriteSourceActive else { return }
        isWriteSourceActive = wanted
        if wanted { writeSource.resume() } else { writeSource.suspend() }
    }
}
