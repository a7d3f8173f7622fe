// Scenarios as transcripts, after etcd-io/raft's testdata: a text file holds commands, a line of dashes, and
// what the cluster did. The test runs the commands and compares. Entries are written index/term.
//
//     nodes 3 [electionTicks=10 …]     a cluster; nodes 1, 2, 3 vote
//     stored 1 term=4 vote=2 entries=1,1,4   what node 1 finds on its disk (the entries' terms); starts it
//     join 4                           a node that knows no configuration
//     campaign 1                       ticks node 1 until its election timeout
//     tick 1 2 x10                     ticks nodes without delivering anything; "tick all x10" ticks all
//     run 20                           ticks all nodes, delivering everything after each tick
//     deliver [1>2]                    delivers what is on its way now, and shows it
//     stabilize                        delivers until nothing is on its way, and shows only what changes
//     drop [1>2]                       loses what is on its way
//     keep, replay                     remembers what is on its way; delivers that (again)
//     partition 1 | 2 3, sever 1 2, oneway 1>2, heal
//     disk 1 hold | sync | release, show writes
//     crash 1, restart 1
//     propose 1 foo, read 1, transfer 1 2, configure 1 voters=1,2 learners=3, snapshot 1
//     status, log 1, progress 1

import ClusterModel

@testable import Raft

/// Runs the commands of one transcript. Confined to one test.
final class Transcript {
    private var cluster = SimulatedCluster(1)
    private var lines: [String] = []
    private var nextToken: UInt64 = 0
    private var showsWrites = false
    private var kept: [Packet] = []

    /// The file with each command's output replaced by what it puts out now.
    static func rewritten(_ text: String) -> String {
        let transcript = Transcript()
        var result: [String] = []
        var commands: [String] = []
        var isOutput = false
        for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let line = String(part)
            if isOutput {
                guard line.isEmpty else { continue }
                isOutput = false
            }
            if line == "----" {
                result += [line] + transcript.run(commands)
                commands = []
                isOutput = true
                continue
            }
            if !line.isEmpty, !line.hasPrefix("#") { commands.append(line) }
            result.append(line)
        }
        // A file ends with one line break, whether or not its last output did.
        while result.last == "" { result.removeLast() }
        return result.joined(separator: "\n") + "\n"
    }

    private func run(_ commands: [String]) -> [String] {
        lines = []
        for command in commands {
            perform(command.split(separator: " ").map { String($0) })
            for violation in cluster.monitor.violations { lines.append("VIOLATION: \(violation)") }
        }
        return lines.isEmpty ? ["ok"] : lines
    }

    // MARK: Commands

    private func perform(_ words: [String]) {
        let arguments = Array(words.dropFirst())
        switch words.first ?? "" {
        case "nodes": makeCluster(arguments)
        case "stored": store(arguments)
        case "join": for id in ids(arguments) { cluster.add(id, initial: VoterConfiguration(voters: [])) }
        case "campaign": for id in ids(arguments) { cluster.timeOut(id) }
        case "tick": tick(arguments)
        case "run": cluster.tickAll(arguments.first.flatMap { Int($0) } ?? 1)
        case "deliver": deliver(arguments)
        case "stabilize": cluster.stabilize()
        case "drop": for packet in take(arguments) { lines.append("lost: \(Self.text(packet))") }
        case "keep": kept = cluster.network
        case "replay": for packet in kept { show(packet) }
        case "partition":
            cluster.partition(arguments.split(separator: "|").map { ids(Array($0)) })
        case "sever": if ids(arguments).count == 2 { cluster.sever(ids(arguments)[0], ids(arguments)[1]) }
        case "oneway": if let link = link(arguments) { cluster.cut.insert(link) }
        case "heal": cluster.heal()
        case "disk": disk(arguments)
        case "show": showsWrites = arguments.first == "writes"
        case "crash": for id in ids(arguments) { cluster.crash(id) }
        case "restart": for id in ids(arguments) { cluster.start(id) }
        case "snapshot": for id in ids(arguments) { cluster.takeSnapshot(id) }
        case "propose", "read", "transfer", "configure": use(words[0], arguments)
        case "status": status()
        case "log", "progress": for id in ids(arguments) { describe(words[0], id) }
        default: lines.append("unknown command \(words)")
        }
    }

    private func ids(_ words: [String]) -> [NodeID] {
        words.first == "all" ? cluster.ids : words.compactMap { UInt64($0).map { NodeID($0) } }
    }

    private func link(_ words: [String]) -> SimulatedCluster.Link? {
        let ends = (words.first ?? "").split(separator: ">").compactMap { UInt64($0) }
        guard ends.count == 2 else { return nil }
        return SimulatedCluster.Link(from: NodeID(ends[0]), to: NodeID(ends[1]))
    }

    private func options(_ words: [String]) -> [String: [UInt64]] {
        var result: [String: [UInt64]] = [:]
        for word in words {
            let parts = word.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            result[String(parts[0])] = parts[1].split(separator: ",").compactMap { UInt64($0) }
        }
        return result
    }

    private func makeCluster(_ arguments: [String]) {
        var settings = RaftSettings()
        for (name, values) in options(arguments) {
            let value = Int(values.first ?? 0)
            switch name {
            case "electionTicks": settings.electionTicks = value
            case "heartbeatTicks": settings.heartbeatTicks = value
            case "maxEntries": settings.maxEntriesPerAppend = value
            case "maxInflight": settings.maxInflightAppends = value
            case "maxUncommitted": settings.maxUncommittedBytes = value
            case "kept": settings.entriesKeptBehindSnapshot = value
            default: lines.append("unknown setting \(name)")
            }
        }
        cluster = SimulatedCluster(arguments.first.flatMap { UInt64($0) } ?? 1, settings: settings)
        cluster.tell = { [unowned self] in tell($0) }
        nextToken = 0
    }

    private func store(_ arguments: [String]) {
        guard let id = ids(arguments).first else { return }
        let options = options(arguments)
        let entries = (options["entries"] ?? []).enumerated().map { position, term in
            LogEntry(
                term: Term(term), index: LogIndex(UInt64(position + 1)),
                payload: .command(Array("t\(term)".utf8)))
        }
        let term = options["term"]?.first.map { Term($0) } ?? entries.last?.term ?? .zero
        let vote = options["vote"]?.first.map { NodeID($0) }
        let commit = options["commit"]?.first.map { LogIndex($0) } ?? .zero
        let initial = cluster.nodes[id]?.initial ?? VoterConfiguration(voters: [])
        cluster.add(
            id, initial: initial,
            disk: SimulatedDisk(
                hardState: HardState(term: term, votedFor: vote, commitIndex: commit), entries: entries))
    }

    private func tick(_ arguments: [String]) {
        let count = arguments.last { $0.hasPrefix("x") }.flatMap { Int($0.dropFirst()) } ?? 1
        for _ in 0..<count {
            for id in ids(arguments) { cluster.step(id, .tick) }
        }
    }

    private func take(_ arguments: [String]) -> [Packet] {
        let only = link(arguments)
        let chosen = cluster.network.filter { only == nil || ($0.from == only?.from && $0.to == only?.to) }
        cluster.network.removeAll { only == nil || ($0.from == only?.from && $0.to == only?.to) }
        return chosen
    }

    private func deliver(_ arguments: [String]) {
        for packet in take(arguments) { show(packet) }
    }

    private func show(_ packet: Packet) {
        lines.append(Self.text(packet))
        cluster.deliver(packet)
    }

    private func disk(_ arguments: [String]) {
        guard let id = ids(arguments).first else { return }
        switch arguments.last ?? "" {
        case "hold": cluster.nodes[id]?.isDiskHeld = true
        case "sync": cluster.sync(id)
        case "release":
            cluster.nodes[id]?.isDiskHeld = false
            cluster.sync(id)
        default: lines.append("unknown disk command \(arguments)")
        }
    }

    private func use(_ verb: String, _ arguments: [String]) {
        guard let id = ids(Array(arguments.prefix(1))).first else { return }
        nextToken += 1
        switch verb {
        case "propose":
            let text = arguments.dropFirst().joined(separator: " ")
            cluster.step(id, .proposed(Array(text.utf8), token: nextToken))
        case "read": cluster.step(id, .readRequested(token: nextToken))
        case "transfer":
            if let target = ids(Array(arguments.dropFirst())).first {
                cluster.step(id, .transferRequested(to: target))
            }
        default:
            let options = options(arguments)
            let wanted = VoterConfiguration(
                voters: (options["voters"] ?? []).map { NodeID($0) },
                learners: (options["learners"] ?? []).map { NodeID($0) })
            cluster.step(id, .configurationProposed(wanted, token: nextToken))
        }
    }

    private func status() {
        for id in cluster.ids {
            guard let node = cluster.nodes[id]?.consensus else {
                lines.append("\(id) is down")
                continue
            }
            let leader = node.isLeader ? "" : " of \(node.leader.map(\.description) ?? "nobody")"
            lines.append(
                "\(id) \(node.role.kind.rawValue)\(leader), term \(node.term), last \(node.lastIndex), "
                    + "commit \(node.commitIndex), voters \(Self.text(node.configuration))")
        }
    }

    private func describe(_ what: String, _ id: NodeID) {
        guard let node = cluster.nodes[id]?.consensus else { return }
        if what == "log" {
            let base = node.log.baseIndex == .zero ? "" : " …\(node.log.baseIndex)/\(node.log.baseTerm)"
            let entries = node.log.entries.isEmpty ? "" : " \(Self.text(node.log.entries))"
            lines.append("\(id):\(base)\(entries)")
        } else {
            for peer in node.peers {
                let kind = peer.isVoter ? "" : " (learner)"
                lines.append(
                    "\(peer.id)\(kind): matches \(peer.matchIndex), \(peer.flow.rawValue), silent \(peer.silentTicks)"
                )
            }
        }
    }

    // MARK: Telling

    private func tell(_ note: SimulatedCluster.Note) {
        switch note {
        case .role(let id, let change):
            let what =
                change.role == .follower
                ? "follows \(change.leader.map(\.description) ?? "nobody")" : "is \(change.role.rawValue)"
            lines.append("  \(id) \(what) in term \(change.term)")
        case .applied(let id, let entry):
            let prefix = "  \(id) applies "
            if let last = lines.last, last.hasPrefix(prefix) {
                lines[lines.count - 1] = "\(last), \(Self.text(entry))"
            } else {
                lines.append(prefix + Self.text(entry))
            }
        case .read(let id, let token, let outcome): lines.append("  \(id) read #\(token): \(outcome.text)")
        case .proposal(let id, let token, let outcome):
            lines.append("  \(id) proposal #\(token): \(outcome.text)")
        case .wrote(let id, let batch):
            if showsWrites { lines.append("  \(id) has written \(Self.text(batch))") }
        case .snapshotNeeded(let id, let transfer):
            lines.append("  \(id) sends snapshot \(transfer.request.metadata.lastIndex) to \(transfer.to)")
        case .installing(let id, let metadata):
            lines.append("  \(id) installs snapshot \(metadata.lastIndex)")
        }
    }
}
