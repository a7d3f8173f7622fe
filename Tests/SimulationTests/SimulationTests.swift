import ClusterSimulator
import Testing

// A bounded number of seeds in every test run; the program hsmcluster-simulator runs as many as one likes.

@Suite struct SimulationTests {
    static func run(_ seed: UInt64, seconds: Int = 12) -> SimulationReport {
        var options = SimulationOptions(seed: seed)
        options.safetyPhase = .seconds(seconds)
        return Simulation(options).run()
    }

    @Test(arguments: 0..<8)
    func noSeedBreaksAPromise(block: Int) {
        for seed in UInt64(block * 5 + 1)...UInt64(block * 5 + 5) {
            let report = Self.run(seed)
            #expect(report.violation == nil, "hsmcluster-simulator --seed \(seed) --minutes 0.2 --trace")
        }
    }

    @Test(arguments: [3, 8] as [UInt64])
    func theSameSeedGivesTheSameRun(seed: UInt64) {
        let (first, second) = (Self.run(seed), Self.run(seed))
        #expect(first.traceHash == second.traceHash && first.happenings == second.happenings)
        #expect(first.coverage == second.coverage)
        #expect(first.traceHash != Self.run(seed + 1).traceHash)
    }

    @Test func everyPlantedBugIsFound() {
        for bug in PlantedBug.allCases {
            let isFound = (1...20 as ClosedRange<UInt64>).contains { seed in
                var options = SimulationOptions(seed: seed)
                options.bug = bug
                return Simulation(options).run().violation != nil
            }
            #expect(isFound, "\(bug.rawValue)")
        }
    }
}
