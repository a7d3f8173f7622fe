// A configuration is written by hand, so its errors are read by somebody who has the file open: they name the
// file, the line, the key and what to write instead. They never repeat a value, which could be a secret in
// the wrong place.

/// Why a configuration cannot be used.
public struct ConfigurationError: Error, Hashable, Sendable {
    /// The file, as it was named.
    public var file: String
    /// The line, from 1, where it is known.
    public var line: Int?
    /// The key, such as `listen.peers` or `endpoints[0].pin`; empty for the file as a whole.
    public var key: String
    /// What is wrong.
    public var problem: String
    /// What to write or do instead.
    public var whatToDo: String

    /// Puts an error together.
    public init(file: String, line: Int? = nil, key: String = "", problem: String, whatToDo: String) {
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.whatToDo = whatToDo
    }
}

extension ConfigurationError: CustomStringConvertible {
    /// `file:line: key: problem. What to do.`
    public var description: String {
        var text = file
        if let line { text += ":\(line)" }
        if !key.isEmpty { text += ": \(key)" }
        return text + ": \(problem). \(whatToDo)"
    }
}
