import ClusterModel
import KeyCatalog
import Raft

// Snapshots (Raft §7). The catalog is a value, so a snapshot is the catalog itself: taking one means that the
// catalog on disk is synced and the log in front of it forgotten; sending one means to send its rows. Consensus
// says when a follower needs one and when one may be installed; the rows in between are this file's affair.
// No more than one transfer to a follower runs at a time, and no more than one is taken in.

/// A snapshot on its way to a follower.
struct OutgoingSnapshot: Sendable {
    var transfer: UInt64
    var term: Term
    var metadata: SnapshotMetadata
    var rows: [RowChange]
    /// Where each chunk begins in `rows`; never empty.
    var chunks: [Int]
    /// The chunk that the follower waits for, and the furthest one that it has waited for.
    var next = 0, furthest = 0
    var sentAt: Instant
    /// When it last waited for one further on than before.
    var advancedAt: Instant

    /// The rows of a chunk.
    func chunk(_ number: Int) -> ArraySlice<RowChange> {
        rows[chunks[number]..<(number + 1 < chunks.count ? chunks[number + 1] : rows.count)]
    }

    /// Cuts rows into chunks of about `bytes`; a row is never split.
    static func cut(_ rows: [RowChange], bytes limit: Int) -> [Int] {
        var starts = [0]
        var bytes = 0
        for (position, row) in rows.enumerated() {
            if bytes > 0, bytes + row.byteCount > limit {
                starts.append(position)
                bytes = 0
            }
            bytes += row.byteCount
        }
        return starts
    }
}

/// A snapshot that is arriving.
struct IncomingSnapshot: Sendable {
    var sender: NodeID
    var term: Term
    var transfer: UInt64
    var metadata: SnapshotMetadata
    var rows: [RowChange] = []
    var bytes = 0
    /// The number of the chunk to come.
    var next: UInt64 = 0

    func isOf(_ chunk: SnapshotChunk, from peer: NodeID) -> Bool {
        sender == peer && term == chunk.term && transfer == chunk.transfer && metadata == chunk.metadata
    }
}

extension RowChange {
    /// What a row is charged against the limits of a snapshot.
    var byteCount: Int { table.utf8.count + key.utf8.count + (value?.count ?? 0) + 16 }
}

extension Node {
    // MARK: Taking

    /// Asks for a snapshot once enough has been applied since the last one.
    mutating func considerSnapshot() {
        guard takingSnapshot == nil, arrivedSnapshot == nil, effects.fatal == nil else { return }
        let last = raft.snapshot?.lastIndex ?? .zero
        let entries = appliedIndex.rawValue - min(last.rawValue, appliedIndex.rawValue)
        guard entries >= settings.snapshotEntries || (entries > 0 && bytesApplied >= settings.snapshotBytes)
        else { return }
        guard let metadata = raft.snapshotMetadata(at: appliedIndex) else { return }
        takingSnapshot = metadata
        bytesApplied = 0
        effects.takeSnapshot = metadata
    }

    mutating func snapshotTaken(_ metadata: SnapshotMetadata) {
        guard takingSnapshot == metadata else { return }
        takingSnapshot = nil
        stepRaft(.snapshotTaken(metadata))
    }

    // MARK: Sending

    /// Begins to bring the catalog as it is now to a follower; it is at least as new as what consensus asks for.
    mutating func sendSnapshot(_ wanted: SnapshotTransfer) {
        guard let metadata = raft.snapshotMetadata(at: appliedIndex),
            metadata.lastIndex >= wanted.request.metadata.lastIndex
        else {
            outgoingSnapshots[wanted.to] = nil
            return stepRaft(.snapshotSendFailed(to: wanted.to))
        }
        let rows = catalog.allRows
        outgoingSnapshots[wanted.to] = OutgoingSnapshot(
            transfer: ids.next(), term: wanted.request.term, metadata: metadata, rows: rows,
            chunks: OutgoingSnapshot.cut(rows, bytes: settings.snapshotChunkBytes), sentAt: moment.now,
            advancedAt: moment.now)
        notice(
            .info, "node \(wanted.to) gets a snapshot up to entry \(metadata.lastIndex)",
            ["peer": "\(wanted.to)", "rows": "\(rows.count)"])
        sendChunk(to: wanted.to)
    }

    private mutating func sendChunk(to peer: NodeID) {
        guard let outgoing = outgoingSnapshots[peer] else { return }
        outgoingSnapshots[peer]?.sentAt = moment.now
        let chunk = SnapshotChunk(
            term: outgoing.term, transfer: outgoing.transfer, metadata: outgoing.metadata,
            number: UInt64(outgoing.next), isLast: outgoing.next == outgoing.chunks.count - 1,
            rows: Array(outgoing.chunk(outgoing.next)))
        effects.send.append(PeerEnvelope(to: peer, message: .snapshotChunk(chunk)))
    }

    mutating func takeSnapshotAnswer(_ answer: SnapshotAnswer, from peer: NodeID) {
        guard let outgoing = outgoingSnapshots[peer], outgoing.transfer == answer.transfer,
            outgoing.term == answer.term
        else { return }
        switch answer.outcome {
        case .complete:
            outgoingSnapshots[peer] = nil
            stepRaft(.snapshotSendFinished(to: peer))
        case .wants(let number):
            // An answer that repeats the present number is a late one: the pace of repeating is the timer's.
            guard let next = Int(exactly: number), next != outgoing.next, next < outgoing.chunks.count
            else { return }
            outgoingSnapshots[peer]?.next = next
            if next > outgoing.furthest { outgoingSnapshots[peer]?.advancedAt = moment.now }
            // Zero: the follower has started anew.
            outgoingSnapshots[peer]?.furthest = next == 0 ? 0 : max(next, outgoing.furthest)
            sendChunk(to: peer)
        case .refused(let reason):
            notice(.warning, "node \(peer) refused a snapshot: \(reason)", ["peer": "\(peer)"])
            abandonSnapshot(to: peer)
        }
    }

    private mutating func abandonSnapshot(to peer: NodeID) {
        outgoingSnapshots[peer] = nil
        stepRaft(.snapshotSendFailed(to: peer))
    }

    /// Repeats what has not been answered, and gives up transfers that do not get on.
    mutating func checkSnapshots() {
        for peer in outgoingSnapshots.keys.sorted() {
            guard let outgoing = outgoingSnapshots[peer] else { continue }
            if !isLeader || outgoing.term != raft.term || !raft.configuration.isMember(peer) {
                outgoingSnapshots[peer] = nil
            } else if moment.now - outgoing.advancedAt > settings.snapshotPatience {
                notice(
                    .warning, "a snapshot to node \(peer) got stuck; it will be tried again",
                    ["peer": "\(peer)"])
                abandonSnapshot(to: peer)
            } else if moment.now - outgoing.sentAt >= settings.snapshotResend, linkedPeers.contains(peer) {
                sendChunk(to: peer)
            }
        }
    }

    // MARK: Receiving

    mutating func takeChunk(_ chunk: SnapshotChunk, from peer: NodeID) {
        // Only the leader of this term replaces anybody's state; consensus learns who that is from heartbeats.
        guard chunk.term == raft.term, raft.leader == peer, arrivedSnapshot == nil else { return }
        let request = Message.snapshotRequest(SnapshotRequest(term: chunk.term, metadata: chunk.metadata))
        guard chunk.metadata.lastIndex > raft.commitIndex else {
            incomingSnapshot = nil
            answer(chunk, .complete, to: peer)
            return stepRaft(.received(request, from: peer))
        }
        var incoming =
            incomingSnapshot.flatMap { $0.isOf(chunk, from: peer) ? $0 : nil }
            ?? IncomingSnapshot(
                sender: peer, term: chunk.term, transfer: chunk.transfer, metadata: chunk.metadata)
        guard chunk.number == incoming.next else {
            incomingSnapshot = incoming
            return answer(chunk, .wants(incoming.next), to: peer)
        }
        incoming.bytes += chunk.rows.reduce(0) { $0 + $1.byteCount }
        guard incoming.bytes <= settings.snapshotLimit else {
            incomingSnapshot = nil
            return answer(
                chunk, .refused("it has more than \(settings.snapshotLimit) bytes"), to: peer)
        }
        incoming.rows += chunk.rows
        incoming.next += 1
        guard chunk.isLast else {
            incomingSnapshot = incoming
            return answer(chunk, .wants(incoming.next), to: peer)
        }
        incomingSnapshot = nil
        do {
            let catalog = try Catalog(rows: incoming.rows)
            arrivedSnapshot = ArrivedSnapshot(
                installation: SnapshotInstallation(metadata: chunk.metadata, rows: incoming.rows),
                catalog: catalog)
        } catch {
            return answer(
                chunk, .refused("row \(error.key) of \(error.table) is \(error.detail)"), to: peer)
        }
        answer(chunk, .complete, to: peer)
        stepRaft(.received(request, from: peer))
        if !isInstallingSnapshot { arrivedSnapshot = nil }
    }

    private mutating func answer(
        _ chunk: SnapshotChunk, _ outcome: SnapshotAnswer.Outcome, to peer: NodeID
    ) {
        let answer = SnapshotAnswer(term: chunk.term, transfer: chunk.transfer, outcome: outcome)
        effects.send.append(PeerEnvelope(to: peer, message: .snapshotAnswer(answer)))
    }

    // MARK: Installing

    /// Consensus wants the arrived snapshot in place.
    mutating func installSnapshot(_ metadata: SnapshotMetadata) {
        guard let arrived = arrivedSnapshot, arrived.installation.metadata == metadata else {
            return stepRaft(.snapshotInstallFailed(metadata))
        }
        isInstallingSnapshot = true
        // A snapshot of our own would describe what is about to be replaced.
        takingSnapshot = nil
        effects.installSnapshot = arrived.installation
    }

    mutating func snapshotInstalled(_ metadata: SnapshotMetadata) {
        guard isInstallingSnapshot, let arrived = arrivedSnapshot,
            arrived.installation.metadata == metadata
        else { return }
        isInstallingSnapshot = false
        arrivedSnapshot = nil
        let before = catalog
        catalog = arrived.catalog
        appliedIndex = metadata.lastIndex
        bytesApplied = 0
        noticeClearedRejections(since: before)
        if before.membership != catalog.membership || before.nodes != catalog.nodes { membersChanged() }
        notice(
            .info, "the catalog was replaced by the leader's, up to entry \(metadata.lastIndex)",
            ["index": "\(metadata.lastIndex)"])
        stepRaft(.snapshotInstalled(metadata))
    }

    /// The command with which an operator allowed another try may be among the entries that were skipped.
    private mutating func noticeClearedRejections(since before: Catalog) {
        for name in settings.endpoints where localEndpoints[name]?.pin == .rejected {
            guard before.endpoints[name]?.rejectedBy != nil, catalog.endpoints[name]?.rejectedBy == nil
            else { continue }
            localEndpoints[name]?.mustForgetRejection = true
        }
    }
}

/// A complete snapshot on its way to the disk.
struct ArrivedSnapshot: Sendable {
    var installation: SnapshotInstallation
    var catalog: Catalog
}
