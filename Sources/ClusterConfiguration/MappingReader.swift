// Reads the members of one mapping by name and type, and at the end refuses the names that nobody asked for.
// Every reader method throws an error that names the member's line and full key.

import ClusterModel

/// One mapping of the file, being read.
struct MappingReader {
    let file: String
    let key: String
    let line: Int
    private var members: [String: (line: Int, value: YAMLValue)] = [:]
    private var asked: Set<String> = []

    /// Opens `value`, which has to be a mapping. `expected` shows one.
    init(_ value: YAMLValue, file: String, key: String, expected: String) throws(ConfigurationError) {
        self.file = file
        self.key = key
        line = value.line
        guard case .mapping(let pairs) = value.content else {
            throw ConfigurationError(
                file: file, line: value.line, key: key, problem: "this is not a mapping",
                whatToDo: "Write \(expected).")
        }
        for pair in pairs {
            // Yams compares keys as they are tagged, so `1` and `"1"` would both pass it.
            guard members.updateValue((pair.line, pair.value), forKey: pair.key) == nil else {
                throw failure(pair.key, at: pair.line, "the key is there twice", "Remove one of them.")
            }
        }
    }

    /// The member, or nil when it is absent.
    mutating func optional(_ name: String) -> YAMLValue? {
        asked.insert(name)
        return members[name]?.value
    }

    /// The member; refuses its absence.
    mutating func required(_ name: String, example: String) throws(ConfigurationError) -> YAMLValue {
        guard let value = optional(name) else {
            throw failure(name, at: line, "the key is missing", "Add '\(name): \(example)'.")
        }
        return value
    }

    /// The text of a required member.
    mutating func text(_ name: String, example: String) throws(ConfigurationError) -> String {
        try text(of: try required(name, example: example), name, example: example)
    }

    /// The text of a member, or nil when it is absent.
    mutating func optionalText(_ name: String, example: String) throws(ConfigurationError) -> String? {
        guard let value = optional(name) else { return nil }
        return try text(of: value, name, example: example)
    }

    /// The text of `value`: not empty, on one line.
    func text(of value: YAMLValue, _ name: String, example: String) throws(ConfigurationError) -> String {
        guard case .scalar(let text, let isQuoted) = value.content else {
            throw failure(name, at: value.line, "this is not a single value", "Write '\(name): \(example)'.")
        }
        guard !text.isEmpty, isQuoted || (text != "~" && text != "null") else {
            throw failure(name, at: value.line, "there is no value", "Write '\(name): \(example)'.")
        }
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw failure(name, at: value.line, "the text holds a control character", "Remove it.")
        }
        return text
    }

    /// A whole number within `range`; nil when it is absent.
    mutating func optionalNumber(
        _ name: String, in range: ClosedRange<Int>, example: String
    ) throws(ConfigurationError) -> Int? {
        guard let value = optional(name) else { return nil }
        return try number(of: value, name, in: range, example: example)
    }

    /// The whole number of `value`, which has to be written in plain digits.
    func number(
        of value: YAMLValue, _ name: String, in range: ClosedRange<Int>, example: String
    ) throws(ConfigurationError) -> Int {
        let text = try text(of: value, name, example: example)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text) else {
            throw failure(name, at: value.line, "this is not a whole number", "Write '\(name): \(example)'.")
        }
        guard range.contains(number) else {
            throw failure(
                name, at: value.line, "the number is out of bounds",
                "Write a number from \(range.lowerBound) to \(range.upperBound).")
        }
        return number
    }

    /// The elements of a required list.
    mutating func list(
        _ name: String, upTo limit: Int, example: String
    ) throws(ConfigurationError) -> [YAMLValue] {
        let value = try required(name, example: example)
        guard case .list(let elements) = value.content else {
            throw failure(name, at: value.line, "this is not a list", "Write '\(name): \(example)'.")
        }
        guard elements.count <= limit else {
            throw failure(name, at: value.line, "more than \(limit) entries", "Shorten the list.")
        }
        return elements
    }

    /// The members in alphabetical order, for mappings with free names.
    mutating func allMembers() -> [(name: String, line: Int, value: YAMLValue)] {
        asked.formUnion(members.keys)
        return members.map { ($0.key, $0.value.line, $0.value.value) }.sorted { $0.name < $1.name }
    }

    /// Refuses members that nobody asked for.
    func finish() throws(ConfigurationError) {
        let unknown = members.filter { !asked.contains($0.key) }
            .sorted { ($0.value.line, $0.key) < ($1.value.line, $1.key) }
        guard let first = unknown.first else { return }
        throw failure(
            quoted(first.key), at: first.value.line, "the key is not known here",
            "Remove it; known are \(asked.sorted().joined(separator: ", ")).")
    }

    /// An error about the member `name` of this mapping.
    func failure(
        _ name: String, at line: Int?, _ problem: String, _ whatToDo: String
    ) -> ConfigurationError {
        ConfigurationError(
            file: file, line: line, key: key.isEmpty ? name : "\(key).\(name)", problem: problem,
            whatToDo: whatToDo)
    }

    private func quoted(_ name: String) -> String {
        var text = ""
        for scalar in name.unicodeScalars {
            guard text.utf8.count < 64 else { return text + "…" }
            text.unicodeScalars.append(
                scalar.isASCII && scalar.value >= 0x20 && scalar.value != 0x7F ? scalar : "?")
        }
        return text
    }
}
