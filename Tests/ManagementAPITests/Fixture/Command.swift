// Runs programs for tests: with standard input, a bounded time, and both outputs collected.

import Foundation

/// A program that could not be run.
public struct CommandError: Error, CustomStringConvertible {
    /// What it said.
    public var text: String

    /// Wraps what it said.
    public init(text: String) { self.text = text }

    /// What it said.
    public var description: String { text }
}

/// What a program did.
public struct CommandResult: Sendable {
    /// The exit status; 128 and more after a signal.
    public var status: Int32
    /// What it wrote to standard output.
    public var standardOutput: String
    /// What it wrote to standard error.
    public var standardError: String
}

/// Runs programs.
public enum Command {
    /// How long any program may run before it is killed.
    public static let longest = Duration.seconds(60)

    /// Runs a program to its end.
    public static func run(
        _ path: String, _ arguments: [String], environment: [String: String]? = nil, input: String? = nil
    ) async throws -> CommandResult {
        let folder = NSTemporaryDirectory() + "hsmcluster-command-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // Files instead of pipes: a program that writes much cannot block on a reader that waits for its end.
        for name in ["in", "out", "err"] {
            try Data((name == "in" ? input ?? "" : "").utf8).write(
                to: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        if let environment { process.environment = environment }
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: folder + "/in"))
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: folder + "/out"))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: folder + "/err"))
        let (ends, continuation) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in continuation.finish() }
        try process.run()
        let identifier = process.processIdentifier
        let killer = Task {
            try await Task.sleep(for: longest)
            kill(identifier, SIGKILL)
        }
        for await _ in ends {}
        killer.cancel()
        let signalled = process.terminationReason == .uncaughtSignal
        return CommandResult(
            status: process.terminationStatus + (signalled ? 128 : 0),
            standardOutput: try text(folder + "/out"), standardError: try text(folder + "/err"))
    }

    private static func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }
}
