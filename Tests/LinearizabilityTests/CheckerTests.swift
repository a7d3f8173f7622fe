import ClusterModel
import Linearizability
import Testing

@Suite struct CheckerTests {
    typealias Op = RegisterOperation
    let checker = LinearizabilityChecker(RegisterModel())

    func answered(
        _ input: RegisterModel.Input, _ output: RegisterModel.Output, _ called: Int64, _ end: Int64
    ) -> Op {
        Op(input, called: called, .answered(output, at: end))
    }

    @Test func emptyHistoryIsLinearizable() {
        #expect(checker.check([]) == .linearizable(order: []))
    }

    @Test func readDuringAWriteMaySeeOldOrNew() {
        for value in [0, 1] {
            let history = [
                answered(.write(1), .done, 0, 10), answered(.read, .value(value), 2, 4),
            ]
            guard case .linearizable(let order) = checker.check(history) else {
                Issue.record("value \(value)")
                continue
            }
            #expect(isWitness(order, of: history))
        }
    }

    @Test func staleReadIsIllegal() {
        let history = [
            answered(.write(1), .done, 0, 10), answered(.read, .value(0), 11, 12),
        ]
        #expect(checker.check(history) == .illegal(longest: [0], stuck: 1))
    }

    @Test func readsMayNotGoBack() {
        // The write is under way all the time; who has seen it may not lose it.
        let history = [
            answered(.write(1), .done, 0, 100), answered(.read, .value(1), 10, 20),
            answered(.read, .value(0), 30, 40),
        ]
        guard case .illegal(_, let stuck) = checker.check(history) else {
            Issue.record("taken for legal")
            return
        }
        #expect(stuck == 2)
    }

    @Test func unansweredWriteMayHaveHappenedOrNot() {
        for value in [0, 1] {
            let history = [
                Op(.write(1), called: 0, .unknown), answered(.read, .value(value), 1_000, 1_001),
            ]
            guard case .linearizable(let order) = checker.check(history) else {
                Issue.record("value \(value)")
                continue
            }
            #expect(isWitness(order, of: history))
        }
    }

    @Test func unansweredWriteMayHappenLateButNotBeforeItsCall() {
        let late = [
            Op(.write(1), called: 0, .unknown), answered(.read, .value(0), 10, 11),
            answered(.read, .value(1), 20, 21),
        ]
        guard case .linearizable = checker.check(late) else {
            Issue.record("a late effect is possible")
            return
        }
        let early = [answered(.read, .value(1), 10, 11), Op(.write(1), called: 12, .unknown)]
        #expect(checker.check(early) == .illegal(longest: [], stuck: 0))
    }

    @Test func unansweredWriteHappensAtMostOnce() {
        let history = [
            Op(.write(1), called: 0, .unknown), answered(.read, .value(1), 10, 11),
            answered(.write(2), .done, 12, 13), answered(.read, .value(1), 14, 15),
        ]
        guard case .illegal(_, let stuck) = checker.check(history) else {
            Issue.record("taken for legal")
            return
        }
        #expect(stuck == 3)
    }

    @Test func callAtTheTimeOfAnAnswerIsConcurrent() {
        let history = [
            answered(.write(1), .done, 0, 10), answered(.read, .value(0), 10, 12),
        ]
        guard case .linearizable(let order) = checker.check(history) else {
            Issue.record("taken for illegal")
            return
        }
        #expect(order == [1, 0])
    }

    @Test func workIsBounded() {
        // Twelve concurrent writes and a read of none of them: 12! orders, 2^12 * 12 configurations.
        var history = (1...12).map { answered(.write($0), .done, 0, 100) }
        history.append(answered(.read, .value(99), 200, 201))
        #expect(LinearizabilityChecker(RegisterModel(), limit: 1_000).check(history) == .undecided)
        guard case .illegal(let longest, let stuck) = checker.check(history) else {
            Issue.record("taken for legal, or not decided")
            return
        }
        #expect(longest.count == 12 && stuck == 12)
    }

    @Test func longHistoryOfAFewClientsIsDecidedInLinearTime() {
        var history: [Op] = []
        for round in 0..<20_000 {
            let time = Int64(round) * 10
            history.append(answered(.write(round), .done, time, time + 12))
            history.append(answered(.read, .value(round), time + 9, time + 25))
        }
        guard case .linearizable(let order) = checker.check(history) else {
            Issue.record("a legal history")
            return
        }
        #expect(order.count == history.count)
    }

    @Test func partsAreJudgedApart() {
        let good = [answered(.write(1), .done, 0, 1), answered(.read, .value(1), 2, 3)]
        let bad = [answered(.write(1), .done, 0, 1), answered(.read, .value(0), 2, 3)]
        struct Named: SequentialModel {
            typealias State = Int
            struct Input: Hashable {
                var name: String
                var input: RegisterModel.Input
            }
            typealias Output = RegisterModel.Output
            var initialState: Int { 0 }
            func step(_ state: Int, _ input: Input, _ output: Output?) -> Int? {
                RegisterModel().step(state, input.input, output)
            }
        }
        func named(_ name: String, _ history: [Op]) -> [HistoryOperation<Named.Input, Named.Output>] {
            history.map { operation in
                guard case .answered(let output, let end) = operation.outcome else {
                    return .init(
                        .init(name: name, input: operation.input), called: operation.called, .unknown)
                }
                return .init(
                    .init(name: name, input: operation.input), called: operation.called,
                    .answered(output, at: end))
            }
        }
        let checker = LinearizabilityChecker(Named())
        let verdict = checker.check(named("a", good) + named("b", bad), partitionedBy: \.name)
        #expect(verdict == .illegal(longest: [2], stuck: 3))
        let fine = checker.check(named("a", good) + named("b", good), partitionedBy: \.name)
        #expect(fine == .linearizable(order: [0, 1, 2, 3]))
    }

    /// Random small histories, half of them legal or so, against an oracle that tries everything.
    @Test func checkerAgreesWithBruteForce() {
        var dice = SeededGenerator(seed: 7)
        var legal = 0
        let rounds = 6_000
        for round in 0..<rounds {
            let history = (0..<Int.random(in: 1...7, using: &dice)).map { _ in randomOperation(&dice) }
            let expected = oracle(history)
            switch checker.check(history) {
            case .linearizable(let order):
                #expect(expected && isWitness(order, of: history), "round \(round): \(history)")
                legal += 1
            case .illegal: #expect(!expected, "round \(round): \(history)")
            case .undecided: Issue.record("round \(round) is small")
            }
        }
        #expect((rounds / 10...rounds * 9 / 10).contains(legal))
    }

    private func randomOperation(_ dice: inout SeededGenerator) -> Op {
        let called = Int64.random(in: 0...12, using: &dice)
        let end = called + Int64.random(in: 0...8, using: &dice)
        let value = Int.random(in: 0...2, using: &dice)
        let isAnswered = Int.random(in: 0..<4, using: &dice) > 0
        switch Int.random(in: 0..<5, using: &dice) {
        case 0, 1:
            return isAnswered
                ? answered(.read, .value(value), called, end) : Op(.read, called: called, .unknown)
        case 2, 3:
            return isAnswered
                ? answered(.write(value), .done, called, end) : Op(.write(value), called: called, .unknown)
        default:
            let input = RegisterModel.Input.compareAndSet(value, Int.random(in: 0...2, using: &dice))
            let output: RegisterModel.Output = Bool.random(using: &dice) ? .done : .unequal
            return isAnswered
                ? answered(input, output, called, end) : Op(input, called: called, .unknown)
        }
    }
}
