import Foundation
import Glibc

// The repository as the tidy tests see it: its text files, line by line, with paths relative to its root. Read
// once; the tests only look. Style as a test is TigerBeetle's idea (its tidy.zig): a rule that nothing checks
// is a wish.

/// One text file of the repository.
struct TextFile: Sendable {
    /// Relative to the repository's root, such as `Sources/Raft/Log.swift`.
    let path: String
    let text: String
    let lines: [String]
    let isExecutable: Bool

    /// The folder below `Sources` or `Tests` that the file belongs to.
    var target: String {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? String(parts[1]) : ""
    }

    var isSwift: Bool { path.hasSuffix(".swift") }

    /// `Sources/Raft/Log.swift:12: what is there`
    func place(_ index: Int) -> String {
        "\(path):\(index + 1): \(lines[index].trimmingCharacters(in: .whitespaces))"
    }

    /// Whether the line at this index holds nothing but a comment.
    func isComment(_ index: Int) -> Bool {
        let content = lines[index].utf8.drop { $0 == UInt8(ascii: " ") }
        return content.starts(with: "//".utf8)
    }

    /// Whether a comment stands on the line or on one of the few lines above it, where a reader looks for reasons.
    func hasReason(_ index: Int) -> Bool {
        if lines[index].mentions("// ") { return true }
        return (max(0, index - Self.reasonDistance)..<index).contains { isComment($0) }
    }

    private static let reasonDistance = 3
}

extension String {
    /// Whether the word occurs anywhere. Compares bytes (up to a NUL): searching by characters takes a debug build most of a
    /// minute for the whole tree.
    func mentions(_ word: String) -> Bool {
        strstr(self, word) != nil
    }
}

/// The repository's files.
enum SourceTree {
    /// Found from this file's own place, symbolic links resolved.
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every text file below the folders that hold our work, sorted by path.
    static let files: [TextFile] = {
        var found: [TextFile] = []
        for folder in ["Sources", "Tests", "cluster", "benchmarks", "docs", ".ci"] {
            collect(folder, into: &found)
        }
        for name in topLevel where isText(name) {
            if let file = read(name) { found.append(file) }
        }
        return found.sorted { $0.path < $1.path }
    }()

    static let swiftFiles = files.filter(\.isSwift)
    static let sources = swiftFiles.filter { $0.path.hasPrefix("Sources/") }

    /// What lies in the root, hidden entries left out.
    static let topLevel: [String] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }()

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }

    private static func collect(_ folder: String, into found: inout [TextFile]) {
        let entries =
            (try? FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path)) ?? []
        for entry in entries where !entry.hasPrefix(".") && entry != "__pycache__" {
            let path = "\(folder)/\(entry)"
            var isFolder: ObjCBool = false
            guard
                FileManager.default.fileExists(
                    atPath: root.appending(path: path).path, isDirectory: &isFolder)
            else { continue }
            if isFolder.boolValue {
                collect(path, into: &found)
            } else if isText(path), let file = read(path) {
                found.append(file)
            }
        }
    }

    /// Scripts have no suffix; whatever else has none is text as well here. Transcripts (txt) are written by tests.
    private static func isText(_ path: String) -> Bool {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: ".") else { return true }
        let suffixes = [
            "swift", "sh", "md", "yaml", "yml", "service", "jq", "h", "c", "modulemap", "cfg", "json",
        ]
        return suffixes.contains(String(name[name.index(after: dot)...]))
    }

    private static func read(_ path: String) -> TextFile? {
        let url = root.appending(path: path)
        guard let data = try? Data(contentsOf: url), let text = String(validating: data, as: UTF8.self) else {
            return nil
        }
        let lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let executable = FileManager.default.isExecutableFile(atPath: url.path)
        return TextFile(path: path, text: text, lines: lines, isExecutable: executable)
    }
}
