// TCP delivers bytes, not frames: a read may end inside a header, or hold a hundred frames. The parser
// is pure and incremental: append whatever came, take out whatever is complete. It refuses a frame as
// soon as its header is known to be wrong, before any of the payload is stored, and once it has refused
// it stays refused, because after a bad header nobody knows where the next frame begins.

/// Why bytes can't be frames.
public enum FrameFault: Error, Hashable, Sendable {
    /// The header announces more bytes than this link allows.
    case tooLarge(announced: Int, limit: Int)
    /// The header has a layout that this version doesn't know.
    case unknownLayout(UInt16)
}

/// Cuts a stream of bytes into frames.
public struct FrameParser: Sendable {
    /// The largest payload accepted, in bytes. May change between frames.
    public var maxFrameBytes: Int
    private var buffer: [UInt8] = []
    private var start = 0
    private var fault: FrameFault?

    /// A parser that refuses payloads above `maxFrameBytes`.
    public init(maxFrameBytes: Int) { self.maxFrameBytes = maxFrameBytes }

    /// Bytes held that no complete frame has claimed yet.
    public var bufferedBytes: Int { buffer.count - start }

    /// Takes in the next bytes of the stream.
    public mutating func append(_ bytes: some Collection<UInt8>) {
        guard fault == nil else { return }
        compact()
        buffer.append(contentsOf: bytes)
    }

    /// The next complete frame, or nil when more bytes are needed.
    /// - Throws: the fault that ends this stream; the same again on every later call.
    public mutating func next() throws(FrameFault) -> Frame? {
        if let fault { throw fault }
        guard bufferedBytes >= 4 else { return nil }
        let length = Int(number(at: 0, bytes: 4))
        guard length <= maxFrameBytes else {
            throw refuse(.tooLarge(announced: length, limit: maxFrameBytes))
        }
        guard bufferedBytes >= 6 else { return nil }
        let layout = UInt16(number(at: 4, bytes: 2))
        guard layout == Frame.layoutVersion else { throw refuse(.unknownLayout(layout)) }
        guard bufferedBytes >= Frame.headerBytes + length else { return nil }
        let kind = UInt16(number(at: 6, bytes: 2))
        let payloadStart = start + Frame.headerBytes
        let frame = Frame(kind: kind, payload: Array(buffer[payloadStart..<(payloadStart + length)]))
        start = payloadStart + length
        return frame
    }

    private mutating func refuse(_ found: FrameFault) -> FrameFault {
        fault = found
        buffer = []
        start = 0
        return found
    }

    private func number(at offset: Int, bytes: Int) -> UInt32 {
        buffer[(start + offset)..<(start + offset + bytes)].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Moves the unclaimed bytes to the front once they are the smaller part, so that the cost of moving
    /// stays proportional to the bytes received.
    private mutating func compact() {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= FrameParser.keptCapacity)
            start = 0
        } else if start > buffer.count / 2 {
            buffer.removeSubrange(0..<start)
            start = 0
        }
    }

    /// An empty buffer larger than this, in bytes, is given back rather than kept.
    private static let keptCapacity = 256 * 1024
}
