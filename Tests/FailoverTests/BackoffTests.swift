import ClusterModel
import Failover
import Testing

@Suite struct BackoffTests {
    @Test func theSameSeedGivesTheSameWaits() {
        var first = Backoff(seed: 5)
        var second = Backoff(seed: 5)
        var other = Backoff(seed: 6)
        let waits = (0..<20).map { _ in first.next() }
        #expect(waits == (0..<20).map { _ in second.next() })
        #expect(waits != (0..<20).map { _ in other.next() })
    }

    @Test func theCeilingDoublesUpToTheMaximum() {
        var backoff = Backoff(minimum: .milliseconds(100), maximum: .seconds(1), seed: 1)
        var ceilings: [Int64] = []
        for _ in 0..<6 {
            ceilings.append(backoff.ceiling.wholeMilliseconds)
            _ = backoff.next()
        }
        #expect(ceilings == [200, 400, 800, 1_000, 1_000, 1_000])
    }

    @Test func waitsFillTheWholeRange() {
        var shortest = Duration.seconds(99)
        var longest = Duration.zero
        for seed in 0..<2_000 as Range<UInt64> {
            var backoff = Backoff(minimum: .milliseconds(10), maximum: .milliseconds(100), seed: seed)
            for _ in 0..<5 {
                let ceiling = backoff.ceiling
                let wait = backoff.next()
                #expect(wait >= .milliseconds(10) && wait <= ceiling)
                shortest = min(shortest, wait)
                longest = max(longest, wait)
            }
        }
        #expect(shortest < .milliseconds(11))
        #expect(longest > .milliseconds(99))
    }

    @Test func aSuccessBeginsAgain() {
        var backoff = Backoff(seed: 1)
        for _ in 0..<200 { _ = backoff.next() }
        #expect(backoff.ceiling == .seconds(30))
        backoff.reset()
        #expect(backoff.attempts == 0)
        #expect(backoff.ceiling == .milliseconds(200))
    }

    @Test func oddBoundsAreMadeSound() {
        var backoff = Backoff(minimum: .zero, maximum: .seconds(-5), seed: 1)
        #expect(backoff.next() == .milliseconds(1))
        #expect(backoff.next() == .milliseconds(1))
    }
}
