internal import CSharedMemory
internal import Glibc

// A mapping of memory that another process may change at any moment. All access goes through here: words are
// read and written atomically, bytes are copied out before anybody looks at them.

/// A mapped range, unmapped when it goes away. Usable from any thread.
// Sendable: the pointer never changes; the memory behind it is shared with another process anyway, and is
// reached only through atomic words and copies whose content nobody trusts.
final class SharedMemory: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    private let length: Int

    /// Maps the first `length` bytes of a descriptor, which stays the caller's.
    init?(descriptor: Int32, length: Int, isWritable: Bool) {
        let protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ
        guard let mapped = mmap(nil, length, protection, MAP_SHARED, descriptor, 0), mapped != MAP_FAILED
        else {
            return nil
        }
        base = mapped
        self.length = length
    }

    deinit { munmap(base, length) }

    func word(_ offset: Int) -> UnsafeMutableRawPointer { base + offset }
    func load32(_ offset: Int) -> UInt32 { CSharedMemory_load32(base + offset) }
    func store32(_ offset: Int, _ value: UInt32) { CSharedMemory_store32(base + offset, value) }
    func exchange32(_ offset: Int, _ value: UInt32) -> UInt32 {
        CSharedMemory_exchange32(base + offset, value)
    }
    func swap32(_ offset: Int, _ expected: UInt32, _ desired: UInt32) -> Bool {
        CSharedMemory_swap32(base + offset, expected, desired) != 0
    }
    func load64(_ offset: Int) -> UInt64 { CSharedMemory_load64(base + offset) }
    func store64(_ offset: Int, _ value: UInt64) { CSharedMemory_store64(base + offset, value) }
    func setBits(_ offset: Int, _ bits: UInt64) -> UInt64 { CSharedMemory_or64(base + offset, bits) }
    func clearBits(_ offset: Int, _ bits: UInt64) -> UInt64 { CSharedMemory_and64(base + offset, ~bits) }

    /// Copies bytes out and zeroes them where they were.
    func take(_ offset: Int, into target: UnsafeMutableRawBufferPointer) {
        guard let start = target.baseAddress else { return }
        memcpy(start, base + offset, target.count)
        explicit_bzero(base + offset, target.count)
    }

    /// Copies bytes in.
    func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        guard let start = bytes.baseAddress else { return }
        memcpy(base + offset, start, bytes.count)
    }

    /// Memory of a fixed size that other processes can map: the descriptor, which is the caller's.
    static func make(_ name: String, length: Int) -> Int32? {
        let descriptor = CSharedMemory_memfd(name)
        guard descriptor >= 0 else { return nil }
        let seals = CSharedMemory_seal_shrink | CSharedMemory_seal_grow
        guard ftruncate(descriptor, length) == 0, CSharedMemory_add_seals(descriptor, seals) == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    /// Forbids new mappings for writing, and any change to the seals.
    static func makeReadOnly(_ descriptor: Int32) -> Bool {
        CSharedMemory_add_seals(descriptor, CSharedMemory_seal_future_write | CSharedMemory_seal_seal) == 0
    }

    /// True when the memory has this length and can't lose it.
    static func isFixed(_ descriptor: Int32, length: Int) -> Bool {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size == length else { return false }
        return CSharedMemory_get_seals(descriptor) & CSharedMemory_seal_shrink != 0
    }
}

/// This machine's monotonic clock, which all its processes share.
public enum RingClock {
    /// Nanoseconds of CLOCK_MONOTONIC.
    public static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
