// The log in memory: everything after a base position (Raft §5.3, §7). It knows three ends: the last entry,
// the last one handed out for writing, and the last one known durable. Configurations found in entries are
// kept beside them, since a node uses the latest one in its log, committed or not (dissertation §4.1), and
// must return to the one before when a conflicting entry is cut off.

import ClusterModel

/// A contiguous run of entries after a base position.
struct Log: Hashable, Sendable {
    /// The position before the first entry held.
    private(set) var baseIndex: LogIndex
    private(set) var baseTerm: Term
    private(set) var entries: [LogEntry]
    /// The latest snapshot, at `baseIndex` or later.
    private(set) var snapshot: SnapshotMetadata?
    /// The last entry handed out for writing.
    private(set) var writtenIndex: LogIndex
    /// The last entry known durable.
    private(set) var durableIndex: LogIndex
    /// Stored entries from here on are to be deleted by the next batch.
    private(set) var truncateFrom: LogIndex?
    /// Batches not yet durable, with the index up to which the log is durable once they are.
    private(set) var unconfirmed: [Unconfirmed] = []
    /// Where each configuration took force; the first lies at or before the base.
    private var configurations: [Placed]

    struct Unconfirmed: Hashable, Sendable {
        var token: PersistToken
        var lastIndex: LogIndex
    }

    private struct Placed: Hashable, Sendable {
        var index: LogIndex
        var configuration: VoterConfiguration
    }

    init(recovered: RecoveredState) {
        snapshot = recovered.snapshot
        baseIndex = recovered.snapshot?.lastIndex ?? .zero
        baseTerm = recovered.snapshot?.lastTerm ?? .zero
        entries = recovered.entries
        let last = recovered.entries.last?.index ?? baseIndex
        writtenIndex = last
        durableIndex = last
        let first = recovered.snapshot?.configuration ?? recovered.initialConfiguration
        configurations = [Placed(index: baseIndex, configuration: first)]
        noteConfigurations(in: recovered.entries)
    }

    // MARK: Reading

    var lastIndex: LogIndex { entries.last?.index ?? baseIndex }
    var lastTerm: Term { entries.last?.term ?? baseTerm }
    var configuration: VoterConfiguration { configurations[configurations.count - 1].configuration }
    /// Where the configuration in force stands in the log.
    var configurationIndex: LogIndex { configurations[configurations.count - 1].index }

    /// The configuration before the one in force; the same when there is none in memory.
    var previousConfiguration: VoterConfiguration {
        configurations[max(0, configurations.count - 2)].configuration
    }

    /// The term at a position; nil when the position is beyond the log or was compacted away.
    func term(at index: LogIndex) -> Term? {
        if index == baseIndex { return baseTerm }
        guard index > baseIndex, index <= lastIndex else { return nil }
        return entries[position(of: index)].term
    }

    /// Where the log ends.
    var end: LogPosition { LogPosition(index: lastIndex, term: lastTerm) }

    /// Where the durable part of the log ends. A log that is being cut or replaced may not know the term there.
    var durableEnd: LogPosition? {
        term(at: durableIndex).map { LogPosition(index: durableIndex, term: $0) }
    }

    /// Entries from `first` on, within limits; at least one when there is any. Empty when `first` is gone.
    func slice(from first: LogIndex, maxEntries: Int, maxBytes: Int) -> [LogEntry] {
        guard first > baseIndex, first <= lastIndex else { return [] }
        let start = position(of: first)
        var end = start
        var bytes = 0
        while end < entries.count, end - start < maxEntries {
            bytes += entries[end].byteCount
            if end > start, bytes > maxBytes { break }
            end += 1
        }
        return Array(entries[start..<end])
    }

    /// Entries after `after` up to and including `through`, both within the log.
    func range(after: LogIndex, through: LogIndex) -> ArraySlice<LogEntry> {
        guard after >= baseIndex, after < through, through <= lastIndex else { return [] }
        return entries[position(of: after.next)...position(of: through)]
    }

    /// The largest position at or before `index` whose term is at most `term`: where logs can meet at best
    /// when the other's entry at `index` has `term`. Skips a whole term of conflicts at a time.
    func meetingPoint(atOrBefore index: LogIndex, term: Term) -> (index: LogIndex, term: Term) {
        var candidate = min(index, lastIndex)
        while candidate > baseIndex, let own = self.term(at: candidate), own > term {
            candidate = candidate.previous
        }
        return (candidate, self.term(at: candidate) ?? .zero)
    }

    /// The configuration in force at a position.
    func configuration(at index: LogIndex) -> VoterConfiguration {
        (configurations.last { $0.index <= index } ?? configurations[0]).configuration
    }

    private func position(of index: LogIndex) -> Int { Int(index.rawValue - baseIndex.rawValue) - 1 }

    // MARK: Growing and cutting

    /// Appends entries that follow the last one.
    mutating func append(_ new: some Collection<LogEntry>) {
        precondition(new.first.map { $0.index == lastIndex.next } ?? true, "the log may not have gaps")
        entries.append(contentsOf: new)
        noteConfigurations(in: new)
    }

    /// Cuts off all entries from `index` on.
    mutating func truncate(from index: LogIndex) {
        precondition(index > baseIndex, "a compacted entry can't be cut off")
        guard index <= lastIndex else { return }
        entries.removeSubrange(position(of: index)...)
        configurations.removeAll { $0.index >= index && $0.index > baseIndex }
        if index <= writtenIndex { truncateFrom = min(index, truncateFrom ?? index) }
        let last = index.previous
        writtenIndex = min(writtenIndex, last)
        durableIndex = min(durableIndex, last)
        for position in unconfirmed.indices {
            unconfirmed[position].lastIndex = min(unconfirmed[position].lastIndex, last)
        }
    }

    private mutating func noteConfigurations(in new: some Collection<LogEntry>) {
        for entry in new {
            guard case .configuration(let configuration) = entry.payload else { continue }
            configurations.append(Placed(index: entry.index, configuration: configuration))
        }
    }

    // MARK: Writing

    var hasUnwritten: Bool { truncateFrom != nil || writtenIndex < lastIndex }

    /// Hands out what has to be written as the batch `token`.
    mutating func takeUnwritten(as token: PersistToken) -> (truncateFrom: LogIndex?, entries: [LogEntry]) {
        let fresh = Array(range(after: writtenIndex, through: lastIndex))
        let cut = truncateFrom
        truncateFrom = nil
        writtenIndex = lastIndex
        unconfirmed.append(Unconfirmed(token: token, lastIndex: lastIndex))
        return (cut, fresh)
    }

    /// Notes that all batches up to `token` are durable.
    mutating func confirm(through token: PersistToken) {
        let done = unconfirmed.prefix { $0.token <= token }
        if let last = done.last { durableIndex = max(durableIndex, last.lastIndex) }
        unconfirmed.removeFirst(done.count)
    }

    // MARK: Snapshots

    /// Forgets entries that the snapshot covers, except the latest `keeping`.
    mutating func compact(to metadata: SnapshotMetadata, keeping: Int) {
        snapshot = metadata
        let drop = baseIndex.distance(to: metadata.lastIndex) - keeping
        guard drop > 0 else { return }
        let newBase = baseIndex.advanced(by: drop)
        guard let newTerm = term(at: newBase) else { return }
        let inForce = configuration(at: newBase)
        entries.removeFirst(drop)
        configurations.removeAll { $0.index <= newBase }
        configurations.insert(Placed(index: newBase, configuration: inForce), at: 0)
        baseIndex = newBase
        baseTerm = newTerm
    }

    /// Replaces everything by an installed snapshot.
    mutating func reset(to metadata: SnapshotMetadata) {
        snapshot = metadata
        entries = []
        baseIndex = metadata.lastIndex
        baseTerm = metadata.lastTerm
        writtenIndex = metadata.lastIndex
        durableIndex = metadata.lastIndex
        truncateFrom = nil
        for position in unconfirmed.indices { unconfirmed[position].lastIndex = metadata.lastIndex }
        configurations = [Placed(index: metadata.lastIndex, configuration: metadata.configuration)]
    }
}
