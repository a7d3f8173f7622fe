// Under systemd a log statement becomes a journal entry with fields, so that `journalctl` can filter by
// node, endpoint or term without parsing text. Metadata keys become fields named HSMCLUSTER_<KEY>. The
// fields are bounded in number and size: an entry is a datagram, and a log must never be the thing that
// takes the memory. Source: systemd.journal-fields(7), sd_journal_sendv(3), swift-log's LogHandler.

import CSystemd
import Glibc
import Logging

/// Writes log events to the systemd journal. A value type; any thread.
public struct JournalLogHandler: LogHandler {
    /// Events below this level are dropped by the logger.
    public var logLevel: Logger.Level
    /// Fields of every event.
    public var metadata: Logger.Metadata = [:]
    /// Asked for more fields at every event.
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let identifier: String
    private let fallback: StandardErrorLogHandler

    /// The largest message or value, in bytes; more is cut off.
    public static let maxValueBytes = 8192
    /// The metadata fields of one entry; more are left out.
    public static let maxMetadataFields = 64
    /// The longest name that the journal accepts for a field, in bytes.
    static let maxFieldNameBytes = 64

    /// A handler for the logger `label`.
    /// - Parameter identifier: the program's name, as SYSLOG_IDENTIFIER.
    public init(label: String, identifier: String, logLevel: Logger.Level = .info) {
        self.label = label
        self.identifier = identifier
        self.logLevel = logLevel
        fallback = StandardErrorLogHandler(label: label, logLevel: logLevel)
    }

    /// One metadata value of every event.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Sends the event to the journal; to standard error if the journal doesn't take it.
    public func log(event: LogEvent) {
        let fields = fields(of: event)
        guard !JournalLogHandler.send(fields) else { return }
        fallback.write(event, metadata: LogMetadata.merged(metadata, metadataProvider, event))
    }

    /// The entry as `NAME=value` fields.
    func fields(of event: LogEvent) -> [String] {
        var fields = [
            "MESSAGE=" + JournalLogHandler.bounded(event.message.description),
            "PRIORITY=\(JournalLogHandler.priority(of: event.level))",
            "SYSLOG_IDENTIFIER=" + identifier,
            "CODE_FILE=" + event.file,
            "CODE_LINE=\(event.line)",
            "CODE_FUNC=" + event.function,
            "HSMCLUSTER_LOGGER=" + label,
        ]
        let metadata = LogMetadata.merged(metadata, metadataProvider, event)
        for (key, value) in metadata.prefix(JournalLogHandler.maxMetadataFields) {
            fields.append(JournalLogHandler.fieldName(for: key) + "=" + JournalLogHandler.bounded(value))
        }
        return fields
    }

    /// The journal's name for a metadata key: `HSMCLUSTER_`, then upper-case letters, digits and underscores.
    static func fieldName(for key: String) -> String {
        var name = "HSMCLUSTER_"
        for byte in key.utf8.prefix(maxFieldNameBytes - name.utf8.count) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): name.unicodeScalars.append(Unicode.Scalar(byte - 32))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default: name += "_"
            }
        }
        return name
    }

    /// The syslog priority of a level (RFC 5424 section 6.2.1).
    static func priority(of level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    private static func bounded(_ text: String) -> String {
        guard text.utf8.count > maxValueBytes else { return text }
        return String(decoding: text.utf8.prefix(maxValueBytes), as: UTF8.self) + "…"
    }

    private static func send(_ fields: [String]) -> Bool {
        // One buffer for all fields, with the places where each begins and ends.
        var bytes: [UInt8] = []
        var ends: [Int] = []
        for field in fields {
            bytes.append(contentsOf: field.utf8)
            ends.append(bytes.count)
        }
        let result = bytes.withUnsafeMutableBytes { buffer -> Int32 in
            var start = 0
            let vectors = ends.map { end -> iovec in
                defer { start = end }
                return iovec(iov_base: buffer.baseAddress?.advanced(by: start), iov_len: end - start)
            }
            return sd_journal_sendv(vectors, Int32(vectors.count))
        }
        return result >= 0
    }
}

/// Collects what belongs to one event.
enum LogMetadata {
    /// All metadata of an event by key; what is nearer to the statement wins.
    static func merged(
        _ base: Logger.Metadata, _ provider: Logger.MetadataProvider?, _ event: LogEvent
    ) -> [(key: String, value: String)] {
        var all = base
        if let provided = provider?.get() { all.merge(provided) { _, newer in newer } }
        if let own = event.metadata { all.merge(own) { _, newer in newer } }
        if let error = event.error { all["error"] = .string(String(describing: error)) }
        return all.keys.sorted().compactMap { key in all[key].map { (key, text(of: $0)) } }
    }

    /// A value as text, the same each time: dictionaries in the order of their keys.
    private static func text(of value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): text
        case .stringConvertible(let object): object.description
        case .array(let values): "[" + values.map { text(of: $0) }.joined(separator: ", ") + "]"
        case .dictionary(let values):
            "{"
                + values.keys.sorted().compactMap { key in values[key].map { "\(key): \(text(of: $0))" } }
                .joined(separator: ", ") + "}"
        }
    }
}
