import Glibc

// A token host has little to say: one line per event on standard error, which is the node's own or a log
// file, and which the journal picks up. Each line is one write, so that lines of several processes don't mix.

/// Writes log lines. Usable from any thread.
struct HostLog: Sendable {
    /// The most bytes of a line.
    private static let lineBytes = 1_000
    private let endpoint: String

    /// Lines will bear this endpoint's name.
    init(endpoint: String) { self.endpoint = endpoint }

    /// Writes one line. Never pass a PIN or a token's secrets.
    func line(_ text: String) {
        let printable = text.utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        let head = Array("hsmtokend[\(endpoint)]: ".utf8)
        let bytes = head + printable.prefix(Self.lineBytes) + [UInt8(ascii: "\n")]
        // A reader that has stopped must not stop the token host: what doesn't fit into the pipe is dropped.
        var outlet = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard poll(&outlet, 1, 0) == 1, outlet.revents & Int16(POLLOUT) != 0 else { return }
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }
}
