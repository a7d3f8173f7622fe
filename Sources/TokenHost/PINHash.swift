import CCrypt
import Glibc
import PKCS11

// A node must recognize a PIN that was rejected without keeping the PIN. yescrypt (crypt(5), the scheme of
// Debian's own passwords) makes guessing costly even for a short PIN. Its working memory is zeroed here.

/// Hashes of PINs. Takes tens of milliseconds and some megabytes each; usable from any thread.
enum PINHash {
    private static let scheme = "$y$"
    /// The longest PIN that can be hashed; crypt(3) takes 511 bytes.
    static let longestPIN = 500

    /// A salted hash of `pin`; nil when crypt(3) refuses (no entropy, or a PIN with a zero byte).
    static func make(_ pin: borrowing SecretBytes) -> String? {
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        // Count 0 is the library's own cost, and no bytes given makes it ask the kernel for entropy.
        guard crypt_gensalt_rn(scheme, 0, nil, 0, &setting, Int32(setting.count)) != nil else { return nil }
        return hash(pin, setting: setting)
    }

    /// True when `hash` was made of this very PIN.
    static func matches(_ pin: borrowing SecretBytes, _ hash: String) -> Bool {
        guard let computed = self.hash(pin, setting: hash.utf8CString.map { $0 }) else { return false }
        return computed == hash
    }

    private static func hash(_ pin: borrowing SecretBytes, setting: [CChar]) -> String? {
        let phrase = UnsafeMutableRawPointer.allocate(byteCount: longestPIN + 1, alignment: 1)
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        memset(phrase, 0, longestPIN + 1)
        memset(data, 0, MemoryLayout<crypt_data>.size)
        mlock(phrase, longestPIN + 1)
        defer {
            explicit_bzero(phrase, longestPIN + 1)
            explicit_bzero(data, MemoryLayout<crypt_data>.size)
            munlock(phrase, longestPIN + 1)
            phrase.deallocate()
            data.deallocate()
        }
        let isHashable = pin.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, bytes.count <= longestPIN, !bytes.contains(0) else {
                return false
            }
            memcpy(phrase, base, bytes.count)
            return true
        }
        guard isHashable else { return nil }
        let size = Int32(MemoryLayout<crypt_data>.size)
        let text = phrase.assumingMemoryBound(to: CChar.self)
        guard let result = crypt_rn(text, setting, data, size) else { return nil }
        return String(cString: result)
    }
}
