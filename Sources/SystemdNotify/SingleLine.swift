// Text from peers, vendors and users ends up in logs and status lines. Whatever it is, it stays on its
// line, shows its control characters as escapes, and has an end.

enum SingleLine {
    /// `text` with control characters escaped, at most about `maxBytes` long.
    static func text(_ text: String, maxBytes: Int) -> String {
        var output = ""
        output.reserveCapacity(min(text.utf8.count, maxBytes))
        var bytes = 0
        for scalar in text.unicodeScalars {
            let piece = escaped(scalar)
            bytes += piece.utf8.count
            guard bytes <= maxBytes else { return output + "…" }
            output += piece
        }
        return output
    }

    /// As `text`, in quotes where the value could be misread as more than one.
    static func value(_ value: String, maxBytes: Int) -> String {
        let line = text(value, maxBytes: maxBytes)
        let isPlain = !line.isEmpty && !line.contains { $0 == " " || $0 == "=" || $0 == "\"" }
        guard !isPlain else { return line }
        var quoted = "\""
        for character in line {
            if character == "\"" { quoted += "\\" }
            quoted.append(character)
        }
        return quoted + "\""
    }

    /// Control characters, and the separators that some viewers take for line ends, become escapes.
    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case "\u{0}"..<"\u{20}", "\u{7F}"..<"\u{A0}", "\u{2028}", "\u{2029}", "\u{202A}"..."\u{202E}",
            "\u{2066}"..."\u{2069}":
            "\\u{" + String(scalar.value, radix: 16) + "}"
        default: String(scalar)
        }
    }
}
