import CProcess
import Glibc
import TokenHostLink

// What a process that holds a PIN owes its user: no core dump with secrets in it, no file that others may
// read, no death by a closed log pipe (core(5), prctl(2), umask(2)).

/// Hardening of the whole process.
public enum ProcessGuard {
    /// Call first, before any thread starts. False when the kernel refuses to forbid dumps.
    public static func harden() -> Bool {
        umask(0o077)
        signal(SIGPIPE, SIG_IGN)
        return CProcess_forbid_dumps() == 0
    }

    /// Blocks SIGTERM and SIGINT for all threads started from now on, and starts one that waits for them
    /// and calls `handler`.
    /// - Throws: when no thread can be started.
    public static func onTermination(_ handler: @escaping @Sendable () -> Void) throws {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let awaited = signals
        try OwnedThread.start {
            var signals = awaited
            var received: Int32 = 0
            while sigwait(&signals, &received) != 0 {}
            handler()
        }
    }
}

/// The memory of this process.
enum ProcessMemory {
    /// Resident memory in kibibytes by /proc/self/statm (proc(5)); 0 when it can't be read.
    static func residentKibibytes() -> UInt64 {
        guard let text = try? SystemFile.read("/proc/self/statm", bound: 256) else { return 0 }
        let fields = text.split(separator: UInt8(ascii: " "))
        guard fields.count > 1, let pages = UInt64(String(decoding: fields[1], as: UTF8.self)) else {
            return 0
        }
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE))) / 1_024
    }
}
