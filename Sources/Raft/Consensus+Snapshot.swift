// Snapshots in place of a log prefix (Raft §7). Consensus handles descriptions only: the shells write, move
// and install the data. A follower that receives one stops taking entries until its shell has replaced state
// and log, so that nothing can be committed which the installation would undo.

import ClusterModel

extension Consensus {
    // MARK: Taking

    mutating func snapshotTaken(_ metadata: SnapshotMetadata) {
        guard metadata.lastIndex <= deliveredIndex, metadata.lastIndex > (log.snapshot?.lastIndex ?? .zero),
            log.term(at: metadata.lastIndex) == metadata.lastTerm
        else { return }
        log.compact(to: metadata, keeping: settings.entriesKeptBehindSnapshot)
    }

    // MARK: Sending

    /// Asks the shell to bring the latest snapshot to a follower whose next entry is gone.
    mutating func beginSnapshot(to peer: NodeID) {
        guard let metadata = log.snapshot else { return }
        leadership?.peers[peer]?.beginSnapshot(metadata.lastIndex)
        output.snapshotNeeded.append(
            SnapshotTransfer(to: peer, request: SnapshotRequest(term: term, metadata: metadata)))
    }

    mutating func handle(_ response: SnapshotResponse, from peer: NodeID) {
        handle(
            AppendResponse(term: response.term, outcome: .matched(response.matchIndex), readRound: 0),
            from: peer)
    }

    // MARK: Installing

    mutating func takeSnapshot(_ request: SnapshotRequest, from sender: NodeID) {
        guard follow(sender), pendingInstall == nil else { return }
        let metadata = request.metadata
        guard metadata.lastIndex > commitIndex else {
            return acknowledgeSnapshot(through: commitIndex)
        }
        // A log that holds the snapshot's last entry holds all before it: no need to replace anything.
        guard log.term(at: metadata.lastIndex) != metadata.lastTerm else {
            commitIndex = metadata.lastIndex
            return acknowledgeSnapshot(through: commitIndex)
        }
        pendingInstall = metadata
        output.installSnapshot = metadata
    }

    mutating func snapshotInstalled(_ metadata: SnapshotMetadata) {
        guard pendingInstall == metadata else { return }
        pendingInstall = nil
        log.reset(to: metadata)
        commitIndex = metadata.lastIndex
        deliveredIndex = metadata.lastIndex
        acknowledgeSnapshot(through: metadata.lastIndex)
    }

    mutating func snapshotInstallFailed(_ metadata: SnapshotMetadata) {
        guard pendingInstall == metadata else { return }
        pendingInstall = nil
    }

    /// Tells whoever leads now; committed entries are in every later leader's log.
    private mutating func acknowledgeSnapshot(through index: LogIndex) {
        guard case .follower(let leader?) = role else { return }
        sendDurably(.snapshotResponse(SnapshotResponse(term: term, matchIndex: index)), to: leader)
    }
}
