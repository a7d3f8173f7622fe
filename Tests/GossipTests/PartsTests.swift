import ClusterModel
import Testing

@testable import Gossip

// The small parts inside the machine.

@Suite struct PartsTests {
    @Test func newsThatWasSentLeastGoesFirst() {
        var news = Dissemination<Int>()
        for key in 1...4 { news.add(key, budget: 2, isUrgent: key == 4) }
        let taken1 = news.take(2) { _ in true }
        #expect(taken1 == [1, 2])
        let taken2 = news.take(3) { _ in true }
        #expect(taken2 == [3, 4, 1])
        let taken3 = news.take(9) { $0 != 3 }
        #expect(taken3 == [2, 4])
        #expect(!news.hasUrgent)
        let taken4 = news.take(9) { _ in true }
        #expect(taken4 == [3])
        #expect(news.isEmpty)
    }

    @Test func newsAboutTheSameReplacesTheOlder() {
        var news = Dissemination<Int>()
        news.add(1, budget: 2, isUrgent: true)
        let taken5 = news.take(1) { _ in true }
        #expect(taken5 == [1])
        news.add(1, budget: 2, isUrgent: false)
        #expect(!news.hasUrgent)
        #expect(news.count == 1)
        let taken6 = news.take(1) { _ in true }
        #expect(taken6 == [1])
        let taken7 = news.take(1) { _ in true }
        #expect(taken7 == [1])
        let taken8 = news.take(1) { _ in true }
        #expect(taken8 == [])
        news.add(2, budget: 0, isUrgent: true)
        #expect(news.isEmpty)
        #expect(!news.hasUrgent)
    }

    @Test func patientNewsIsKeptForThePings() {
        var news = Dissemination<Int>()
        news.add(1, budget: 1, isUrgent: true)
        news.becomePatient()
        #expect(!news.hasUrgent)
        let taken9 = news.take(1) { _ in true }
        #expect(taken9 == [1])
    }

    @Test(arguments: [(1, 0.0), (2, 1.0), (3, 1.584_962_5), (10, 3.321_928_1), (200, 7.643_856_2)])
    func theLogarithmIsRight(number: Double, expected: Double) {
        #expect(abs(binaryLogarithm(number) - expected) < 1e-6)
    }

    @Test func aSuspicionShrinksByTheLogarithmOfItsConfirmations() {
        // Five members: three can confirm.
        var suspicion = Suspicion(startedAt: .origin, memberCount: 5, settings: GossipSettings())
        func milliseconds() -> Int64 { (suspicion.deadline - .origin).wholeMilliseconds }
        #expect(milliseconds() == 4_500)
        let counts10 = suspicion.accuse(by: NodeID(9))
        #expect(counts10)
        #expect(milliseconds() == 4_500)
        let counts11 = suspicion.accuse(by: NodeID(2))
        #expect(counts11)
        #expect(milliseconds() == 3_000)
        let counts12 = suspicion.accuse(by: NodeID(2))
        #expect(!counts12)
        let counts13 = suspicion.accuse(by: NodeID(4))
        #expect(counts13)
        #expect((2_120...2_125).contains(milliseconds()))
        let counts14 = suspicion.accuse(by: NodeID(3))
        #expect(counts14)
        #expect(milliseconds() == 1_500)
        let counts15 = suspicion.accuse(by: NodeID(5))
        #expect(!counts15)
        #expect(suspicion.accusers == [NodeID(2), NodeID(3), NodeID(4), NodeID(9)])
    }

    @Test func aConfirmedDeathShortensASuspicionAllTheWay() {
        var suspicion = Suspicion(startedAt: .origin, memberCount: 5, settings: GossipSettings())
        suspicion.confirmDeath()
        _ = suspicion.accuse(by: NodeID(2))
        _ = suspicion.accuse(by: NodeID(3))
        #expect(suspicion.deadline == .origin + .milliseconds(1_500))
    }

    @Test func localHealthStaysWithinItsBounds() {
        var health = LocalHealth(maximum: 2)
        health.add(-1)
        #expect(health.multiplier == 1)
        health.add(9)
        #expect(health.multiplier == 3)
    }
}
