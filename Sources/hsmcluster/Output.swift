// Answers on standard output: JSON exactly as the API gives it, or aligned tables. Texts of tables come from
// HSMs, other people and other programs, so control characters are taken out before a terminal sees them.

import Foundation

enum Output {
    /// Pretty JSON with sorted members.
    static func json(_ value: some Encodable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        // Encoding values of numbers and texts cannot fail.
        guard let data = try? encoder.encode(value) else { return }
        print(String(decoding: data, as: UTF8.self))
    }
}

/// Rows under headings, each column as wide as its longest cell.
struct Table {
    var headings: [String]
    var rows: [[String]] = []

    init(_ headings: String...) { self.headings = headings }

    mutating func add(_ cells: String...) { rows.append(cells.map(\.printable)) }

    /// The lines of the table; nothing but `otherwise` when it has no rows.
    func text(otherwise: String) -> String {
        guard !rows.isEmpty else { return otherwise }
        let all = [headings] + rows
        let widths = headings.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (cell, width) in zip(row.dropLast(), widths) {
                line += cell + String(repeating: " ", count: width - cell.count + 2)
            }
            return line + (row.last ?? "")
        }.joined(separator: "\n")
    }
}
