import ClusterModel
import NodeCore
import Raft

// Bugs that are planted on purpose, so that the checkers are themselves checked. Each spoils what goes into or
// out of a node; the nodes' own code knows nothing of it.

/// A bug to plant, by name.
public enum PlantedBug: String, CaseIterable, Sendable {
    /// Entries that should be written are thrown away now and then, yet reported as durable.
    case droppedWrite = "dropped-write"
    /// Term and vote are not written.
    case lostHardState = "lost-hard-state"
    /// The term is written without the vote (tikv#8381 is of this kind).
    case lostVote = "lost-vote"
    /// Messages that depend on a write leave before it.
    case earlySend = "early-send"
    /// Entries that another leader has replaced stay on the disk.
    case ignoredTruncation = "ignored-truncation"
    /// Catalog rows are written without the position in the log that belongs to them.
    case rowsWithoutIndex = "rows-without-index"
    /// A node takes an answer to one of its earlier lives for one to this life.
    case answersToAnyLife = "answers-to-any-life"
    /// Token hosts forget that a PIN was rejected.
    case forgottenRejection = "forgotten-rejection"
    /// Token hosts claim that every PIN was accepted before.
    case uncheckedPIN = "unchecked-pin"
    /// Proofs of a copy say what is hoped for, and copies are wrong now and then.
    case skippedProof = "skipped-proof"
    /// The order to destroy an orphan hits every object with its label.
    case destroyedByLabel = "destroyed-by-label"

    func mangle(_ effects: inout NodeEffects, _ simulation: Simulation) {
        for position in effects.persist.indices {
            switch self {
            case .droppedWrite where simulation.dice.chance(0.05):
                effects.persist[position].entries = []
            case .lostHardState:
                effects.persist[position].hardState = nil
            case .lostVote:
                effects.persist[position].hardState?.votedFor = nil
            case .earlySend:
                effects.send += effects.persist[position].thenSend.map {
                    PeerEnvelope(to: $0.to, message: .raft($0.message))
                }
                effects.persist[position].thenSend = []
            case .ignoredTruncation:
                effects.persist[position].truncateFrom = nil
            default: break
            }
        }
    }
}
