// Majorities, by brute force over all small cases and by comparison with a slower definition.

import ClusterModel
import Testing

@testable import Raft

struct QuorumTests {
    /// The definition: the largest value that enough voters have reached.
    private static func slowReached(_ values: [UInt64]) -> UInt64 {
        values.filter { value in values.count(where: { $0 >= value }) > values.count / 2 }.max() ?? 0
    }

    @Test func reachedAgreesWithTheDefinitionForAllSmallCases() {
        // Every assignment of values 0...3 to one to five voters.
        for count in 1...5 {
            let voters = (1...UInt64(count)).map { NodeID($0) }
            var combinations = 1
            for _ in 0..<count { combinations *= 4 }
            for code in 0..<combinations {
                var rest = code
                let values = voters.map { _ -> UInt64 in
                    defer { rest /= 4 }
                    return UInt64(rest % 4)
                }
                let reached = Quorum.reached(by: voters) { values[Int($0.rawValue) - 1] }
                #expect(reached == Self.slowReached(values))
            }
        }
    }

    @Test func reachedAgreesWithTheDefinitionForRandomLargeCases() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<500 {
            let values = (0..<Int.random(in: 1...11, using: &generator)).map { _ in
                UInt64.random(in: 0...20, using: &generator)
            }
            let voters = values.indices.map { NodeID(UInt64($0)) }
            #expect(Quorum.reached(by: voters) { values[Int($0.rawValue)] } == Self.slowReached(values))
        }
    }

    @Test func anyTwoMajoritiesShareAVoter() {
        for count in 1...7 {
            let majorities = (0..<(1 << count)).filter { $0.nonzeroBitCount >= Quorum.majority(of: count) }
            for left in majorities {
                for right in majorities { #expect(left & right != 0) }
            }
        }
    }

    @Test func majoritiesOfConfigurationsThatDifferByOneVoterShareAVoter() {
        // What makes one-at-a-time membership changes safe (dissertation §4.1).
        for count in 1...6 {
            let old = (0..<(1 << count)).filter { $0.nonzeroBitCount >= Quorum.majority(of: count) }
            let new = (0..<(1 << (count + 1))).filter { $0.nonzeroBitCount >= Quorum.majority(of: count + 1) }
            for left in old {
                for right in new { #expect(left & right != 0) }
            }
        }
    }

    @Test func tallyIsWonOrLostExactlyWhenNothingCanChangeIt() {
        // Every way in which one to five voters have granted, refused or not answered.
        for count in 1...5 {
            let voters = (1...UInt64(count)).map { NodeID($0) }
            var combinations = 1
            for _ in 0..<count { combinations *= 3 }
            for code in 0..<combinations {
                var granted: Set<NodeID> = []
                var refused: Set<NodeID> = []
                var rest = code
                for voter in voters {
                    if rest % 3 == 1 { granted.insert(voter) }
                    if rest % 3 == 2 { refused.insert(voter) }
                    rest /= 3
                }
                let open = count - granted.count - refused.count
                let tally = Quorum.tally(voters: voters, granted: granted, refused: refused)
                let majority = count / 2 + 1
                #expect((tally == .won) == (granted.count >= majority))
                #expect((tally == .lost) == (granted.count + open < majority))
            }
        }
    }

    @Test func votesOfStrangersDoNotCount() {
        let voters = [NodeID(1), NodeID(2), NodeID(3)]
        let strangers: Set<NodeID> = [NodeID(7), NodeID(8), NodeID(9)]
        #expect(Quorum.tally(voters: voters, granted: strangers, refused: []) == .open)
        #expect(Quorum.tally(voters: voters, granted: [], refused: strangers) == .open)
    }

    @Test func nobodyIsNoMajority() {
        #expect(Quorum.reached(by: []) { _ in 5 } == nil)
        #expect(Quorum.tally(voters: [], granted: [NodeID(1)], refused: []) == .lost)
        #expect(!Quorum.holds(among: [], where: { _ in true }))
    }
}
