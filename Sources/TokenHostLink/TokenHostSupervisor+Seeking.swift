import ClusterModel
import Glibc

// How a supervisor gets to a token host that listens: connect; failing that, wait for one that is starting
// or ending; failing that, start one, with growing pauses when starts keep failing.

extension TokenHostSupervisor {
    /// One attempt; arranges for the next one where needed.
    func seek() {
        switch UnixSocket.connect(configuration.socketPath) {
        case .connected(let descriptor): greet(descriptor)
        case .absent: awaitOrStart(canStart: true)
        case .congested: awaitOrStart(canStart: false)
        case .failed(let error): retrySeeking("cannot connect to \(configuration.socketPath): \(error)")
        }
    }

    /// Reports and tries again later, at the slowest pace.
    func retrySeeking(_ reason: String) {
        publishLoss(reason)
        phase = .seeking
        wake(after: timing.backoffCeiling)
    }

    private func awaitOrStart(canStart: Bool) {
        if let child { return awaitChild(child) }
        if let stranger = ServingLock.holder(configuration.lockPath) { return awaitStranger(stranger) }
        strangerSeenAt = nil
        guard canStart else { return wake(after: timing.pollInterval) }
        let now = SuspendingClock.now
        guard now >= earliestStart else { return wake(after: earliestStart - now) }
        launch()
    }

    private func awaitChild(_ process: pid_t) {
        let (isGone, how) = hasEnded(process)
        if isGone {
            let end = how.map(String.init(describing:)) ?? "it ended"
            return loseProcess(process, "\(end) before it served: see its log", signal: nil)
        }
        guard SuspendingClock.now - childStartedAt < timing.startLimit else {
            return loseProcess(process, "it doesn't begin to serve", signal: SIGKILL)
        }
        wake(after: timing.pollInterval)
    }

    /// Another process holds the lock but can't be reached: it is starting, ending or frozen.
    private func awaitStranger(_ process: pid_t) {
        let now = SuspendingClock.now
        let since = strangerSeenAt ?? now
        strangerSeenAt = since
        guard now - since < timing.startLimit else {
            strangerSeenAt = nil
            return loseProcess(process, "it holds the lock but can't be reached", signal: SIGKILL)
        }
        wake(after: timing.pollInterval)
    }

    private func launch() {
        do {
            childStartedAt = SuspendingClock.now
            child = try ProcessLauncher.launch(
                executable: executablePath, configurationPath: configurationPath,
                configuration: configuration, log: log)
            wake(after: timing.pollInterval)
        } catch {
            retrySeeking("cannot start \(executablePath): \(error)")
        }
    }
}
