import ClusterModel
import Glibc
import OperationWire
import RingLink
import TokenHostLink

// The way of applications to the module: one hop over shared memory (RingLink), without the node. It has
// threads and sessions of its own, so that the node's rare and long requests and the applications' many short
// ones don't wait for each other. When it can't be set up, the token host goes on serving its node.

/// The data path of one token host. The methods may be called from any thread.
final class DataPath: Sendable {
    private let path: String
    private let log: HostLog
    private let custodian: Custodian
    private let threads: Int
    private let users: [ApplicationUser]
    private let shared = Monitor<RingServer?>(nil)

    init(configuration: TokenHostConfiguration, custodian: Custodian, log: HostLog) {
        path = configuration.dataSocketPath
        threads = configuration.sessionThreads
        users = configuration.users ?? []
        self.custodian = custodian
        self.log = log
    }

    /// Begins to serve. Once.
    func start() {
        let incarnation = UInt64.random(in: 1 ... .max)
        let service = DataService(
            custodian: custodian, incarnation: incarnation, login: DataLogin(users: users))
        do throws(RingServerError) {
            let server = try RingServer(
                settings: RingServerSettings(
                    path: path, mode: 0o600, workers: threads, incarnation: incarnation), service: service)
            try server.start()
            shared.change { $0 = server }
        } catch {
            log.line("applications can't be served at \(path): \(error)")
        }
    }

    /// Tells applications how the token is.
    func announce(_ state: TokenHostState) {
        guard case .serving(let token, _) = state, token.isLoggedIn else {
            return shared.look { $0?.announce(.notServing) } ?? ()
        }
        shared.look { $0?.announce(.serving) }
    }

    /// What its threads are doing.
    func vitals() -> (busy: Int, longestMilliseconds: Int64) {
        guard let vitals = shared.look({ $0?.vitals() }) else { return (0, 0) }
        return (vitals.busy, vitals.longestNanoseconds / 1_000_000)
    }

    /// Takes no more requests.
    func stop() { shared.look { $0?.stop() } }

    /// Waits until all threads have ended; false when `end` comes first.
    func waitUntilStopped(_ end: HostInstant) -> Bool {
        guard let server = shared.look({ $0 }) else { return true }
        let left = max(0, end.milliseconds(since: HostInstant.now))
        return server.waitUntilStopped(until: RingClock.now() + left * 1_000_000)
    }
}

/// Serves requests of applications.
final class DataService: RingService {
    let custodian: Custodian
    let incarnation: UInt64
    let login: DataLogin
    let clients = DataClients()

    init(custodian: Custodian, incarnation: UInt64, login: DataLogin) {
        self.login = login
        self.custodian = custodian
        self.incarnation = incarnation
    }

    /// The socket's mode admits nobody else; the kernel's word is taken all the same.
    func mayConnect(_ peer: RingPeer) -> Bool { peer.user == geteuid() || peer.user == 0 }
    func connected(_ client: UInt64, _ peer: RingPeer) { clients.add(client) }

    func disconnected(_ client: UInt64) {
        guard let gone = clients.remove(client) else { return }
        // Closing sessions calls the module, which may take its time; not on this thread.
        try? OwnedThread.start { gone.close() }
    }

    func makeWorker() -> any RingWorker { DataWorker(self) }
}
