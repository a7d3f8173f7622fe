// The file system side: reading a bounded file, resolving paths, and looking whether PEM files can be read
// before somebody else fails on them with a worse message.

import Glibc

/// Resolves paths of a configuration file relative to the file's folder.
struct PathResolver {
    let folder: String

    init(file: String) {
        let absolute = file.hasPrefix("/") ? file : "\(Self.currentDirectory)/\(file)"
        folder = String(absolute[..<(absolute.lastIndex(of: "/") ?? absolute.startIndex)])
    }

    /// `path` made absolute, without `.`, `..` and double slashes. Symbolic links are not followed.
    func absolute(_ path: String) -> String {
        var parts: [Substring] = []
        let full = path.hasPrefix("/") ? path : "\(folder)/\(path)"
        for part in full.split(separator: "/") where part != "." {
            if part == ".." {
                _ = parts.popLast()
            } else {
                parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    private static var currentDirectory: String {
        guard let buffer = getcwd(nil, 0) else { return "" }
        defer { free(buffer) }
        return String(cString: buffer)
    }
}

enum ConfigurationFile {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The whole file as UTF-8, at most `ConfigurationLimits.fileBytes`.
    static func text(of path: String) throws(ConfigurationError) -> String {
        // Not blocking: a named pipe in the file's place is refused below instead of being waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw unreadable(path, errno) }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw unreadable(path, errno) }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            throw ConfigurationError(file: path, problem: "this is not a file", whatToDo: "Name a YAML file.")
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw unreadable(path, errno) }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= ConfigurationLimits.fileBytes else {
                throw ConfigurationError(
                    file: path, problem: "the file is larger than 1 MiB", whatToDo: "Name the right file.")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(
                file: path, problem: "the file is not UTF-8 text", whatToDo: "Save it as UTF-8.")
        }
        return text
    }

    /// Refuses PEM files that cannot be read, and a private key that everybody can read.
    static func check(
        _ files: NodeConfiguration.TLSFiles, key: String, in file: String
    ) throws(ConfigurationError) {
        let named = [
            ("authority", files.authority), ("certificate", files.certificate), ("key", files.key),
        ]
        for (name, path) in named {
            guard access(path, R_OK) == 0 else {
                throw ConfigurationError(
                    file: file, key: "\(key).\(name)", problem: "\(path): \(message(errno))",
                    whatToDo: "Correct the path, or let this user read the file.")
            }
        }
        var facts = stat()
        guard stat(files.key, &facts) == 0, facts.st_mode & 0o007 == 0 else {
            throw ConfigurationError(
                file: file, key: "\(key).key", problem: "\(files.key) is open to every user of this machine",
                whatToDo: "Run 'chmod 600' on it.")
        }
    }

    private static func unreadable(_ path: String, _ number: Int32) -> ConfigurationError {
        ConfigurationError(
            file: path, problem: "the file cannot be read: \(message(number))",
            whatToDo: "Check its name and permissions.")
    }

    private static func message(_ number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
        let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: text, as: UTF8.self)
    }
}
