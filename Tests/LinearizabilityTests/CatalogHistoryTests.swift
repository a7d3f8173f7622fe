import Linearizability
import Testing

@Suite struct CatalogHistoryTests {
    func key(_ request: String, _ number: UInt64, _ stage: CatalogHistory.Stage) -> CatalogHistory.Key {
        .init(request: request, number: number, variant: "aes256", stage: stage)
    }

    /// A history in which a key store stands from time 10 on.
    func withStore() -> CatalogHistory {
        var history = CatalogHistory()
        history.createKeyStore(name: "main", request: "s", asked: 0, answered: 10, .created)
        return history
    }

    func isIllegal(_ history: CatalogHistory) -> Bool {
        guard case .illegal = history.check() else { return false }
        return true
    }

    @Test func generatedKeyIsSeenByLaterReads() {
        var history = withStore()
        history.generate(
            request: "a", variant: "aes256", asked: 20, answered: 40, .key(key("a", 4_099, .usable)))
        history.read(
            asked: 25, answered: 30, keyStores: [("main", "s")], keys: [key("a", 4_099, .pending)])
        history.read(asked: 41, answered: 45, keyStores: [("main", "s")], keys: [key("a", 4_099, .usable)])
        #expect(history.check() == .linearizable)
        history.read(asked: 46, answered: 47, keyStores: [("main", "s")], keys: [key("a", 4_099, .pending)])
        #expect(isIllegal(history))
    }

    @Test func readAfterAnAnswerMustShowTheKey() {
        var history = withStore()
        history.generate(
            request: "a", variant: "aes256", asked: 20, answered: 40, .key(key("a", 4_099, .usable)))
        history.read(asked: 41, answered: 45, keyStores: [("main", "s")], keys: [])
        guard case .illegal(let violation) = history.check() else {
            Issue.record("taken for legal")
            return
        }
        #expect(violation.description.contains("asked at 41"))
    }

    @Test func requestWithoutAnAnswerMayHaveMadeAKey() {
        var history = withStore()
        history.generate(request: "a", variant: "aes256", asked: 20, answered: 30, .unknown)
        history.read(asked: 41, answered: 45, keyStores: [("main", "s")], keys: [])
        history.read(asked: 50, answered: 51, keyStores: [("main", "s")], keys: [key("a", 4_100, .pending)])
        history.read(asked: 60, answered: 61, keyStores: [("main", "s")], keys: [key("a", 4_100, .failed)])
        #expect(history.check() == .linearizable)
        history.generate(
            request: "a", variant: "aes256", asked: 70, answered: 71, .key(key("a", 4_100, .usable)))
        #expect(isIllegal(history), "a key is not given up and usable")
    }

    @Test func keyThatNobodyAskedForIsIllegal() {
        var history = withStore()
        history.read(asked: 41, answered: 45, keyStores: [("main", "s")], keys: [key("a", 4_100, .pending)])
        #expect(isIllegal(history))
    }

    @Test func numbersAreGivenOutInOrder() {
        var history = withStore()
        history.generate(
            request: "a", variant: "aes256", asked: 20, answered: 30, .key(key("a", 4_100, .usable)))
        history.generate(
            request: "b", variant: "aes256", asked: 31, answered: 40, .key(key("b", 4_099, .usable)))
        #expect(isIllegal(history))
    }

    @Test func oneNumberIsOfOneKey() {
        var history = withStore()
        for (request, time) in [("a", 20), ("b", 25)] as [(String, Int64)] {
            history.generate(
                request: request, variant: "aes256", asked: time, answered: 60,
                .key(key(request, 4_099, .usable)))
        }
        #expect(isIllegal(history))
    }

    @Test func oneRequestMakesOneKey() {
        var history = withStore()
        for number in [4_099, 4_100] as [UInt64] {
            history.generate(
                request: "a", variant: "aes256", asked: 20, answered: 60, .key(key("a", number, .usable)))
        }
        #expect(isIllegal(history))
    }

    @Test func conflictNeedsAnotherKeyUnderTheRequest() {
        var history = withStore()
        history.generate(
            request: "a", variant: "aes256", asked: 20, answered: 30, .key(key("a", 4_099, .usable)))
        history.generate(request: "a", variant: "des3", asked: 31, answered: 32, .conflict)
        #expect(history.check() == .linearizable)
        history.generate(request: "a", variant: "aes256", asked: 33, answered: 34, .conflict)
        #expect(isIllegal(history))
    }

    @Test func takenNameNeedsAnotherStore() {
        var history = withStore()
        history.createKeyStore(name: "main", request: "t", asked: 11, answered: 12, .nameTaken)
        #expect(history.check() == .linearizable)
        history.createKeyStore(name: "main", request: "s", asked: 13, answered: 14, .nameTaken)
        #expect(isIllegal(history))
    }

    @Test func manyRequestsWithoutAnEndAreCheap() {
        var history = withStore()
        var keys: [CatalogHistory.Key] = []
        for number in 0..<200 as Range<UInt64> {
            let time = 20 + Int64(number) * 10
            history.generate(request: "r\(number)", variant: "aes256", asked: time, answered: time, .unknown)
            // Every other one shows up, twenty requests later.
            if number >= 20, number % 2 == 0 {
                keys.append(key("r\(number - 20)", 4_099 + number, .pending))
                if keys.count > 3 { keys[keys.count - 3].stage = .usable }
            }
            history.read(asked: time + 1, answered: time + 5, keyStores: [("main", "s")], keys: keys)
        }
        #expect(history.check(limit: 20_000) == .linearizable)
    }
}
