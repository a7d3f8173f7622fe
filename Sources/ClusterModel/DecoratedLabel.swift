// Labels as tokens give them back. Securosys Primus appends `@?!` and a unique number to the label of an object; tools
// pad with spaces, end with a zero byte or keep quotation marks. Two spellings of one label must compare equal.

/// What a label is without what a vendor's module or a tool added.
public enum DecoratedLabel {
    /// The label without a Primus suffix `@?!…`, without quotation marks around it, and without padding.
    public static func plain(_ raw: String) -> String {
        var utf8 = Array(raw.utf8)
        let mark = Array("@?!".utf8)
        if utf8.count >= mark.count {
            for start in 0...(utf8.count - mark.count) where Array(utf8[start..<(start + mark.count)]) == mark
            {
                utf8 = Array(utf8[..<start])
                break
            }
        }
        while let last = utf8.last, last == 0 || last == UInt8(ascii: " ") || last == UInt8(ascii: "\"") {
            utf8.removeLast()
        }
        if utf8.first == UInt8(ascii: "\"") { utf8.removeFirst() }
        return String(decoding: utf8, as: UTF8.self)
    }
}
