import ClusterConfiguration
import Coordinator
import Logging
import Synchronization
import SystemdNotify

// What the service manager hears (sd_notify(3)): READY only once the node has joined, that is, knows a leader;
// then every change of role in STATUS.

final class JoinNotice: Sendable {
    private let notifier: SystemdNotifier
    private let hasJoined = Mutex(false)

    init(notifier: SystemdNotifier) { self.notifier = notifier }

    func roleChanged(_ summary: RoleSummary) {
        let isFirst = hasJoined.withLock { joined in
            guard !joined, summary.leader != nil else { return false }
            joined = true
            return true
        }
        if isFirst {
            notifier.ready(status: summary.statusLine)
        } else {
            notifier.status(summary.statusLine)
        }
    }
}

extension NodeConfiguration.LogLevel {
    /// The level of swift-log with the same name.
    var logging: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
