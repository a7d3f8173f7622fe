// Outside systemd a log event is one line on standard error: time, level, logger, message, key=value. One
// write(2) per line, so that lines of several threads and processes don't mix as long as they are short.
// Nothing in a message can begin a new line or move the cursor.

import Glibc
import Logging

/// Writes log events to standard error, one line each. A value type; any thread.
public struct StandardErrorLogHandler: LogHandler {
    /// Events below this level are dropped by the logger.
    public var logLevel: Logger.Level
    /// Values of every event.
    public var metadata: Logger.Metadata = [:]
    /// Asked for more values at every event.
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let descriptor: Int32

    /// The largest message or value, in bytes; more is cut off.
    public static let maxValueBytes = 8192

    /// A handler for the logger `label`.
    public init(label: String, logLevel: Logger.Level = .info) {
        self.init(label: label, logLevel: logLevel, descriptor: STDERR_FILENO)
    }

    init(label: String, logLevel: Logger.Level, descriptor: Int32) {
        self.label = label
        self.logLevel = logLevel
        self.descriptor = descriptor
    }

    /// One metadata value of every event.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes the event.
    public func log(event: LogEvent) {
        write(event, metadata: LogMetadata.merged(metadata, metadataProvider, event))
    }

    func write(_ event: LogEvent, metadata: [(key: String, value: String)]) {
        let line = Array((StandardErrorLogHandler.line(event, label: label, metadata: metadata) + "\n").utf8)
        var rest = line[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // A log that nobody reads any more must not end the service.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// The line without its end and with the present time.
    static func line(_ event: LogEvent, label: String, metadata: [(key: String, value: String)]) -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var line = timestamp(seconds: now.tv_sec, nanoseconds: now.tv_nsec)
        line +=
            " \(event.level) \(label): " + SingleLine.text(event.message.description, maxBytes: maxValueBytes)
        for (key, value) in metadata {
            line += " " + SingleLine.text(key, maxBytes: maxKeyBytes) + "="
            line += SingleLine.value(value, maxBytes: maxValueBytes)
        }
        return line
    }

    /// A time as in RFC 3339, in UTC, with milliseconds.
    static func timestamp(seconds: Int, nanoseconds: Int) -> String {
        var seconds = seconds
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = [
            padded(Int(parts.tm_year) + 1900, 4), padded(Int(parts.tm_mon) + 1, 2),
            padded(Int(parts.tm_mday), 2),
        ]
        let time = [
            padded(Int(parts.tm_hour), 2), padded(Int(parts.tm_min), 2), padded(Int(parts.tm_sec), 2),
        ]
        return date.joined(separator: "-") + "T" + time.joined(separator: ":") + "."
            + padded(nanoseconds / 1_000_000, 3) + "Z"
    }

    private static let maxKeyBytes = 128
}
