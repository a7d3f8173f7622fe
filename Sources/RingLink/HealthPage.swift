internal import CSharedMemory
internal import Glibc

// A page that a host writes and every client may read at any time without asking: how the host is, and
// whether one of its threads is looking at the rings right now. The page is sealed against writing by anyone
// but the host, so a client can't tell lies in it to another one.

/// What a host says of itself.
public struct RingHealth: Hashable, Sendable {
    /// How the host is.
    public enum State: UInt32, Hashable, Sendable {
        /// It is starting, or has no token or no login: calls will fail.
        case notServing = 0
        /// It serves.
        case serving = 1
        /// It is about to end.
        case stopping = 2
    }
    /// How the host is.
    public var state: State
    /// Another one at every start of a host: handles of an earlier one mean nothing.
    public var incarnation: UInt64
    /// Calls that are being carried out.
    public var outstanding: UInt32
    /// The moving average of a call's duration at the host, in nanoseconds (an eighth of each new one).
    public var serviceNanoseconds: UInt64
    /// The CKR_ value of the last call that failed in the module; 0 for none so far.
    public var lastError: UInt64
}

/// Where things lie in the page.
enum HealthLayout {
    static let bytes = 4_096
    static let magic: UInt64 = 0x3141_4548_434D_5348  // "HSMCHEA1"
    /// 1 while a thread of the host looks at the rings, so that a new request needs no wake-up.
    static let watching = 64
    static let state = 128
    static let outstanding = 132
    static let incarnation = 136
    static let service = 144
    static let lastError = 152
}

/// A page, mapped.
final class HealthPage: Sendable {
    let memory: SharedMemory

    private init(_ memory: SharedMemory) { self.memory = memory }

    /// Makes a page: the host's mapping, and the descriptor for clients, which is the caller's.
    static func make(incarnation: UInt64) -> (page: HealthPage, descriptor: Int32)? {
        guard let descriptor = SharedMemory.make("hsmcluster-health", length: HealthLayout.bytes) else {
            return nil
        }
        guard let memory = SharedMemory(descriptor: descriptor, length: HealthLayout.bytes, isWritable: true),
            SharedMemory.makeReadOnly(descriptor)
        else {
            close(descriptor)
            return nil
        }
        memory.store64(0, HealthLayout.magic)
        memory.store64(HealthLayout.incarnation, incarnation)
        return (HealthPage(memory), descriptor)
    }

    /// Maps a page that came from a host.
    init?(descriptor: Int32) {
        guard SharedMemory.isFixed(descriptor, length: HealthLayout.bytes),
            let memory = SharedMemory(descriptor: descriptor, length: HealthLayout.bytes, isWritable: false),
            memory.load64(0) == HealthLayout.magic
        else { return nil }
        self.memory = memory
    }

    var isWatched: Bool { memory.load32(HealthLayout.watching) != 0 }

    var health: RingHealth {
        RingHealth(
            state: RingHealth.State(rawValue: memory.load32(HealthLayout.state)) ?? .notServing,
            incarnation: memory.load64(HealthLayout.incarnation),
            outstanding: memory.load32(HealthLayout.outstanding),
            serviceNanoseconds: memory.load64(HealthLayout.service),
            lastError: memory.load64(HealthLayout.lastError))
    }
}
