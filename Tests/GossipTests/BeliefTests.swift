import ClusterModel
import Gossip
import Testing

// One machine alone, told things: which statement wins, who is listened to, how it defends itself.

/// A machine for node 1 among nodes 1 to 4, that has heard once from 2, 3 and 4.
struct Lone {
    var machine: GossipMachine
    var effects = GossipMachine.Effects()
    var now = Instant.origin

    init(count: UInt64 = 4, settings: GossipSettings = GossipSettings()) {
        machine = GossipMachine(
            id: NodeID(1), members: (1...count).map { NodeID($0) }, incarnation: Incarnation(5),
            settings: settings, seed: 1)
        for node in 2...count { hear(.init(incarnation: Incarnation(5)), from: node) }
        effects = .init()
    }

    mutating func step(_ event: GossipMachine.Event) { machine.step(event, at: now, into: &effects) }

    mutating func hear(_ payload: GossipPayload, from node: UInt64) {
        step(.received(.news(payload: payload), from: NodeID(node)))
    }

    /// Node `from` says that `node` is in this state.
    mutating func hear(
        _ state: MemberState, of node: UInt64, _ incarnation: UInt64, accusers: [UInt64] = [],
        from sender: UInt64 = 4
    ) {
        let update = MemberUpdate(
            node: NodeID(node), state: state, incarnation: Incarnation(incarnation),
            accusers: accusers.map { NodeID($0) })
        hear(.init(incarnation: Incarnation(5), updates: [update]), from: sender)
    }

    /// Ticks at every deadline until `span` has passed.
    mutating func run(_ span: Duration) {
        let end = now + span
        while let next = machine.nextDeadline, next <= end {
            now = max(now, next)
            step(.tick)
        }
        now = end
    }

    func belief(of node: UInt64) -> Member? { machine.members.first { $0.node == NodeID(node) } }
}

@Suite struct BeliefTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var believed: MemberState
        var told: MemberState
        var incarnation: UInt64
        var result: MemberState
        var resultIncarnation: UInt64
        var testDescription: String { "\(believed) 5, told \(told) \(incarnation)" }

        init(
            _ believed: MemberState, told: MemberState, _ incarnation: UInt64, _ result: MemberState,
            _ of: UInt64
        ) {
            (self.believed, self.told, self.incarnation) = (believed, told, incarnation)
            (self.result, resultIncarnation) = (result, of)
        }
    }

    /// What is believed of a member in incarnation 5, what is told, and what is believed after that.
    static let rows = [
        Row(.alive, told: .alive, 4, .alive, 5), Row(.alive, told: .alive, 6, .alive, 6),
        Row(.alive, told: .suspect, 4, .alive, 5), Row(.alive, told: .suspect, 5, .suspect, 5),
        Row(.alive, told: .suspect, 6, .suspect, 6), Row(.alive, told: .dead, 4, .alive, 5),
        // A death out of the blue is a suspicion first.
        Row(.alive, told: .dead, 5, .suspect, 5), Row(.alive, told: .dead, 6, .suspect, 6),
        Row(.alive, told: .left, 4, .alive, 5), Row(.alive, told: .left, 5, .left, 5),
        Row(.suspect, told: .alive, 5, .suspect, 5), Row(.suspect, told: .alive, 6, .alive, 6),
        Row(.suspect, told: .suspect, 5, .suspect, 5), Row(.suspect, told: .suspect, 6, .suspect, 6),
        Row(.suspect, told: .dead, 4, .suspect, 5), Row(.suspect, told: .dead, 5, .suspect, 5),
        Row(.suspect, told: .left, 5, .left, 5), Row(.suspect, told: .left, 4, .suspect, 5),
        Row(.dead, told: .alive, 5, .dead, 5), Row(.dead, told: .alive, 6, .alive, 6),
        Row(.dead, told: .suspect, 5, .dead, 5), Row(.dead, told: .suspect, 6, .suspect, 6),
        Row(.dead, told: .dead, 4, .dead, 5), Row(.dead, told: .dead, 6, .dead, 6),
        Row(.dead, told: .left, 5, .left, 5), Row(.dead, told: .left, 4, .dead, 5),
        Row(.left, told: .alive, 5, .left, 5), Row(.left, told: .alive, 6, .alive, 6),
        Row(.left, told: .suspect, 5, .left, 5), Row(.left, told: .suspect, 6, .suspect, 6),
        Row(.left, told: .dead, 5, .left, 5), Row(.left, told: .dead, 6, .dead, 6),
    ]

    @Test(arguments: rows) func theGraverStatementAboutTheNewestIncarnationWins(row: Row) {
        var lone = Lone()
        switch row.believed {
        case .alive: break
        case .dead:
            lone.hear(.suspect, of: 2, 5)
            lone.now = lone.now + .seconds(1)
            lone.hear(.dead, of: 2, 5)
        case .suspect, .left: lone.hear(row.believed, of: 2, 5)
        }
        #expect(lone.belief(of: 2)?.state == row.believed)
        lone.hear(row.told, of: 2, row.incarnation)
        #expect(lone.belief(of: 2)?.state == row.result)
        #expect(lone.belief(of: 2)?.incarnation == Incarnation(row.resultIncarnation))
    }

    @Test func aDeathNoticeAboutALongSuspectedMemberIsBelieved() {
        var lone = Lone()
        lone.hear(.suspect, of: 2, 5)
        lone.now = lone.now + .milliseconds(749)
        lone.hear(.dead, of: 2, 5)
        #expect(lone.belief(of: 2)?.state == .suspect)
        lone.now = lone.now + .milliseconds(1)
        lone.hear(.dead, of: 2, 5)
        #expect(lone.belief(of: 2)?.state == .dead)
    }

    @Test func moreAccusersShortenASuspicion() {
        // Four members: two can confirm. Alone 4.5 s, both 1.5 s, in between by the logarithm.
        func deathAfter(_ accusers: [UInt64]) -> Duration? {
            var settings = GossipSettings()
            settings.protocolPeriod = .seconds(1_000)  // no pings of its own
            settings.suspicionMinimumPeriods = 3
            settings.suspicionMaximumPeriods = 9
            var lone = Lone(settings: settings)
            lone.hear(.suspect, of: 2, 5, accusers: accusers)
            let start = lone.now
            while lone.belief(of: 2)?.state == .suspect, let next = lone.machine.nextDeadline {
                lone.now = next
                // Its own failed pings would confirm.
                lone.machine.step(.tick, at: next, into: &lone.effects)
                for envelope in lone.effects.send {
                    if case .ping(let sequence, _) = envelope.message {
                        lone.step(
                            .received(
                                .acknowledgement(
                                    sequence: sequence, payload: .init(incarnation: Incarnation(5))),
                                from: envelope.to))
                    }
                }
                lone.effects.send = []
            }
            return lone.belief(of: 2)?.state == .dead ? lone.now - start : nil
        }
        let one = deathAfter([3])
        let two = deathAfter([3, 4])
        #expect(one == .seconds(9_000))
        #expect(two.map { $0 > .seconds(3_000) && $0 < .seconds(9_000) } == true)
        #expect(deathAfter([3, 3, 3]) == one)
        // The accused, and strangers, do not count.
        #expect(deathAfter([2, 3, 99]) == one)
    }

    @Test func anAccusationIsRefutedWithAHigherIncarnation() {
        for state in [MemberState.suspect, .dead, .left] {
            var lone = Lone()
            lone.hear(state, of: 1, 5)
            #expect(lone.machine.incarnation == Incarnation(6))
            #expect(lone.machine.localHealthScore == 1)
            lone.run(.milliseconds(200))
            #expect(
                lone.effects.send.contains { envelope in
                    envelope.message.payload.updates.contains(
                        MemberUpdate(node: NodeID(1), state: .alive, incarnation: Incarnation(6)))
                })
        }
    }

    @Test func anOldAccusationIsIgnored() {
        var lone = Lone()
        lone.hear(.dead, of: 1, 4)
        #expect(lone.machine.incarnation == Incarnation(5))
        #expect(lone.machine.localHealthScore == 0)
    }

    @Test func anEarlierLifeWithAHigherIncarnationIsOutlived() {
        var lone = Lone()
        lone.hear(.alive, of: 1, 40)
        #expect(lone.machine.incarnation == Incarnation(41))
    }

    @Test func aDoubtedMemberIsToldSoFirst() {
        // The buddy system: the acknowledgement carries the accusation.
        var lone = Lone()
        lone.hear(.suspect, of: 2, 5, accusers: [3])
        lone.effects = .init()
        lone.step(.received(.ping(sequence: 9, payload: .init(incarnation: Incarnation(5))), from: NodeID(2)))
        guard case .acknowledgement(let sequence, let payload) = lone.effects.send.first?.message else {
            Issue.record("no acknowledgement")
            return
        }
        #expect(sequence == 9)
        #expect(payload.updates.first?.node == NodeID(2))
        #expect(payload.updates.first?.state == .suspect)
        #expect(payload.updates.first?.accusers == [NodeID(3)])
    }

    @Test func aSilentMemberIsPingedThroughOthers() {
        var lone = Lone()
        lone.run(.seconds(2))
        let requests = lone.effects.send.filter { if case .pingRequest = $0.message { true } else { false } }
        #expect(!requests.isEmpty)
        for envelope in requests {
            if case .pingRequest(_, let target, _) = envelope.message { #expect(target != envelope.to) }
        }
    }

    @Test func aRelayRefusesWhatItCannotReachAndStillPassesALateAnswerOn() {
        var lone = Lone()
        lone.step(
            .received(
                .pingRequest(sequence: 70, target: NodeID(3), payload: .init(incarnation: Incarnation(5))),
                from: NodeID(2)))
        let ping = lone.effects.send.first { $0.to == NodeID(3) }
        guard case .ping(let sequence, _) = ping?.message else {
            Issue.record("no ping for node 2")
            return
        }
        lone.run(.milliseconds(130))
        #expect(
            lone.effects.send.contains {
                if case .negativeAcknowledgement(70, _) = $0.message { $0.to == NodeID(2) } else { false }
            })
        lone.step(
            .received(
                .acknowledgement(sequence: sequence, payload: .init(incarnation: Incarnation(5))),
                from: NodeID(3)))
        #expect(
            lone.effects.send.contains {
                if case .acknowledgement(70, _) = $0.message { $0.to == NodeID(2) } else { false }
            })
    }

    @Test func membersComeAndGoWithTheConfiguration() {
        var lone = Lone()
        lone.step(.membersChanged([NodeID(2), NodeID(7), NodeID(7), NodeID(0)]))
        #expect(lone.machine.members.map(\.node) == [NodeID(1), NodeID(2), NodeID(7)])
        #expect(lone.belief(of: 2)?.state == .alive)
        #expect(lone.belief(of: 7) == Member(node: NodeID(7), state: .suspect, incarnation: .unheard))
        lone.effects = .init()
        lone.hear(.init(incarnation: Incarnation(5)), from: 3)
        #expect(lone.effects == .init())
        lone.run(.seconds(20))
        #expect(lone.effects.send.allSatisfy { [NodeID(2), NodeID(7)].contains($0.to) })
        #expect(lone.belief(of: 7)?.state == .dead)
    }

    @Test func aMachineWithoutOthersOnlyTicks() {
        var machine = GossipMachine(id: NodeID(1), members: [], incarnation: Incarnation(1), seed: 3)
        var effects = GossipMachine.Effects()
        var ticks = 0
        while let next = machine.nextDeadline, next < .origin + .seconds(10) {
            machine.step(.tick, at: next, into: &effects)
            ticks += 1
        }
        #expect(effects.send.isEmpty)
        #expect(ticks < 30)
    }

    @Test func settingsThatContradictEachOtherAreRefused() {
        func problem(_ change: (inout GossipSettings) -> Void) -> GossipSettingsError? {
            var settings = GossipSettings()
            change(&settings)
            do {
                try settings.validate()
                return nil
            } catch {
                #expect(error.description.hasPrefix("gossip: "))
                return error
            }
        }
        #expect(problem { _ in } == nil)
        #expect(problem { $0.newsInterval = .zero } == .durationNotPositive)
        #expect(problem { $0.pingTimeout = .milliseconds(251) } == .pingTimeoutTooLong)
        #expect(problem { $0.suspicionMaximumPeriods = 2 } == .suspicionRangeEmpty)
        #expect(problem { $0.suspicionConfirmations = 4 } == .tooManyConfirmations)
        #expect(problem { $0.newsFanout = 0 } == .countTooSmall)
        #expect(problem { $0.observationLifetime = .seconds(12) } == .observationLifetimeTooShort)
    }
}
