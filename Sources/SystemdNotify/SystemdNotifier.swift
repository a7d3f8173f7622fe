// A service tells systemd what it is doing by datagrams on the socket that NOTIFY_SOCKET names: that it
// is ready, a line of status for `systemctl status`, that it is alive (the watchdog), that it stops.
// Without that variable every call does nothing, so callers need not care how they were started.
// Source: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5).

import CSystemd
import Dispatch
import Glibc
import Synchronization

/// Tells the service manager about this process. Any thread; no call blocks for long or fails loudly.
public final class SystemdNotifier: Sendable {
    private let watchdog = Mutex<(any DispatchSourceTimer)?>(nil)
    private let queue = DispatchQueue(label: "hsmcluster.systemd.watchdog")

    /// The longest status line, in bytes; more is cut off.
    public static let maxStatusBytes = 512

    /// A notifier for this process. Reads the environment at each call, as libsystemd does.
    public init() {}

    deinit { watchdog.withLock { $0?.cancel() } }

    /// Whether a service manager listens.
    public var isActive: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// Start-up (or a reload) is complete.
    /// - Parameter status: a line for `systemctl status`, if given.
    /// - Returns: whether the manager was told; false also when there is none.
    @discardableResult
    public func ready(status: String? = nil) -> Bool {
        notify(["READY=1"] + SystemdNotifier.statusLine(status))
    }

    /// What the service is doing, in one line.
    @discardableResult
    public func status(_ text: String) -> Bool { notify(SystemdNotifier.statusLine(text)) }

    /// The service is ending of its own accord.
    @discardableResult
    public func stopping(status: String? = nil) -> Bool {
        notify(["STOPPING=1"] + SystemdNotifier.statusLine(status))
    }

    /// The service is reading its configuration anew; `ready` ends this state.
    @discardableResult
    public func reloading() -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let microseconds = Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
        return notify(["RELOADING=1", "MONOTONIC_USEC=\(microseconds)"])
    }

    /// Starting, reloading or stopping takes longer: the manager's time limit becomes this span from now.
    @discardableResult
    public func extendTimeout(by span: Duration) -> Bool {
        let parts = span.components
        let microseconds = max(0, parts.seconds * 1_000_000 + parts.attoseconds / 1_000_000_000_000)
        return notify(["EXTEND_TIMEOUT_USEC=\(microseconds)"])
    }

    /// One sign of life for the watchdog. `startWatchdog` sends them on time by itself.
    @discardableResult
    public func alive() -> Bool { notify(["WATCHDOG=1"]) }

    /// How often to give a sign of life: half of what the manager allows. Nil when it doesn't watch us.
    public var watchdogInterval: Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0, microseconds > 1 else { return nil }
        return .microseconds(Int64(clamping: microseconds / 2))
    }

    /// Gives a sign of life twice per watchdog period, as long as `isHealthy` says so; when it stops saying
    /// so, or never returns, the manager kills and restarts the service.
    /// - Parameter isHealthy: called on a queue of its own. Should ask whether the work proceeds (say,
    ///   when the coordinator last finished a step), not merely whether the process runs.
    /// - Returns: false when the manager doesn't watch us, or the watchdog already runs.
    @discardableResult
    public func startWatchdog(isHealthy: @escaping @Sendable () -> Bool) -> Bool {
        guard let interval = watchdogInterval else { return false }
        let nanoseconds =
            Int(clamping: interval.components.seconds * 1_000_000_000)
            + Int(interval.components.attoseconds / 1_000_000_000)
        return watchdog.withLock { current in
            guard current == nil else { return false }
            let timer = DispatchSource.makeTimerSource(queue: queue)
            timer.setEventHandler { [weak self] in
                if isHealthy() { self?.alive() }
            }
            timer.schedule(deadline: .now(), repeating: .nanoseconds(nanoseconds))
            timer.activate()
            current = timer
            return true
        }
    }

    /// Ends what `startWatchdog` began.
    public func stopWatchdog() {
        watchdog.withLock { current in
            current?.cancel()
            current = nil
        }
    }

    private func notify(_ lines: [String]) -> Bool {
        // Positive: sent. Zero: no manager. Negative: the manager can't be reached, which is its problem.
        sd_notify(0, lines.joined(separator: "\n")) > 0
    }

    /// A status mustn't smuggle in another assignment, so it is kept on its line.
    private static func statusLine(_ text: String?) -> [String] {
        guard let text else { return [] }
        return ["STATUS=" + SingleLine.text(text, maxBytes: maxStatusBytes)]
    }
}
