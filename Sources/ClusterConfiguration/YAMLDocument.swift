// YAML (1.1, as Yams and libyaml read it) has more than a configuration needs, and some of it is dangerous:
// aliases that unfold to gigabytes, deep nesting that exhausts the stack, tags, several documents, keys that
// are structures. This file lets only plain scalars, lists and mappings with text keys through, and keeps the
// line of each for error messages. Parser messages are passed on without the text they quote.

import Yams

/// Bounds on a configuration file.
public enum ConfigurationLimits {
    /// The most users of applications.
    public static let users = 64
    /// The most bytes of a user's name.
    public static let userNameBytes = 64
    /// The most bytes of a password's hash.
    public static let passwordHashBytes = 384
    /// The most bytes of a file.
    public static let fileBytes = 1_048_576
    /// The deepest nesting of lists and mappings.
    public static let depth = 8
    /// The most entries of one list or mapping.
    public static let entries = 256
    /// The most bytes of one text.
    public static let textBytes = 4_096
    /// The most nodes of a cluster.
    public static let nodes = 15
    /// The most endpoints of a cluster.
    public static let endpoints = 32
}

/// A value of the file with the line it stands on.
struct YAMLValue {
    indirect enum Content {
        case scalar(String, isQuoted: Bool)
        case list([YAMLValue])
        case mapping([(key: String, line: Int, value: YAMLValue)])
    }

    var content: Content
    var line: Int
}

struct YAMLDocument {
    var file: String

    func parse(_ text: String) throws(ConfigurationError) -> YAMLValue {
        guard text.utf8.count <= ConfigurationLimits.fileBytes else {
            throw failure(nil, "the file is larger than 1 MiB", "Name the right file.")
        }
        try refuseReferencesAndNesting(text)
        let root: Node?
        do {
            root = try Parser(yaml: text, encoding: .utf8).singleRoot()
        } catch let error as YamlError {
            throw failure(error)
        } catch {
            throw failure(nil, "the file is not YAML", "Correct it; see the example in the documentation.")
        }
        guard let root else { throw failure(nil, "the file is empty", "Write a configuration into it.") }
        return try value(root, depth: 0)
    }

    private func value(_ node: Node, depth: Int) throws(ConfigurationError) -> YAMLValue {
        let line = node.mark?.line ?? 1
        guard depth <= ConfigurationLimits.depth else {
            throw failure(line, "values are nested too deeply", "Nothing here needs that; see the example.")
        }
        guard node.anchor == nil else {
            throw failure(line, "anchors (&name) are not allowed", "Write the value out where it is used.")
        }
        switch node {
        case .alias:
            throw failure(line, "aliases (*name) are not allowed", "Write the value out where it is used.")
        case .scalar(let scalar):
            guard scalar.string.utf8.count <= ConfigurationLimits.textBytes else {
                throw failure(line, "a text is longer than 4 KiB", "Shorten it.")
            }
            return YAMLValue(content: .scalar(scalar.string, isQuoted: scalar.style != .plain), line: line)
        case .sequence(let sequence):
            try checkCount(sequence.count, line)
            var list: [YAMLValue] = []
            for element in sequence { list.append(try value(element, depth: depth + 1)) }
            return YAMLValue(content: .list(list), line: line)
        case .mapping(let mapping):
            try checkCount(mapping.count, line)
            var members: [(key: String, line: Int, value: YAMLValue)] = []
            for (key, member) in mapping {
                guard case .scalar(let name) = key, key.anchor == nil else {
                    throw failure(line, "a key is not plain text", "Write 'name: value'.")
                }
                let keyLine = key.mark?.line ?? line
                members.append((name.string, keyLine, try value(member, depth: depth + 1)))
            }
            return YAMLValue(content: .mapping(members), line: line)
        }
    }

    private func checkCount(_ count: Int, _ line: Int) throws(ConfigurationError) {
        guard count <= ConfigurationLimits.entries else {
            throw failure(line, "more than \(ConfigurationLimits.entries) entries", "Shorten the list.")
        }
    }

    /// Runs before the parser, which unfolds aliases when it compares keys and recurses when values nest.
    private func refuseReferencesAndNesting(_ text: String) throws(ConfigurationError) {
        var number = 0
        var flowDepth = 0
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            var scan = LineScan(bytes: Array(line))
            scan.run()
            if scan.hasReference {
                throw failure(
                    number, "anchors and aliases (&name, *name) are not allowed",
                    "Write the value out where it is used, or put a text with & or * between quotes.")
            }
            flowDepth = max(0, flowDepth + scan.opened - scan.closed)
            guard flowDepth + scan.opened <= LineScan.nesting, scan.indentation <= LineScan.indentation else {
                throw failure(number, "values are nested too deeply", "Nothing here needs that.")
            }
        }
    }

    private func failure(_ error: YamlError) -> ConfigurationError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return failure(mark.line, "not YAML: \(problem)", "Correct the line, or the ones before it.")
        case .duplicatedKeysInMapping(_, let context):
            return failure(context.mark.line, "a key is there twice", "Remove one of them.")
        case .reader(let problem, _, _, _):
            return failure(nil, "not YAML: \(problem)", "Save the file as UTF-8 text.")
        default:
            return failure(nil, "the file is not YAML", "Correct it; see the example in the documentation.")
        }
    }

    private func failure(_ line: Int?, _ problem: String, _ whatToDo: String) -> ConfigurationError {
        ConfigurationError(file: file, line: line, problem: problem, whatToDo: whatToDo)
    }
}

/// Looks at one line for what the parser should not meet. Quotes are followed within the line only: that is
/// enough to allow `"a *b"`, and what slips through is refused again on the parsed values.
private struct LineScan {
    static let nesting = 32
    static let indentation = 128

    var bytes: [UInt8]
    var hasReference = false
    var opened = 0
    var closed = 0
    var indentation = 0

    mutating func run() {
        let lead: [UInt8] = Array(" \t-?:".utf8)
        indentation = bytes.prefix { lead.contains($0) }.count
        let separators: [UInt8] = Array(" \t[{,".utf8)
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            let startsToken = position == 0 || separators.contains(bytes[position - 1])
            switch byte {
            case UInt8(ascii: "#") where startsToken:
                return
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                if startsToken, let end = closingQuote(from: position) { position = end }
            case UInt8(ascii: "&"), UInt8(ascii: "*"):
                let next = position + 1 < bytes.count ? bytes[position + 1] : UInt8(ascii: " ")
                if startsToken, !separators.contains(next) { hasReference = true }
            case UInt8(ascii: "["), UInt8(ascii: "{"): opened += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): closed += 1
            default: break
            }
            position += 1
        }
    }

    private func closingQuote(from start: Int) -> Int? {
        let quote = bytes[start]
        var position = start + 1
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                position += 1
            } else if bytes[position] == quote {
                return position
            }
            position += 1
        }
        return nil
    }
}
