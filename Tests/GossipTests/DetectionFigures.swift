import ClusterModel
import Gossip
import Testing

// How fast crashes are found and how often the living are wronged, for whoever tunes the settings.

/// Printed figures. They follow from the seeds, so the bounds cannot flake.
@Suite struct DetectionFigures {
    struct Row: Sendable, CustomTestStringConvertible {
        var count: Int
        var lossPercent: Int
        var crashes: Int
        var seconds: Int
        var testDescription: String { "\(count) members, \(lossPercent)% loss" }
    }

    static let rows = [
        Row(count: 3, lossPercent: 0, crashes: 10, seconds: 120),
        Row(count: 3, lossPercent: 10, crashes: 10, seconds: 120),
        Row(count: 3, lossPercent: 30, crashes: 10, seconds: 120),
        Row(count: 7, lossPercent: 0, crashes: 10, seconds: 60),
        Row(count: 7, lossPercent: 10, crashes: 10, seconds: 60),
        Row(count: 7, lossPercent: 30, crashes: 10, seconds: 60),
        Row(count: 50, lossPercent: 10, crashes: 1, seconds: 10),
        Row(count: 200, lossPercent: 5, crashes: 1, seconds: 5),
    ]

    @Test(arguments: rows) func crashesAreFoundAndTheLivingSpared(row: Row) {
        var weather = GossipNetwork.Weather()
        weather.lossPercent = row.lossPercent
        var suspected: [Duration] = []
        var first: [Duration] = []
        var all: [Duration] = []
        var suspicions = 0
        var deaths = 0
        var messages = 0
        for seed in 1...UInt64(row.crashes) {
            var network = GossipNetwork(count: row.count, weather: weather, seed: seed)
            network.run(.seconds(5) + .milliseconds(Int(seed) * 37))
            if seed == 1 {
                // A quiet time, in which nobody crashes.
                let start = network.now
                let sent = network.messageCount
                network.run(.seconds(row.seconds))
                let wrong = network.notices.filter { $0.at > start }
                suspicions = wrong.count { $0.change.current.state == .suspect }
                deaths = wrong.count { $0.change.current.state == .dead }
                messages = network.messageCount - sent
            }
            let crashedAt = network.now
            let victim = NodeID(UInt64(row.count))
            network.down = [victim]
            let took = network.run(upTo: .seconds(60)) { network in
                network.nodes.dropLast().allSatisfy {
                    network.state(of: victim.rawValue, seenBy: $0.rawValue) == .dead
                }
            }
            all.append(took ?? .seconds(60))
            let told = network.notices.filter { $0.change.current.node == victim && $0.at > crashedAt }
            suspected.append((told.first?.at ?? network.now) - crashedAt)
            first.append((told.first { $0.change.current.state == .dead }?.at ?? network.now) - crashedAt)
        }
        let memberSeconds = row.count * row.seconds
        print(
            """
            \(row.testDescription): suspected after \(median(suspected)) ms, dead to one after \(median(first)) ms, \
            to all after \(median(all)) ms (worst \(all.max().map(\.wholeMilliseconds) ?? 0)); \
            in \(memberSeconds) member seconds \(suspicions) beliefs 'suspect' and \(deaths) 'dead' were wrong; \
            \(messages / memberSeconds) messages per member and second
            """)
        #expect(all.allSatisfy { $0 < .seconds(30) })
        if row.lossPercent == 0 { #expect(suspicions == 0) }
        if row.lossPercent <= 10 { #expect(deaths == 0) }
    }

    private func median(_ spans: [Duration]) -> Int64 {
        let sorted = spans.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2].wholeMilliseconds
    }
}
