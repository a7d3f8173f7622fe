// The opposite of `ByteWriter`, for bytes that a hostile process may have written: every length is checked against
// what is left and against its bound before memory is set aside.

/// Reads values from bytes that stay in place while it lives.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    /// Reads from the start of `bytes`, which nobody may change meanwhile: copy them out of shared memory first.
    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// How many bytes are left.
    public var remaining: Int { bytes.count - offset }

    /// Reads one byte.
    public mutating func byte() throws(WireError) -> UInt8 { try number() }
    /// Reads four bytes.
    public mutating func uint32() throws(WireError) -> UInt32 { UInt32(littleEndian: try number()) }
    /// Reads eight bytes.
    public mutating func uint64() throws(WireError) -> UInt64 { UInt64(littleEndian: try number()) }

    /// Reads a byte that has to be 0 or 1.
    public mutating func bool() throws(WireError) -> Bool {
        let value = try byte()
        guard value <= 1 else { throw .unknownTag(UInt64(value)) }
        return value == 1
    }

    /// Reads a count of four bytes.
    /// - Parameters:
    ///   - limit: The most that is taken.
    ///   - elementBytes: The fewest bytes of one element, so that a count that cannot be true costs no memory.
    public mutating func count(limit: Int, elementBytes: Int = 1) throws(WireError) -> Int {
        let count = Int(try uint32())
        guard count <= limit else { throw .tooLarge }
        guard count <= remaining / max(elementBytes, 1) else { throw .truncated }
        return count
    }

    /// Reads a length of four bytes and as many bytes.
    public mutating func bytes(limit: Int) throws(WireError) -> [UInt8] {
        let count = try count(limit: limit)
        let slice = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
        offset += count
        return [UInt8](slice)
    }

    /// Reads a length of four bytes and as many bytes of UTF-8.
    public mutating func text(limit: Int) throws(WireError) -> String {
        let raw = try bytes(limit: limit)
        guard let text = String(validating: raw, as: UTF8.self) else { throw .notText }
        return text
    }

    /// Reads bytes that have to be exactly these.
    public mutating func expect(_ expected: [UInt8]) throws(WireError) {
        guard remaining >= expected.count else { throw .truncated }
        for value in expected where try byte() != value { throw .wrongFormat }
    }

    /// Checks that nothing is left.
    public func end() throws(WireError) {
        guard remaining == 0 else { throw .trailingBytes }
    }

    private mutating func number<Number: FixedWidthInteger>() throws(WireError) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw .truncated }
        defer { offset += size }
        return bytes.loadUnaligned(fromByteOffset: offset, as: Number.self)
    }
}
