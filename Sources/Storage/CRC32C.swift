// CRC-32C (Castagnoli; RFC 3720 appendix B.4), the checksum that iSCSI, ext4 and most write-ahead logs use.
// It finds every burst error up to 32 bits. A table of 256 entries is enough: records are small and the
// sync after them costs a thousand times more.

/// The CRC-32C checksum.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in
            value & 1 == 1 ? (value >> 1) ^ 0x82F6_3B78 : value >> 1
        }
    }

    /// The checksum of what `previous` covered followed by `bytes`; start with 0.
    static func checksum(_ bytes: some Sequence<UInt8>, continuing previous: UInt32 = 0) -> UInt32 {
        table.withUnsafeBufferPointer { table in
            var value = ~previous
            for byte in bytes { value = (value >> 8) ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)] }
            return ~value
        }
    }
}
