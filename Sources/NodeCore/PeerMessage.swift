import ClusterModel
import Gossip
import Raft
import WireFormat

// Everything that one node tells another travels as one of these, each in its own frame kind, so that a node
// that does not know a newer kind can skip it without losing the link.

/// A message between two nodes.
public enum PeerMessage: Hashable, Sendable {
    /// Consensus.
    case raft(Message)
    /// Membership and endpoint observations.
    case gossip(GossipMessage)
    /// A client's request on its way to the leader.
    case request(ForwardedRequest)
    /// The leader's answer on its way back.
    case answer(ForwardedAnswer)
    /// A part of a snapshot on its way to a follower.
    case snapshotChunk(SnapshotChunk)
    /// The follower's answer to it.
    case snapshotAnswer(SnapshotAnswer)
    /// To a node that is no member any more.
    case removed(RemovalNotice)
    /// To and from a node that has lost its votes.
    case rejoin(RejoinMessage)
}

/// A request that a node passes to the leader.
public struct ForwardedRequest: Hashable, Sendable, Codable {
    /// Tells the sending node's lives apart, since each numbers its requests from 1.
    public var life: UInt64
    /// Numbers the request within the sending node's life.
    public var sequence: UInt64
    /// What is asked.
    public var request: ClientRequest
    /// A fresh identifier for what the request may make.
    public var freshIdentifier: Identifier128
    /// Seconds since 1970 when the client asked.
    public var askedAt: Int64
}

/// The answer to a `ForwardedRequest`.
public struct ForwardedAnswer: Hashable, Sendable, Codable {
    /// The life of the request. The leader may answer when the node that asked has started anew.
    public var life: UInt64
    /// The request's number.
    public var sequence: UInt64
    /// The answer; nil when the node is not the leader (any more): ask again elsewhere.
    public var reply: ClientReply?
}

extension PeerMessage {
    /// Frame kinds of the link protocol. Numbers are never reused.
    public enum Kind {
        /// A `Message` of Raft.
        public static let raft: UInt16 = 1
        /// A `GossipMessage`.
        public static let gossip: UInt16 = 2
        /// A `ForwardedRequest`.
        public static let request: UInt16 = 3
        /// A `ForwardedAnswer`.
        public static let answer: UInt16 = 4
        /// A `SnapshotChunk`.
        public static let snapshotChunk: UInt16 = 5
        /// A `SnapshotAnswer`.
        public static let snapshotAnswer: UInt16 = 6
        /// A `RemovalNotice`.
        public static let removed: UInt16 = 7
        /// A `RejoinMessage`.
        public static let rejoin: UInt16 = 8
    }

    /// The frame's kind and payload.
    /// - Throws: `EncodingError`; no message that this program makes has a reason to.
    public func encoded() throws -> (kind: UInt16, payload: [UInt8]) {
        switch self {
        case .raft(let message): (Kind.raft, try CBOREncoder.encode(message))
        case .gossip(let message): (Kind.gossip, try CBOREncoder.encode(message))
        case .request(let message): (Kind.request, try CBOREncoder.encode(message))
        case .answer(let message): (Kind.answer, try CBOREncoder.encode(message))
        case .snapshotChunk(let message): (Kind.snapshotChunk, try CBOREncoder.encode(message))
        case .snapshotAnswer(let message): (Kind.snapshotAnswer, try CBOREncoder.encode(message))
        case .removed(let message): (Kind.removed, try CBOREncoder.encode(message))
        case .rejoin(let message): (Kind.rejoin, try CBOREncoder.encode(message))
        }
    }

    /// Reads a frame; nil for a kind that this version does not know.
    /// - Throws: `CBORError` or `DecodingError` for a payload that is not what its kind says.
    public static func decode(kind: UInt16, payload: [UInt8]) throws -> PeerMessage? {
        switch kind {
        case Kind.raft: .raft(try CBORDecoder.decode(Message.self, from: payload))
        case Kind.gossip: .gossip(try CBORDecoder.decode(GossipMessage.self, from: payload))
        case Kind.request: .request(try CBORDecoder.decode(ForwardedRequest.self, from: payload))
        case Kind.answer: .answer(try CBORDecoder.decode(ForwardedAnswer.self, from: payload))
        case Kind.snapshotChunk:
            .snapshotChunk(try CBORDecoder.decode(SnapshotChunk.self, from: payload))
        case Kind.snapshotAnswer:
            .snapshotAnswer(try CBORDecoder.decode(SnapshotAnswer.self, from: payload))
        case Kind.removed: .removed(try CBORDecoder.decode(RemovalNotice.self, from: payload))
        case Kind.rejoin: .rejoin(try CBORDecoder.decode(RejoinMessage.self, from: payload))
        default: nil
        }
    }
}
