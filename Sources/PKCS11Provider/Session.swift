internal import CCryptoki
internal import ClusterModel
internal import OperationWire
internal import Synchronization

// Sessions and their tables. A handle leads to its session through one of many small locks, and each session has its own:
// threads with a session each never wait for one another.

/// What a search has found and not yet handed out.
struct Search {
    var handles: [UInt64]
    var next = 0
}

/// Output that was computed and has not been fetched: the answer to a length query, or of a call whose buffer was too
/// small. It is handed out when the same call comes again, so that nothing is signed twice.
struct PendingOutput {
    /// Which function it was.
    enum Call { case whole, update, final }
    var call: Call
    var input: [UInt8]
    var output: [UInt8]
}

/// Where a multi-part operation runs that gives output on the way or outgrew what is kept.
struct Stream {
    var number: StreamNumber
    var endpoint: Int
    var view: DirectoryView
    /// What was given out so far: length and hash, compared when the operation is begun anew elsewhere.
    var outputCount = 0
    var outputHash = FNV1a()

    mutating func gaveOut(_ bytes: [UInt8]) {
        outputCount += bytes.count
        outputHash.add(bytes)
    }
}

/// An operation between its C_…Init and its end.
struct ActiveOperation {
    var function: DataFunction
    var key: KeySource?
    var mechanism: FlatMechanism
    /// True after the first C_…Update.
    var isMultipart = false
    /// The input so far; nil once it is too much to be kept.
    var kept: [UInt8]? = []
    var stream: Stream?
    var pending: PendingOutput?

    var sources: [KeySource] { (key.map { [$0] } ?? []) + mechanism.sources }
}

/// What a session's lock protects.
struct SessionState {
    var search: Search?
    /// By function; at most one of each.
    var operations: [DataFunction: ActiveOperation] = [:]
    /// The view used last and its epoch.
    var view: DirectoryView?
    var epoch: UInt64 = 0
}

/// A session of the application.
final class Session: Sendable {
    let handle: UInt64
    let isReadWrite: Bool
    let state = Mutex(SessionState())
    /// Names of the endpoints that hold streams or objects of this session. A lock of its own: another session that
    /// uses an object of this one adds to it.
    let touched = Mutex<Set<String>>([])

    init(handle: UInt64, isReadWrite: Bool) {
        self.handle = handle
        self.isReadWrite = isReadWrite
    }
}

/// A table from handles to values, cut into parts with a lock each.
final class HandleTable<Value: AnyObject & Sendable>: Sendable {
    private static var partCount: Int { 64 }
    private final class Part: Sendable {
        let values = Mutex<[UInt64: Value]>([:])
    }
    private let parts: [Part]
    private let total = Atomic<Int>(0)
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
        parts = (0..<Self.partCount).map { _ in Part() }
    }

    private func part(_ handle: UInt64) -> Part { parts[Int(handle % UInt64(Self.partCount))] }

    var count: Int { total.load(ordering: .relaxed) }

    subscript(handle: UInt64) -> Value? { part(handle).values.withLock { $0[handle] } }

    /// Takes a value in; false when the table is full.
    func insert(_ value: Value, at handle: UInt64) -> Bool {
        guard total.add(1, ordering: .relaxed).newValue <= limit else {
            total.subtract(1, ordering: .relaxed)
            return false
        }
        part(handle).values.withLock { $0[handle] = value }
        return true
    }

    /// Takes a value out; nil when it is not there (any more).
    func remove(_ handle: UInt64) -> Value? {
        guard let value = part(handle).values.withLock({ $0.removeValue(forKey: handle) }) else { return nil }
        total.subtract(1, ordering: .relaxed)
        return value
    }

    /// All values, in ascending order of handles.
    func all() -> [(handle: UInt64, value: Value)] {
        parts.flatMap { part in part.values.withLock { values in values.map { ($0.key, $0.value) } } }
            .sorted { $0.0 < $1.0 }
    }

    func removeAll() {
        for (handle, _) in all() { _ = remove(handle) }
    }
}
