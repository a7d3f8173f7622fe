// Addresses as people write them: `host:port`, an IPv6 address in brackets (RFC 3986 §3.2.2), and the HTTPS
// addresses of the management API.

/// A host name or IP address with a port.
public struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
    /// A host name or an IP address, without brackets.
    public var host: String
    /// 1 to 65535.
    public var port: Int

    /// Puts an address together without checks.
    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port` or `[address]:port`; nil for anything else.
    public init?(_ text: String) {
        var host = text[...]
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(digits), (1...65_535).contains(port)
        else { return nil }
        host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":"), host.utf8.allSatisfy(Self.isAddressByte) else { return nil }
        } else {
            guard host.utf8.allSatisfy(Self.isNameByte) else { return nil }
        }
        guard !host.isEmpty, host.utf8.count <= 253 else { return nil }
        self.init(host: String(host), port: port)
    }

    /// `host:port`, with brackets where needed.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

/// Where a node's management API is: `https://host:port`.
public struct APIAddress: Hashable, Sendable, CustomStringConvertible {
    /// Host and port.
    public var address: NetworkAddress

    /// Wraps an address.
    public init(address: NetworkAddress) { self.address = address }

    /// Reads `https://host:port`, with or without a slash at the end; nil for anything else.
    public init?(_ text: String) {
        guard text.hasPrefix("https://") else { return nil }
        var rest = text.dropFirst("https://".count)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard let address = NetworkAddress(String(rest)) else { return nil }
        self.address = address
    }

    /// `https://host:port`.
    public var description: String { "https://\(address)" }
}
