import Glibc

// Ports for clusters that run at the same time as other tests and programs: below the range from which the
// kernel takes ports for outgoing connections (32768), tried by binding.

enum FreePorts {
    /// A base port such that the nodes' ports (base + n, base + 100 + n) are all free just now.
    static func base(nodes: Int) throws -> Int {
        for _ in 0..<attempts {
            let base = Int.random(in: 50...150) * 200 + Int.random(in: 0...9) * 10
            if (1...nodes).allSatisfy({ isFree(base + $0) && isFree(base + 100 + $0) }) { return base }
        }
        throw CommandError(description: "found no free ports in \(attempts) attempts")
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = LoopbackSocket.address(port)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static let attempts = 200
}

/// A plain TCP connection to this machine, for saying things that no well-behaved peer says.
enum LoopbackSocket {
    static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        return address
    }

    /// Connects and sends the bytes, as far as the other side takes them. Returns the open descriptor, or nil.
    static func send(_ bytes: [UInt8], to port: Int) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        // Nobody may keep the test waiting by not reading.
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = address(port)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard connected else {
            close(descriptor)
            return nil
        }
        _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        return descriptor
    }
}
