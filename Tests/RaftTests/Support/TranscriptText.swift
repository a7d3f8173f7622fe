// How transcripts spell messages, entries and outcomes: short, stable, and readable without the source.

import ClusterModel

@testable import Raft

extension Transcript {
    static func text(_ entry: LogEntry) -> String {
        let payload =
            switch entry.payload {
            case .noop: "noop"
            case .command(let bytes): String(decoding: bytes, as: UTF8.self)
            case .configuration(let configuration): "voters \(text(configuration))"
            }
        return "\(entry.index)/\(entry.term) \(payload)"
    }

    static func text(_ entries: [LogEntry]) -> String { entries.map { text($0) }.joined(separator: ", ") }

    static func text(_ configuration: VoterConfiguration) -> String {
        let voters = configuration.voters.map(\.description).joined(separator: " ")
        guard !configuration.learners.isEmpty else { return "(\(voters))" }
        return "(\(voters)) learners (\(configuration.learners.map(\.description).joined(separator: " ")))"
    }

    static func text(_ packet: Packet) -> String { "\(packet.from)>\(packet.to) \(text(packet.message))" }

    static func text(_ message: Message) -> String {
        let term = "term \(message.term)"
        switch message {
        case .preVoteRequest(let request):
            return "asks for pre-vote in \(term), log ends \(request.lastLogIndex)/\(request.lastLogTerm)"
        case .preVoteResponse(let response):
            return "\(response.isGranted ? "grants" : "refuses") pre-vote in \(term)"
        case .voteRequest(let request):
            let reason = request.isTransfer ? ", leader's wish" : ""
            return
                "asks for vote in \(term), log ends \(request.lastLogIndex)/\(request.lastLogTerm)\(reason)"
        case .voteResponse(let response):
            return "\(response.isGranted ? "grants" : "refuses") vote in \(term)"
        case .appendRequest(let request):
            let what = request.entries.isEmpty ? "heartbeat" : "append [\(text(request.entries))]"
            let round = request.readRound == 0 ? "" : ", round \(request.readRound)"
            return "\(what) after \(request.previousIndex)/\(request.previousTerm) in \(term), "
                + "commit \(request.commitIndex)\(round)"
        case .appendResponse(let response):
            let round = response.readRound == 0 ? "" : ", round \(response.readRound)"
            return "\(response.outcome.text) in \(term)\(round)"
        case .snapshotRequest(let request): return "snapshot \(request.metadata.lastIndex) in \(term)"
        case .snapshotResponse(let response): return "has snapshot, matches \(response.matchIndex) in \(term)"
        case .timeoutNow: return "campaign now, \(term)"
        }
    }

    static func text(_ batch: PersistBatch) -> String {
        var parts: [String] = []
        if let state = batch.hardState {
            parts.append("term \(state.term) vote \(state.votedFor.map(\.description) ?? "none")")
        }
        if let cut = batch.truncateFrom { parts.append("cut from \(cut)") }
        if !batch.entries.isEmpty { parts.append(text(batch.entries)) }
        let what = parts.isEmpty ? "nothing new" : parts.joined(separator: "; ")
        let receivers = batch.thenSend.map { "\($0.to) \(text($0.message))" }
        return receivers.isEmpty ? what : "\(what); then tells \(receivers.joined(separator: "; "))"
    }
}

extension AppendResponse.Outcome {
    var text: String {
        switch self {
        case .matched(let index): "matches \(index)"
        case .conflict(let rejected, let hintIndex, let hintTerm):
            "conflicts at \(rejected), try \(hintIndex)/\(hintTerm)"
        case .lost(let index): "lost after \(index)"
        case .installingSnapshot: "is installing a snapshot"
        case .staleTerm: "knows a later term"
        }
    }
}

extension ReadOutcome {
    var text: String {
        switch self {
        case .ready(let index): "ready at \(index)"
        case .notLeader(let leader): "not leader, ask \(leader.map(\.description) ?? "nobody")"
        case .tooManyPending: "too many pending"
        }
    }
}

extension ProposalOutcome {
    var text: String {
        switch self {
        case .appended(let index, let term): "appended at \(index)/\(term)"
        case .rejected(.notLeader(let leader)): "not leader, ask \(leader.map(\.description) ?? "nobody")"
        case .rejected(let reason): "rejected, \(reason)"
        }
    }
}
