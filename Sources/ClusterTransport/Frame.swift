// A frame is the unit that travels over a link: a kind, which the upper layers number, and bytes, which
// only they understand. On the wire a fixed header of eight bytes goes before the payload, all numbers
// big-endian: payload length (4), layout version (2), kind (2). The length comes first and is bounded,
// so that a peer can never make us reserve memory by announcing it. Everything inside TLS.

/// One message between two nodes.
public struct Frame: Sendable, Hashable {
    /// What the payload is. Kinds from `firstReservedKind` on belong to the transport and aren't sent
    /// for its users.
    public var kind: UInt16
    /// The message itself, at most `TransportSettings.maxFrameBytes` bytes.
    public var payload: [UInt8]

    /// A frame of a kind that the upper layers chose.
    public init(kind: UInt16, payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
    }

    /// The first kind that the transport keeps for itself.
    public static let firstReservedKind: UInt16 = 0xFF00
    /// The bytes before each payload.
    public static let headerBytes = 8
    /// The layout of the header. Another number means another layout, so the link is closed.
    public static let layoutVersion: UInt16 = 1

    static let helloKind: UInt16 = 0xFF01
    static let goodbyeKind: UInt16 = 0xFF02

    /// The bytes this frame takes on the wire, before encryption.
    public var encodedBytes: Int { Frame.headerBytes + payload.count }

    /// Appends header and payload to `output`. The payload must be shorter than 4 GiB.
    public func encode(into output: inout [UInt8]) {
        let length = UInt32(payload.count)
        output.reserveCapacity(output.count + encodedBytes)
        for shift in [24, 16, 8, 0] as [UInt32] { output.append(UInt8(truncatingIfNeeded: length >> shift)) }
        output.append(UInt8(truncatingIfNeeded: Frame.layoutVersion >> 8))
        output.append(UInt8(truncatingIfNeeded: Frame.layoutVersion))
        output.append(UInt8(truncatingIfNeeded: kind >> 8))
        output.append(UInt8(truncatingIfNeeded: kind))
        output.append(contentsOf: payload)
    }
}
