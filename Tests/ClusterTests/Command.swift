import Foundation
import Glibc

// Runs programs for the tests: bounded in time, with both outputs. Foundation's Process is passed over because
// it learns of a program's end through a descriptor that other programs inherit and hold open.

/// What a program left behind.
struct Outcome: Sendable {
    /// The exit code; 128 and more: ended by a signal.
    let exitCode: Int32
    let output: String
    let errorOutput: String
    let command: String

    /// Both outputs, for messages.
    var everything: String { "\(command) ended with \(exitCode)\n\(output)\(errorOutput)" }
}

/// Why a program gave no outcome.
struct CommandError: Error, CustomStringConvertible {
    let description: String
}

enum Command {
    /// Runs a program to its end. It and its process group are killed when the time is over.
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:],
        limit: Duration = .seconds(180)
    ) async throws -> Outcome {
        let outputs = FileManager.default.temporaryDirectory.appending(path: "command-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: outputs, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: outputs) }
        let output = outputs.appending(path: "out").path
        let errorOutput = outputs.appending(path: "err").path
        let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let process = try spawn(
            [program] + arguments, environment: merged.map { "\($0.key)=\($0.value)" }, output: output,
            errorOutput: errorOutput)
        let limiter = Task.detached {
            try await Task.sleep(for: limit)
            kill(-process, SIGKILL)
        }
        let status = await end(of: process)
        limiter.cancel()
        let signal = status & 0x7F
        return Outcome(
            exitCode: signal == 0 ? (status >> 8) & 0xFF : 128 + signal,
            output: (try? String(contentsOfFile: output, encoding: .utf8)) ?? "",
            errorOutput: (try? String(contentsOfFile: errorOutput, encoding: .utf8)) ?? "",
            command: ([program] + arguments).joined(separator: " "))
    }

    private static func spawn(
        _ arguments: [String], environment: [String], output: String, errorOutput: String
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errorOutput, O_WRONLY | O_CREAT, 0o600)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)

        var process: pid_t = 0
        let cArguments = arguments.map { strdup($0) }
        let cEnvironment = environment.map { strdup($0) }
        defer { (cArguments + cEnvironment).forEach { free($0) } }
        let result = posix_spawnp(
            &process, arguments[0], &actions, &attributes, cArguments + [nil], cEnvironment + [nil])
        guard result == 0 else {
            throw CommandError(
                description: "cannot start \(arguments[0]): \(String(cString: strerror(result)))")
        }
        return process
    }

    /// Waits on a thread of its own, so that no shared thread blocks.
    private static func end(of process: pid_t) async -> Int32 {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var status: Int32 = 0
                while waitpid(process, &status, 0) < 0 && errno == EINTR {}
                continuation.resume(returning: status)
            }
        }
    }
}
