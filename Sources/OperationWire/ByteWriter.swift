// Fixed-width little-endian numbers and length-prefixed bytes: the least work for two processes of one machine that
// exchange a message for every signature. Whoever wants a self-describing format takes `WireFormat`.

/// Appends values to a buffer that grows. The bytes may hold passwords: see `wipe()`.
public struct ByteWriter: Sendable {
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []

    /// An empty buffer.
    /// - Parameter capacity: How many bytes are expected. When they suffice, nothing is copied on the way, so
    ///   that `wipe()` reaches every copy.
    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Appends one byte.
    public mutating func write(_ value: UInt8) { bytes.append(value) }
    /// Appends 1 for true, 0 for false.
    public mutating func write(_ value: Bool) { bytes.append(value ? 1 : 0) }
    /// Appends four bytes.
    public mutating func write(_ value: UInt32) { append(value.littleEndian) }
    /// Appends eight bytes.
    public mutating func write(_ value: UInt64) { append(value.littleEndian) }

    /// Appends a length of four bytes and the bytes.
    public mutating func write(_ value: [UInt8]) {
        write(UInt32(truncatingIfNeeded: value.count))
        bytes.append(contentsOf: value)
    }

    /// Appends a length of four bytes and the text as UTF-8.
    public mutating func write(_ value: String) {
        write(UInt32(truncatingIfNeeded: value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    /// Appends bytes without a length.
    public mutating func append(_ value: [UInt8]) { bytes.append(contentsOf: value) }

    /// Overwrites four bytes at an offset that was written before; does nothing beyond the end.
    public mutating func overwrite(_ value: UInt32, at offset: Int) {
        guard offset >= 0, offset + 4 <= bytes.count else { return }
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }

    /// Overwrites all that was written with zeros, then forgets it.
    public mutating func wipe() {
        bytes.wipe()
        bytes.removeAll(keepingCapacity: true)
    }

    private mutating func append<Number: FixedWidthInteger>(_ value: Number) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }
}

extension [UInt8] {
    /// Overwrites the bytes with zeros, in a way that the optimizer does not remove. Copies that share the
    /// storage are not reached: whoever holds a secret has to be its only holder.
    public mutating func wipe() {
        withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            Self.overwrite(start, bytes.count)
        }
    }

    @inline(never) @_optimize(none)
    private static func overwrite(_ start: UnsafeMutableRawPointer, _ count: Int) {
        for offset in 0..<count { start.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self) }
    }
}
