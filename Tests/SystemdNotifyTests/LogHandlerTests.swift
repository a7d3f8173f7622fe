// What a log event becomes: fields for the journal, one safe line elsewhere.

import Foundation
import Logging
import Testing

@testable import SystemdNotify

@Suite struct LogHandlerTests {
    private struct SomeError: Error, CustomStringConvertible { var description: String { "it broke" } }

    private func event(_ message: String, metadata: Logger.Metadata? = nil) -> LogEvent {
        LogEvent(
            level: .warning, message: "\(message)", metadata: metadata, source: "Tests",
            file: "Tests/File.swift",
            function: "run()", line: 12)
    }

    @Test func journalEntryHasTheFieldsThatJournalctlKnows() {
        var handler = JournalLogHandler(label: "raft", identifier: "hsmclusterd")
        handler[metadataKey: "node"] = "2"
        handler[metadataKey: "term"] = "1"
        let fields = handler.fields(
            of: event("two\nlines", metadata: ["term": "7", "peer-name": ["a", "b"]]))
        #expect(
            fields == [
                "MESSAGE=two\nlines", "PRIORITY=4", "SYSLOG_IDENTIFIER=hsmclusterd",
                "CODE_FILE=Tests/File.swift", "CODE_LINE=12", "CODE_FUNC=run()", "HSMCLUSTER_LOGGER=raft",
                "HSMCLUSTER_NODE=2", "HSMCLUSTER_PEER_NAME=[a, b]", "HSMCLUSTER_TERM=7",
            ])
    }

    @Test func journalFieldNamesAreLegalWhateverTheKey() {
        #expect(JournalLogHandler.fieldName(for: "request-id") == "HSMCLUSTER_REQUEST_ID")
        #expect(JournalLogHandler.fieldName(for: "ä=\n") == "HSMCLUSTER_____")
        #expect(JournalLogHandler.fieldName(for: String(repeating: "k", count: 200)).utf8.count == 64)
    }

    @Test func journalEntriesAreBounded() {
        var handler = JournalLogHandler(label: "raft", identifier: "hsmclusterd")
        for number in 0..<500 { handler[metadataKey: "key\(number)"] = "\(number)" }
        let fields = handler.fields(of: event(String(repeating: "m", count: 1 << 20)))
        #expect(fields.count == 7 + JournalLogHandler.maxMetadataFields)
        #expect(fields[0].utf8.count < JournalLogHandler.maxValueBytes + 20)
    }

    @Test func levelsHaveTheirSyslogPriorities() {
        #expect(Logger.Level.allCases.map(JournalLogHandler.priority) == [7, 7, 6, 5, 4, 3, 2])
    }

    @Test func lineHasTimeLevelMessageAndMetadata() throws {
        let line = StandardErrorLogHandler.line(
            event("link up"), label: "links", metadata: [("node", "2"), ("remote", "a b"), ("empty", "")])
        #expect(line.hasSuffix("Z warning links: link up node=2 remote=\"a b\" empty=\"\""))
        #expect(line.contains(try Regex(#"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "#)))
    }

    @Test func timestampsAreInUTC() {
        #expect(
            StandardErrorLogHandler.timestamp(seconds: 0, nanoseconds: 5_000_000)
                == "1970-01-01T00:00:00.005Z")
        #expect(
            StandardErrorLogHandler.timestamp(seconds: 1_709_210_096, nanoseconds: 999_999_999)
                == "2024-02-29T12:34:56.999Z")
    }

    @Test func hostileTextStaysOnItsLine() throws {
        let pipe = Pipe()
        let handler = StandardErrorLogHandler(
            label: "x", logLevel: .info, descriptor: pipe.fileHandleForWriting.fileDescriptor)
        var hostile = event("a\r\n2024-01-01 fake\u{1B}[2J\u{202E}", metadata: ["k\n": "v\" x=\n"])
        hostile.error = SomeError()
        handler.log(event: hostile)
        try pipe.fileHandleForWriting.close()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(text.filter { $0 == "\n" }.count == 1)
        #expect(
            text.hasSuffix(
                "x: a\\r\\n2024-01-01 fake\\u{1b}[2J\\u{202e} error=\"it broke\" k\\n=\"v\\\" x=\\n\"\n"))
    }

    @Test func destinationFollowsStandardError() {
        func handler(_ isJournal: Bool) -> any LogHandler {
            LogOutput.handler(label: "a", level: .debug, identifier: "p", isJournal: isJournal)
        }
        #expect(handler(true) is JournalLogHandler)
        #expect(handler(false) is StandardErrorLogHandler)
        #expect(handler(false).logLevel == .debug)
    }
}
