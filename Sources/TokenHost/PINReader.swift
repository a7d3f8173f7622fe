import ClusterModel
import Glibc
import PKCS11
import TokenHostLink

// The PIN's only way into the process. A file's content goes straight from read(2) into memory that is
// locked against swapping and zeroed afterwards. Of a file that others may read, or that is no plain file,
// nothing is used: the error tells what to do.

/// Reads PINs from their source.
struct PINReader {
    /// The source as configured.
    let source: PINSource

    /// What identifies the source's present content without reading it. Nil for a source that has no such
    /// thing, or isn't there.
    func fingerprint() -> [UInt64]? {
        guard let path = try? filePath() else { return nil }
        return SystemFile.fingerprint(path)
    }

    /// The PIN as it stands in the source now.
    func read() throws(EndpointFailure) -> SecretBytes {
        var pin: SecretBytes
        if let path = try filePath() {
            pin = try readFile(path)
        } else {
            pin = try readVariable()
        }
        pin.removeTrailingNewlines()
        let isEmpty = pin.count == 0
        let hasZero = pin.withUnsafeBytes { $0.contains(0) }
        if isEmpty { throw unavailable("\(name) is empty: put the PIN into it") }
        if hasZero { throw unavailable("\(name) holds a zero byte, which no PIN has") }
        return pin
    }

    /// What the source is called in messages.
    var name: String {
        switch source {
        case .file(let path): "the PIN file \(path)"
        case .environment(let name): "the environment variable \(name)"
        case .credential(let name): "the systemd credential \(name)"
        }
    }

    private func filePath() throws(EndpointFailure) -> String? {
        switch source {
        case .file(let path): return path
        case .environment: return nil
        case .credential(let name):
            guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "/")) else {
                throw unavailable("'\(name)' is no name of a systemd credential")
            }
            guard let directory = getenv("CREDENTIALS_DIRECTORY") else {
                throw unavailable(
                    "CREDENTIALS_DIRECTORY isn't set: name the credential in LoadCredential= of the unit")
            }
            return String(cString: directory) + "/" + name
        }
    }

    private func readFile(_ path: String) throws(EndpointFailure) -> SecretBytes {
        let descriptor: Int32
        do {
            descriptor = try SystemFile.open(path, O_RDONLY | O_NONBLOCK)
        } catch {
            throw unavailable("\(name) can't be read: \(error)")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw unavailable("\(name) can't be read: \(SystemCallError("fstat"))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unavailable("\(name) is no plain file") }
        guard status.st_mode & 0o007 == 0 else {
            throw unavailable("\(name) is open to every user: chmod 600 it")
        }
        let capacity = PINHash.longestPIN + 2
        return try SecretBytes(capacity: capacity) { buffer throws(EndpointFailure) in
            if let base = buffer.baseAddress { mlock(base, buffer.count) }
            var filled = 0
            while filled < buffer.count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                let count = Glibc.read(descriptor, rest.baseAddress, rest.count)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else {
                    throw unavailable("\(name) can't be read: \(SystemCallError("read"))")
                }
                if count == 0 { return filled }
                filled += count
            }
            throw unavailable("\(name) is longer than a PIN may be (\(PINHash.longestPIN) bytes)")
        }
    }

    private func readVariable() throws(EndpointFailure) -> SecretBytes {
        guard case .environment(let variable) = source, let value = getenv(variable) else {
            throw unavailable("\(name) isn't set: set it for hsmclusterd and restart it")
        }
        let length = strlen(value)
        guard length <= PINHash.longestPIN else { throw unavailable("\(name) is longer than a PIN may be") }
        return SecretBytes(capacity: length) { buffer in
            if let base = buffer.baseAddress {
                mlock(base, buffer.count)
                memcpy(base, value, min(length, buffer.count))
            }
            return length
        }
    }

    private func unavailable(_ detail: String) -> EndpointFailure {
        EndpointFailure(.pinUnavailable, detail: detail)
    }
}
