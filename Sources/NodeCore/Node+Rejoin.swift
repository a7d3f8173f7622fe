import ClusterModel
import KeyCatalog
import Raft

// The way back of a node that has lost its term and vote (`Raft.Rejoin` and Consensus+Repair.swift say why it is safe).
// It asks every half second; whoever leads makes it a learner, tells it once that is committed, and makes it a voter
// again when it has caught up. The question names the life of the node, so that the answer to an earlier life, which
// may have voted since, counts for nothing. Nothing is done that would leave no majority to be reached.

/// Between a node that has lost its votes and the leader.
public enum RejoinMessage: Hashable, Sendable, Codable {
    /// "I have lost my votes": nothing of the sender's may be counted.
    case votesLost(life: UInt64)
    /// "The configuration that is committed at the index, in my term at the latest, does not count you."
    case demoted(life: UInt64, term: Term, index: LogIndex)
    /// "I take part as a learner and want to vote again."
    case wantsPromotion
}

extension Node {
    mutating func askToRejoin() {
        guard let rejoin = raft.rejoin, !isRemoved else { return }
        if let last = askedToRejoinAt, moment.now - last < settings.rejoinPeriod { return }
        askedToRejoinAt = moment.now
        switch rejoin {
        case .demotion:
            // It hears no leader, so it asks everybody.
            for peer in linkedPeers.sorted() {
                effects.send.append(PeerEnvelope(to: peer, message: .rejoin(.votesLost(life: life))))
            }
        case .promotion:
            guard let leader = raft.leader else { return }
            effects.send.append(PeerEnvelope(to: leader, message: .rejoin(.wantsPromotion)))
        }
    }

    mutating func take(_ message: RejoinMessage, from peer: NodeID) {
        switch message {
        case .votesLost(let life): answerVotesLost(life, of: peer)
        case .wantsPromotion: promoteAgain(peer)
        case .demoted(let asked, let term, let index):
            guard asked == life, raft.rejoin == .demotion else { return }
            notice(
                .info, "the others have made this node a learner; it takes entries again",
                ["leader": "\(peer)", "index": "\(index)"])
            stepRaft(.demoted(by: peer, term: term, index: index))
        }
    }

    private mutating func answerVotesLost(_ asked: UInt64, of peer: NodeID) {
        guard let steward, steward.isReady, steward.membership == nil else { return }
        if raft.configuration.isVoter(peer) {
            // A learner must be able to look the members up.
            for record in settings.nodes
            where raft.configuration.isMember(record.id) && catalog.nodes[record.id] == nil {
                return proposeUpkeep("register node \(record.id)", .registerNode(record))
            }
            return proposeUpkeep("demote node \(peer)", raft.configuration.addingLearner(peer))
        }
        guard isCommitted else { return }
        let answer = RejoinMessage.demoted(life: asked, term: raft.term, index: raft.commitIndex)
        effects.send.append(PeerEnvelope(to: peer, message: .rejoin(answer)))
    }

    private mutating func promoteAgain(_ peer: NodeID) {
        guard let steward, steward.isReady, steward.membership == nil, isCommitted,
            raft.configuration.isMember(peer), !raft.configuration.isVoter(peer),
            let progress = raft.peers.first(where: { $0.id == peer }),
            raft.lastIndex.rawValue - min(raft.lastIndex.rawValue, progress.matchIndex.rawValue)
                <= settings.promotionLag
        else { return }
        proposeUpkeep("promote node \(peer)", raft.configuration.addingVoter(peer))
    }

    private mutating func proposeUpkeep(_ name: String, _ configuration: VoterConfiguration) {
        guard quorumRefusal(of: configuration) == nil,
            steward?.upkeep.insert(name).inserted == true
        else { return }
        let token = ids.next()
        proposals[token] = .upkeep(name)
        stepRaft(.configurationProposed(configuration, token: token))
    }
}
