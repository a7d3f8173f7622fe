import Foundation
import Glibc
import Synchronization

// Stands between two nodes and passes their link's bytes on, or doesn't: network namespaces would need root on
// the machines of those who run the tests. The bytes of a TLS link can't be lost one by one, so a partition holds
// them back, in one direction or in both, as a cut cable does until TCP gives up; what was held arrives late when
// it heals, or the connection is reset. Compare Jepsen's partitions and toxiproxy.

/// A TCP proxy on a port of its own in front of one other port. All members may be called from any thread.
final class LinkProxy: Sendable {
    /// What happens to connections and bytes.
    struct Weather: Sendable, Equatable {
        /// Bytes of the side that dials are held back.
        var holdsFromDialer = false
        /// Bytes of the side that accepts are held back.
        var holdsFromAcceptor = false
        /// New connections are accepted and closed at once.
        var dropsAccepted = false
        /// How late each piece is passed on, in milliseconds.
        var delayMilliseconds: Int64 = 0
    }

    private struct State {
        var weather = Weather()
        var resets = 0
        var isStopped = false
    }

    let port: Int
    private let target: Int
    private let state = Mutex(State())
    private static let pieceBytes = 64 * 1024
    private static let maxBufferedBytes = 1 << 20
    private static let pollMilliseconds: Int32 = 10

    /// Listens at once; throws when there is no free port.
    init(to target: Int) throws {
        self.target = target
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = LoopbackSocket.address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 64) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard descriptor >= 0, isBound else {
            throw CommandError(description: "the proxy cannot listen: errno \(errno)")
        }
        port = Int(in_port_t(bigEndian: address.sin_port))
        Self.makeNonBlocking(descriptor)
        Thread.detachNewThread { self.run(listener: descriptor) }
    }

    func set(_ weather: Weather) { state.withLock { $0.weather = weather } }
    func change(_ body: (inout Weather) -> Void) { state.withLock { body(&$0.weather) } }
    /// Resets every connection that stands.
    func reset() { state.withLock { $0.resets += 1 } }
    func stop() { state.withLock { $0.isStopped = true } }

    // MARK: The thread

    /// One way of a connection.
    private struct Way {
        var source: Int32
        var sink: Int32
        var pieces: [(due: Int64, bytes: ArraySlice<UInt8>)] = []
        var buffered = 0
    }

    private struct Pair {
        var forth: Way
        var back: Way
        var isBroken = false
    }

    private func run(listener: Int32) {
        var pairs: [Pair] = []
        var resetsSeen = 0
        while true {
            let now = state.withLock { $0 }
            if now.isStopped || now.resets > resetsSeen {
                resetsSeen = now.resets
                pairs.forEach(Self.close)
                pairs = []
            }
            if now.isStopped { break }
            var polled = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
            for pair in pairs {
                for (way, isHeld) in [
                    (pair.forth, now.weather.holdsFromDialer), (pair.back, now.weather.holdsFromAcceptor),
                ] where !isHeld && way.buffered < Self.maxBufferedBytes {
                    polled.append(pollfd(fd: way.source, events: Int16(POLLIN), revents: 0))
                }
            }
            let hasWaiting = pairs.contains { $0.forth.buffered + $0.back.buffered > 0 }
            poll(&polled, nfds_t(polled.count), hasWaiting ? 1 : Self.pollMilliseconds)
            if polled[0].revents != 0, let pair = accept(from: listener, now.weather) { pairs.append(pair) }
            let readable = Set(polled.dropFirst().filter { $0.revents != 0 }.map(\.fd))
            for index in pairs.indices {
                let forth = pass(&pairs[index].forth, readable, now.weather.holdsFromDialer, now.weather)
                let back = pass(&pairs[index].back, readable, now.weather.holdsFromAcceptor, now.weather)
                pairs[index].isBroken = !forth || !back
            }
            pairs.filter(\.isBroken).forEach(Self.close)
            pairs.removeAll(where: \.isBroken)
        }
        Glibc.close(listener)
    }

    private func accept(from listener: Int32, _ weather: Weather) -> Pair? {
        let accepted = Glibc.accept(listener, nil, nil)
        guard accepted >= 0 else { return nil }
        guard !weather.dropsAccepted, let connected = LoopbackSocket.send([], to: target) else {
            Glibc.close(accepted)
            return nil
        }
        for descriptor in [accepted, connected] {
            Self.makeNonBlocking(descriptor)
            var one: Int32 = 1
            setsockopt(
                descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        return Pair(
            forth: Way(source: accepted, sink: connected), back: Way(source: connected, sink: accepted))
    }

    /// Takes in what has come and hands on what is due; false when the connection is over.
    private func pass(_ way: inout Way, _ readable: Set<Int32>, _ isHeld: Bool, _ weather: Weather) -> Bool {
        guard !isHeld else { return true }
        if readable.contains(way.source) {
            var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
            let got = recv(way.source, &piece, piece.count, 0)
            if got > 0 {
                way.pieces.append((Self.milliseconds() + weather.delayMilliseconds, piece.prefix(got)))
                way.buffered += got
            } else if got == 0 || (errno != EAGAIN && errno != EINTR) {
                return false
            }
        }
        while let first = way.pieces.first, first.due <= Self.milliseconds() {
            let sent = first.bytes.withUnsafeBytes {
                Glibc.send(way.sink, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent < 0 {
                return errno == EAGAIN || errno == EINTR
            }
            way.buffered -= sent
            way.pieces[0].bytes = first.bytes.dropFirst(sent)
            if way.pieces[0].bytes.isEmpty { way.pieces.removeFirst() }
        }
        return true
    }

    private static func close(_ pair: Pair) {
        for descriptor in [pair.forth.source, pair.back.source] {
            var setting = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &setting, socklen_t(MemoryLayout<linger>.size))
            Glibc.close(descriptor)
        }
    }

    private static func makeNonBlocking(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    private static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
