internal import CCryptoki
internal import Glibc

// The provider's configuration: lines of `key = value`, since it is read in the application's process by code that should
// stay small. HSMCLUSTER_PROVIDER_CONF names the file, except in a process that runs with raised privileges. A file that is not
// there means the defaults; one that has an error makes C_Initialize fail, for a setting that is not obeyed may matter.

/// What the library itself is told.
struct LibrarySettings: Hashable {
    /// Who logs in when the PIN names nobody.
    var defaultUser: [UInt8] = []
    /// How long an operation may take, in milliseconds; nil for what the directory says.
    var deadlineMilliseconds: UInt32?
    /// How long one endpoint is waited for before the next is asked, in milliseconds; nil for what the directory says.
    var hedgeMilliseconds: UInt32?
}

/// The provider's settings.
struct ProviderConfiguration: Hashable {
    /// Where the node publishes its directory (`run-directory`).
    var runDirectory = "/var/lib/hsmcluster/run"
    /// `default-user`, `deadline-milliseconds` and `hedge-milliseconds`.
    var settings = LibrarySettings()

    /// The file that is read when the environment names none.
    static let standardPath = "/etc/hsmcluster/provider.conf"

    /// Reads settings.
    /// - Returns: nil when a line is not `key = value`, or the key is unknown or stands there twice.
    init?(text: String) {
        var seen: Set<String> = []
        for line in text.split(separator: "\n") {
            let content = line.prefix { $0 != "#" }.trimmingSpaces()
            guard !content.isEmpty else { continue }
            guard let equals = content.firstIndex(of: "=") else { return nil }
            let key = String(content[..<equals].trimmingSpaces())
            let value = String(content[content.index(after: equals)...].trimmingSpaces())
            guard !value.isEmpty, seen.insert(key).inserted else { return nil }
            switch key {
            case "run-directory": runDirectory = value
            case "default-user": settings.defaultUser = Array(value.utf8)
            case "deadline-milliseconds":
                guard let number = Self.milliseconds(value) else { return nil }
                settings.deadlineMilliseconds = number
            case "hedge-milliseconds":
                guard let number = Self.milliseconds(value) else { return nil }
                settings.hedgeMilliseconds = number
            default: return nil
            }
        }
    }

    /// A time of at least a millisecond and at most ten minutes.
    private static func milliseconds(_ text: String) -> UInt32? {
        guard let number = UInt32(text), (1...600_000).contains(number) else { return nil }
        return number
    }

    /// Reads the configuration file.
    static func load() throws(Refusal) -> ProviderConfiguration {
        let named = secure_getenv("HSMCLUSTER_PROVIDER_CONF").map { String(cString: $0) }
        guard let bytes = readFile(named ?? standardPath, limit: ProviderLimits.configurationBytes) else {
            guard named == nil, errno == ENOENT, let standard = ProviderConfiguration(text: "") else {
                throw Refusal(CKR_GENERAL_ERROR)
            }
            return standard
        }
        guard let text = String(validating: bytes, as: UTF8.self),
            let configuration = ProviderConfiguration(text: text)
        else { throw Refusal(CKR_GENERAL_ERROR) }
        return configuration
    }
}

extension Substring {
    fileprivate func trimmingSpaces() -> Substring {
        var rest = self
        while let first = rest.first, first == " " || first == "\t" || first == "\r" {
            rest = rest.dropFirst()
        }
        while let last = rest.last, last == " " || last == "\t" || last == "\r" { rest = rest.dropLast() }
        return rest
    }
}

/// Reads a whole file; nil when it cannot be read or is longer than `limit`.
func readFile(_ path: String, limit: Int) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_size <= limit else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(status.st_size))
    var piece = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= limit {
        let count = read(descriptor, &piece, piece.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: piece[..<count])
    }
    return nil
}
