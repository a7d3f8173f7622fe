import CProcess
import Glibc

// Starts a token host so that nothing of the node leaks into it: an environment of few named variables, no
// descriptors but the standard three, default signals, and a session of its own (setsid(2)), so that a
// signal for the node's terminal or process group doesn't reach it and it outlives the node
// (posix_spawn(3)).

/// Where a token host's log lines go.
public enum TokenHostLog: Hashable, Sendable {
    /// To the node's own standard error.
    case inherited
    /// To the end of a file, made with mode 0600 when it doesn't exist.
    case file(path: String)
}

/// How a process ended.
enum ProcessEnding: Hashable, Sendable, CustomStringConvertible {
    case status(Int32)
    case signal(Int32)

    /// Reads the status of waitpid(2).
    init(waitStatus: Int32) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .status((waitStatus >> 8) & 0xFF) : .signal(signal)
    }

    var description: String {
        switch self {
        case .status(let status): "it ended with status \(status)"
        case .signal(let signal): "it was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
        }
    }
}

enum ProcessLauncher {
    /// Variables that a token host gets from the node's own environment, where set.
    private static let inheritedVariables = ["PATH", "HOME", "LANG", "TZ", "CREDENTIALS_DIRECTORY"]

    /// Starts `executable --configuration file` and returns its process identifier.
    static func launch(
        executable: String, configurationPath: String, configuration: TokenHostConfiguration,
        log: TokenHostLog
    ) throws(SystemCallError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        try check("posix_spawn", posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        try check("open", posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0))
        if case .file(let path) = log {
            let flags = O_WRONLY | O_CREAT | O_APPEND
            try check("open", posix_spawn_file_actions_addopen(&actions, 2, path, flags, 0o600))
        }
        // Anything that the module prints belongs into the log, not among the node's output.
        try check("dup2", posix_spawn_file_actions_adddup2(&actions, 2, 1))
        try check("close_range", posix_spawn_file_actions_addclosefrom_np(&actions, 3))

        var attributes = posix_spawnattr_t()
        try check("posix_spawn", posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        let flags = Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF) | CProcess_spawn_setsid
        try check("posix_spawn", posix_spawnattr_setflags(&attributes, flags))
        var signals = sigset_t()
        sigemptyset(&signals)
        try check("posix_spawn", posix_spawnattr_setsigmask(&attributes, &signals))
        sigfillset(&signals)
        try check("posix_spawn", posix_spawnattr_setsigdefault(&attributes, &signals))

        var child: pid_t = 0
        let result = withCStrings([executable, "--configuration", configurationPath]) { arguments in
            withCStrings(environment(for: configuration)) { environment in
                posix_spawn(&child, executable, &actions, &attributes, arguments, environment)
            }
        }
        try check("posix_spawn", result)
        return child
    }

    /// What the kernel says of a process.
    enum Observation {
        /// It is a child of this process and runs.
        case running
        /// It was a child, has ended and is reaped now.
        case ended(ProcessEnding)
        /// It is no child (any more).
        case notAChild
    }

    /// Reaps `process` if it is a child that has ended; never blocks.
    static func reap(_ process: pid_t) -> Observation {
        var status: Int32 = 0
        while true {
            let result = waitpid(process, &status, WNOHANG)
            if result == process { return .ended(ProcessEnding(waitStatus: status)) }
            if result == 0 { return .running }
            if errno != EINTR { return .notAChild }
        }
    }

    private static func environment(for configuration: TokenHostConfiguration) -> [String] {
        var names = inheritedVariables
        if case .environment(let name) = configuration.pinSource { names.append(name) }
        let own = configuration.environment
        let ownNames = Set(own.map(\.name))
        let inherited = names.filter { !ownNames.contains($0) }.compactMap { name in
            getenv(name).map { "\(name)=\(String(cString: $0))" }
        }
        return inherited + own.map { "\($0.name)=\($0.value)" }
    }

    private static func check(_ call: String, _ result: Int32) throws(SystemCallError) {
        guard result == 0 else { throw SystemCallError(call, code: result) }
    }

    /// Passes a NULL-terminated array of C strings, which are zeroed afterwards: one may be a PIN.
    private static func withCStrings<Result>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let copies = strings.map { strdup($0) }
        defer {
            for case let copy? in copies {
                explicit_bzero(copy, strlen(copy))
                free(copy)
            }
        }
        return body(copies + [nil])
    }
}
