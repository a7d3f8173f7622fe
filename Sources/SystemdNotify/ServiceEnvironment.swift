// What systemd hands to a service at its start: sockets that already listen (so that a restart refuses no
// connection) and a folder of credentials that only this service can read (so that no PIN stands in an
// environment variable or on a command line). Source: sd_listen_fds(3), systemd.exec(5) "CREDENTIALS".

import CSystemd
import Glibc

/// A listening socket that systemd opened for us.
public struct InheritedSocket: Hashable, Sendable {
    /// The name given by `FileDescriptorName=`, else the socket unit's name.
    public var name: String
    /// The descriptor, close-on-exec. Who takes it closes it.
    public var descriptor: Int32

    /// A socket of that name.
    public init(name: String, descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
    }
}

/// Why what systemd handed over can't be used.
public enum ServiceEnvironmentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// LISTEN_FDS is set but the descriptors aren't there; the errno of libsystemd.
    case socketsUnusable(errno: Int32)
    /// A credential's name is empty or contains a slash.
    case credentialNameInvalid(String)

    /// One line: what is wrong and what to do.
    public var description: String {
        switch self {
        case .socketsUnusable(let number):
            "the sockets that LISTEN_FDS announces cannot be used (errno \(number)): check the socket unit"
        case .credentialNameInvalid(let name):
            "\(name.debugDescription) is no name of a credential: use the name given to LoadCredential="
        }
    }
}

/// What the service manager prepared for this process.
public enum ServiceEnvironment {
    /// The sockets of socket activation, in the unit's order; none when not activated by a socket.
    /// - Throws: `.socketsUnusable`.
    public static func inheritedSockets() throws(ServiceEnvironmentError) -> [InheritedSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(0, &names)
        guard count >= 0 else { throw .socketsUnusable(errno: -count) }
        defer {
            for index in 0..<Int(count) { free(names?[index]) }
            free(names)
        }
        return (0..<count).map { index in
            let name = names?[Int(index)].map { String(cString: $0) } ?? "unknown"
            return InheritedSocket(name: name, descriptor: SD_LISTEN_FDS_START + index)
        }
    }

    /// The file of a credential given by `LoadCredential=` or `SetCredential=`.
    /// - Returns: nil when the service has no credentials or none of this name.
    /// - Throws: `.credentialNameInvalid`.
    public static func credentialPath(named name: String) throws(ServiceEnvironmentError) -> String? {
        try credentialPath(named: name, folder: getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) })
    }

    static func credentialPath(
        named name: String, folder: String?
    ) throws(ServiceEnvironmentError) -> String? {
        guard !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
            throw .credentialNameInvalid(name)
        }
        guard let folder else { return nil }
        let path = folder + "/" + name
        return access(path, R_OK) == 0 ? path : nil
    }

    /// Whether standard error goes to the journal: JOURNAL_STREAM names the device and inode that systemd
    /// connected, and only if they still are those of descriptor 2 nobody has redirected it since.
    public static var isStandardErrorTheJournal: Bool {
        guard let value = getenv("JOURNAL_STREAM") else { return false }
        return isJournalStream(String(cString: value), descriptor: STDERR_FILENO)
    }

    static func isJournalStream(_ value: String, descriptor: Int32) -> Bool {
        let parts = value.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let device = UInt64(parts[0]), let inode = UInt64(parts[1]) else {
            return false
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        return UInt64(status.st_dev) == device && UInt64(status.st_ino) == inode
    }
}
