import ClusterModel
import Gossip
import Raft
import WireFormat

@testable import KeyCatalog
@testable import NodeCore

// What one node sends another: the first byte is the frame's kind, the rest its payload.

enum Target: FuzzTarget {
    static let longestInput = 8192

    static func check(_ input: [UInt8]) {
        let kind = UInt16(input.first ?? 0)
        guard let message = try? PeerMessage.decode(kind: kind, payload: Array(input.dropFirst())) else {
            return
        }
        guard let written = try? message.encoded() else {
            return hold(false, "a message can be read but not written")
        }
        hold(written.kind == kind, "a message changes its kind")
        let again = try? PeerMessage.decode(kind: written.kind, payload: written.payload)
        hold(again == message, "a message reads as another one")
        hold((try? again?.encoded().payload) == written.payload, "a message is written in two ways")
    }

    static func seeds() throws -> [Seed] {
        let messages = PeerMessageSamples.all
        return try messages.map { name, message in
            let (kind, payload) = try message.encoded()
            return Seed(
                name: name, bytes: [UInt8(kind)] + payload, words: words(in: try .init(decoding: payload)))
        }
    }
}
