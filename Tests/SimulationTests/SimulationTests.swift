import ClusterSimulator
import Testing

// A bounded number of seeds in every test run; the program hsmcluster-simulator runs as many as one likes.

@Suite struct SimulationTests {
    static func run(_ seed: UInt64, seconds: Int? = nil) -> SimulationReport {
        var options = SimulationOptions(seed: seed)
        options.safetyPhase = seconds.map { .seconds($0) }
        return Simulation(options).run()
    }

    @Test(arguments: 0..<8)
    func noSeedBreaksAPromise(block: Int) {
        for seed in UInt64(block * 5 + 1)...UInt64(block * 5 + 5) {
            let report = Self.run(seed)
            #expect(report.violation == nil, "hsmcluster-simulator --seed \(seed) --trace")
        }
    }

    @Test(arguments: [3, 8] as [UInt64])
    func theSameSeedGivesTheSameRun(seed: UInt64) {
        let (first, second) = (Self.run(seed), Self.run(seed))
        #expect(first.traceHash == second.traceHash && first.happenings == second.happenings)
        #expect(first.coverage == second.coverage)
        #expect(first.traceHash != Self.run(seed + 1).traceHash)
    }

    /// Every kind of operation and fault really happens: a generator with a blind spot finds nothing there.
    @Test func theSeedsTogetherDoWhatTheyAreMeantTo() {
        // Orphans and requests that outlive their deadline are rare: runs that are known to have them.
        var coverage = Self.run(8, seconds: 60).coverage
        coverage.merge(Self.run(5_286).coverage) { $0 + $1 }
        for seed in Array(101...130) + Array(201...230) as [UInt64] {
            coverage.merge(Self.run(seed).coverage) { $0 + $1 }
        }
        let wanted = [
            "call destroy", "call export", "call generate", "call import", "call log in", "call scan",
            "call transport key", "call verify", "client gives up", "crash", "crash in step",
            "create key store: key store", "generate: key", "generate: noQuorum", "generate: pending",
            "key activated", "leader elected", "message doubled", "message lost", "object invisible",
            "log compacted", "snapshot installed", "start finishes an installation",
            "crash in an installation",
            "power cut", "transfer: done",
            "operator corrects PIN", "orphan", "pause", "read: catalog", "retry login: done", "slow write",
            "token away", "token host killed", "token replaced", "wrong PIN",
        ]
        #expect(wanted.filter { coverage[$0] == nil } == [])
    }

    /// The table is made with: hsmcluster-simulator --bug NAME --seeds 2000
    @Test(
        arguments: [
            (PlantedBug.droppedWrite, 1), (.lostHardState, 5), (.earlySend, 1), (.ignoredTruncation, 10),
            (.rowsWithoutIndex, 1), (.uncheckedPIN, 8), (.skippedProof, 1), (.destroyedByLabel, 14),
            (.forgottenRejection, 17),
        ] as [(PlantedBug, UInt64)])
    func aPlantedBugIsFound(bug: PlantedBug, seed: UInt64) {
        var options = SimulationOptions(seed: seed)
        options.bug = bug
        #expect(Simulation(options).run().violation != nil, "\(bug.rawValue)")
    }
}
