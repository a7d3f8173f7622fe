// Where the program's log goes is decided once, at its start, by looking at where standard error goes:
// into the journal means fields, anywhere else means lines.

import Logging

/// Chooses the log's destination.
public enum LogOutput {
    /// Sends all loggers of this process to the journal or to standard error. Once per process, before the
    /// first logger is made (a rule of swift-log, which traps on a second call).
    /// - Parameters:
    ///   - level: the lowest level that is written.
    ///   - identifier: the program's name.
    public static func bootstrap(level: Logger.Level, identifier: String) {
        let isJournal = ServiceEnvironment.isStandardErrorTheJournal
        LoggingSystem.bootstrap { label in
            handler(label: label, level: level, identifier: identifier, isJournal: isJournal)
        }
    }

    static func handler(
        label: String, level: Logger.Level, identifier: String, isJournal: Bool
    ) -> any LogHandler {
        isJournal
            ? JournalLogHandler(label: label, identifier: identifier, logLevel: level)
            : StandardErrorLogHandler(label: label, logLevel: level)
    }
}
