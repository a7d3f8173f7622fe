internal import RingLink
internal import Synchronization

// Connections to the token hosts of this machine, one for each endpoint and process, shared by all its threads. A connection
// is made when it is first needed. While one thread connects the others wait for it, no longer than it may take; an endpoint
// that could not be connected to is left alone for a moment, so that a frozen host costs one wait and not one a call.

/// The connections.
final class RingConnections: Sendable {
    private let connections = Mutex<[String: RingConnection]>([:])

    /// The connection to a socket, made or not.
    func connection(_ path: String) -> RingConnection {
        connections.withLock { connections in
            if let known = connections[path] { return known }
            let made = RingConnection(path: path)
            connections[path] = made
            return made
        }
    }

    func close() { connections.withLock { $0 = [:] } }
}

/// One connection, made anew when its host was lost.
final class RingConnection: Sendable {
    private struct State {
        var client: RingClient?
        var retryAt: Int64 = 0
    }
    private let path: String
    private let state = Mutex(State())

    init(path: String) { self.path = path }

    /// The client, connected.
    func client(connectBy end: Int64) throws(HostUnreachable) -> RingClient {
        let client = state.withLock { state -> RingClient? in
            if let client = state.client {
                // A host that does not serve answers nothing, so that only a look shows whether it has ended.
                if client.health.state == .notServing { client.check() }
                if !client.isLost, client.health.state != .stopping { return client }
            }
            state.client = nil
            let begin = RingClock.now()
            guard begin >= state.retryAt else { return nil }
            state.client = try? RingClient(path: path, deadline: end)
            if state.client == nil {
                // A refusal is cheap to repeat; a host that said nothing is not.
                let took = RingClock.now() - begin
                state.retryAt = begin + took + max(Self.shortestPause, took * 4)
            }
            return state.client
        }
        guard let client, client.health.state == .serving else { throw HostUnreachable() }
        return client
    }

    private static let shortestPause: Int64 = 10_000_000
}

/// A request in a lane.
final class RingPending: PendingReply {
    let call: RingCall
    init(_ call: RingCall) { self.call = call }
}
