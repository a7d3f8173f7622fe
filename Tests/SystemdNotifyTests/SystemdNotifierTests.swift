// The notifier speaks to a real datagram socket that stands in for the service manager. The environment
// belongs to the whole process, and changing it is unsafe while other threads read it: so each test that
// sets a variable does so in a process of its own.

import Foundation
import Synchronization
import Testing

@testable import SystemdNotify

/// The manager's end of NOTIFY_SOCKET.
private final class FakeManager {
    private let descriptor: Int32
    private let path: String

    init() throws {
        path = NSTemporaryDirectory() + "notify-" + UUID().uuidString
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let outcome = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard outcome == 0 else { throw POSIXError(.EADDRNOTAVAIL) }
        setenv("NOTIFY_SOCKET", path, 1)
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    /// The next datagram's lines.
    func receive() -> [String] {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let got = recv(descriptor, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, got)), as: UTF8.self).split(separator: "\n").map(
            String.init)
    }
}

@Suite struct SystemdNotifierTests {
    @Test func withoutAManagerNothingHappens() async {
        await #expect(processExitsWith: .success) {
            unsetenv("NOTIFY_SOCKET")
            let notifier = SystemdNotifier()
            #expect(!notifier.isActive)
            #expect(!notifier.ready())
            #expect(!notifier.status("x"))
            #expect(notifier.watchdogInterval == nil)
            #expect(!notifier.startWatchdog { true })
        }
    }

    @Test func unreachableManagerIsNoError() async {
        await #expect(processExitsWith: .success) {
            setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1)
            let notifier = SystemdNotifier()
            #expect(notifier.isActive)
            #expect(!notifier.ready())
        }
    }

    @Test func statesReachTheManagerInItsWords() async {
        await #expect(processExitsWith: .success) {
            let manager = try FakeManager()
            let notifier = SystemdNotifier()
            #expect(notifier.isActive)
            #expect(notifier.ready(status: "follower in term 3"))
            #expect(manager.receive() == ["READY=1", "STATUS=follower in term 3"])
            notifier.status("leader in term 4")
            #expect(manager.receive() == ["STATUS=leader in term 4"])
            notifier.stopping()
            #expect(manager.receive() == ["STOPPING=1"])
            notifier.extendTimeout(by: .milliseconds(1500))
            #expect(manager.receive() == ["EXTEND_TIMEOUT_USEC=1500000"])
            notifier.alive()
            #expect(manager.receive() == ["WATCHDOG=1"])
            notifier.reloading()
            let reloading = manager.receive()
            #expect(reloading.first == "RELOADING=1")
            #expect(reloading.last?.hasPrefix("MONOTONIC_USEC=") == true)
        }
    }

    @Test func statusCannotSmuggleInAnotherAssignment() async {
        await #expect(processExitsWith: .success) {
            let manager = try FakeManager()
            SystemdNotifier().status("a\nREADY=1\u{0}b")
            #expect(manager.receive() == ["STATUS=a\\nREADY=1\\u{0}b"])
            SystemdNotifier().status(String(repeating: "é", count: 1000))
            #expect(manager.receive().first?.utf8.count ?? 0 <= SystemdNotifier.maxStatusBytes + 10)
        }
    }

    @Test func watchdogIsFedAtHalfItsPeriodWhileHealthy() async {
        await #expect(processExitsWith: .success) {
            let manager = try FakeManager()
            setenv("WATCHDOG_USEC", "40000", 1)
            setenv("WATCHDOG_PID", String(getpid()), 1)
            let notifier = SystemdNotifier()
            #expect(notifier.watchdogInterval == .milliseconds(20))
            // Healthy three times, then never again.
            let answers = Mutex(0)
            #expect(
                notifier.startWatchdog {
                    answers.withLock { count in
                        count += 1
                        return count <= 3
                    }
                })
            #expect(!notifier.startWatchdog { true })
            for _ in 0..<3 { #expect(manager.receive() == ["WATCHDOG=1"]) }
            while answers.withLock({ $0 }) < 6 { usleep(1000) }
            notifier.stopWatchdog()
            notifier.status("end")
            #expect(manager.receive() == ["STATUS=end"])
        }
    }

    @Test func watchdogOfAnotherProcessIsNotOurs() async {
        await #expect(processExitsWith: .success) {
            setenv("WATCHDOG_USEC", "40000", 1)
            setenv("WATCHDOG_PID", "1", 1)
            #expect(SystemdNotifier().watchdogInterval == nil)
        }
    }

    @Test func inheritedSocketsComeWithTheirNames() async {
        await #expect(processExitsWith: .success) {
            let before = try ServiceEnvironment.inheritedSockets()
            #expect(before.isEmpty)
            // Descriptor 3 is where systemd begins; it must be open to be accepted.
            let filler = fcntl(3, F_GETFD) < 0 ? open("/dev/null", O_RDONLY) : -1
            defer { if filler >= 0 { close(filler) } }
            setenv("LISTEN_PID", String(getpid()), 1)
            setenv("LISTEN_FDS", "1", 1)
            setenv("LISTEN_FDNAMES", "node", 1)
            #expect(
                try ServiceEnvironment.inheritedSockets() == [InheritedSocket(name: "node", descriptor: 3)])
            setenv("LISTEN_FDS", "900", 1)
            #expect(throws: ServiceEnvironmentError.self) { try ServiceEnvironment.inheritedSockets() }
            setenv("LISTEN_PID", "1", 1)
            let foreign = try ServiceEnvironment.inheritedSockets()
            #expect(foreign.isEmpty)
        }
    }

    @Test func credentialsAreFoundByNameOnly() throws {
        let folder = NSTemporaryDirectory() + "credentials-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(try ServiceEnvironment.credentialPath(named: "pin", folder: nil) == nil)
        #expect(try ServiceEnvironment.credentialPath(named: "pin", folder: folder) == nil)
        try "x".write(toFile: folder + "/pin", atomically: true, encoding: .utf8)
        #expect(try ServiceEnvironment.credentialPath(named: "pin", folder: folder) == folder + "/pin")
        for name in ["", ".", "..", "../pin", "/etc/passwd"] {
            #expect(throws: ServiceEnvironmentError.credentialNameInvalid(name)) {
                try ServiceEnvironment.credentialPath(named: name, folder: folder)
            }
        }
    }

    @Test func onlyTheVeryStreamOfSystemdIsTheJournal() {
        var status = stat()
        #expect(fstat(STDERR_FILENO, &status) == 0)
        #expect(
            ServiceEnvironment.isJournalStream("\(status.st_dev):\(status.st_ino)", descriptor: STDERR_FILENO)
        )
        #expect(
            !ServiceEnvironment.isJournalStream(
                "\(status.st_dev):\(status.st_ino + 1)", descriptor: STDERR_FILENO))
        for value in ["", ":", "1", "1:2:3", "a:b"] {
            #expect(!ServiceEnvironment.isJournalStream(value, descriptor: STDERR_FILENO))
        }
    }
}
