// Majorities (Raft §5.2, §5.3). Any two majorities of the same voters share a node; all of Raft's safety
// rests on that, so it is kept apart and tested by brute force. An empty set of voters has no majority: it
// elects nobody and commits nothing.

import ClusterModel

/// Questions about majorities of a set of voters.
enum Quorum {
    /// How many of so many voters make a majority.
    static func majority(of count: Int) -> Int { count / 2 + 1 }

    /// The highest value that a majority of the voters has reached, where `value` says how far each is;
    /// nil without voters.
    static func reached<Value: Comparable>(by voters: [NodeID], _ value: (NodeID) -> Value) -> Value? {
        guard !voters.isEmpty else { return nil }
        let descending = voters.map(value).sorted(by: >)
        return descending[majority(of: voters.count) - 1]
    }

    /// Whether a majority of the voters fulfils the condition.
    static func holds(among voters: [NodeID], where condition: (NodeID) -> Bool) -> Bool {
        !voters.isEmpty && voters.count(where: condition) >= majority(of: voters.count)
    }

    /// How an election stands.
    enum Tally: Equatable {
        case won
        case lost
        case open
    }

    /// Counts votes; those of nodes that are not voters are ignored.
    static func tally(voters: [NodeID], granted: Set<NodeID>, refused: Set<NodeID>) -> Tally {
        if holds(among: voters, where: granted.contains) { return .won }
        let missing = voters.count(where: refused.contains)
        return voters.count - missing < majority(of: voters.count) ? .lost : .open
    }
}
