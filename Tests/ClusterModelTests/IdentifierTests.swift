import ClusterModel
import Testing

@Suite struct IdentifierTests {
    @Test func theSameSeedGivesTheSameNumbers() {
        var first = SeededGenerator(seed: 7)
        var second = SeededGenerator(seed: 7)
        #expect((0..<100).map { _ in first.next() } == (0..<100).map { _ in second.next() })
    }

    @Test func thePositionBeforeTheLogHasNoPredecessor() {
        #expect(LogIndex.zero.previous == .zero)
        #expect(LogIndex(5).previous == LogIndex(4))
    }
}
