// A PIN in memory. It has one owner (it can't be copied by assignment), is wiped when that owner lets go of it,
// and has no printable form, so it can't slip into a log or an error by interpolation.

import Glibc

// @unchecked is safe: the buffer has exactly one owner, is written only through `mutating` members and
// initializers, and nothing outside keeps a pointer to it.
/// A short secret, such as a PIN: at most `Limits.secretBytes` bytes, zeroed when it goes away.
public struct SecretBytes: ~Copyable, @unchecked Sendable {
    private let buffer: UnsafeMutableBufferPointer<UInt8>
    /// How many bytes there are.
    public private(set) var count: Int

    private init(capacity: Int) {
        buffer = .allocate(capacity: max(capacity, 1))
        buffer.initialize(repeating: 0)
        count = 0
    }

    /// Fills a new secret in place, so that reading it from a file leaves no other copy. `fill` gets a zeroed
    /// buffer of `capacity` bytes (cut to `Limits.secretBytes`) and returns how many of them it has written.
    public init<Failure: Error>(
        capacity: Int, filling fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        self.init(capacity: min(capacity, Limits.secretBytes))
        count = min(max(0, try fill(UnsafeMutableRawBufferPointer(buffer))), buffer.count)
    }

    /// Takes the bytes over and zeroes the array they came from. Nil, with the array zeroed all the same,
    /// when there are more than `Limits.secretBytes`.
    public init?(moving bytes: inout [UInt8]) {
        let fits = bytes.count <= Limits.secretBytes
        self.init(capacity: fits ? bytes.count : 0)
        if fits {
            count = bytes.count
            _ = buffer.update(fromContentsOf: bytes)
        }
        bytes.wipe()
        guard fits else { return nil }
    }

    /// Another copy, for a second owner.
    public func copy() -> SecretBytes {
        var copy = SecretBytes(capacity: count)
        copy.count = count
        _ = copy.buffer.update(fromContentsOf: buffer[..<count])
        return copy
    }

    /// Lends the bytes for the length of a call; keep no pointer to them.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: buffer.baseAddress, count: count))
    }

    /// Drops line ends at the end, as a file written by an editor has them.
    public mutating func removeTrailingNewlines() {
        while count > 0, buffer[count - 1] == 0x0A || buffer[count - 1] == 0x0D {
            count -= 1
            buffer[count] = 0
        }
    }

    /// True when both hold the same bytes. The time taken tells only whether the lengths differ.
    public func matches(_ other: borrowing SecretBytes) -> Bool {
        guard count == other.count else { return false }
        var difference: UInt8 = 0
        for index in 0..<count { difference |= buffer[index] ^ other.buffer[index] }
        return difference == 0
    }

    deinit {
        wipe(UnsafeMutableRawBufferPointer(buffer))
        buffer.deallocate()
    }
}

/// Zeroes memory in a way that the optimizer keeps.
func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    explicit_bzero(base, bytes.count)
}

extension [UInt8] {
    /// Zeroes the bytes in a way that the optimizer keeps, and empties the array. Only this copy: keep one.
    public mutating func wipe() {
        withUnsafeMutableBytes { PKCS11.wipe($0) }
        removeAll()
    }
}
