// What is special when a person sits in front: a question before a step that cannot be undone, and a line
// that shows that something is going on. Both use standard error, so that standard output stays a result.

import Foundation
import ManagementModel

enum Terminal {
    /// True when a person can read a question and answer it.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 }

    /// One line on standard error.
    static func note(_ text: String) {
        FileHandle.standardError.write(Data("\(text)\n".utf8))
    }

    /// Asks a question; true only for `y` or `yes`.
    static func confirms(_ question: String) -> Bool {
        FileHandle.standardError.write(Data("\(question) [y/N] ".utf8))
        let answer = readLine()?.trimmingCharacters(in: .whitespaces).lowercased()
        return answer == "y" || answer == "yes"
    }

    /// Shows `text` with the seconds gone by while `body` runs, where standard error is a terminal.
    static func showingProgress<Value, Failure: Error>(
        _ text: String, _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard isatty(STDERR_FILENO) == 1 else { return try await body() }
        let start = ContinuousClock.now
        let progress = Task {
            while !Task.isCancelled {
                let seconds = (ContinuousClock.now - start).components.seconds
                FileHandle.standardError.write(Data("\r\(text) … \(seconds) s\u{1B}[K".utf8))
                try await Task.sleep(for: .milliseconds(500))
            }
        }
        defer {
            progress.cancel()
            FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
        }
        return try await body()
    }
}

extension String {
    /// This text without anything that a terminal would act on.
    var printable: String {
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars { text.append(scalar.isControl ? "?" : scalar) }
        return String(text)
    }
}
