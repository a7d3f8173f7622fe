// Many seeded storms. A failure names its seed; `HSMCLUSTER_RAFT_SEED` runs that seed alone, and
// `HSMCLUSTER_RAFT_SEEDS` sets how many are run.

import ClusterModel
import Foundation
import Testing

@testable import Raft

struct TortureTests {
    private static let ticksPerSeed = 400
    private static let environment = ProcessInfo.processInfo.environment

    private static var seeds: ClosedRange<UInt64> {
        if let one = environment["HSMCLUSTER_RAFT_SEED"].flatMap(UInt64.init) { return one...one }
        return 1...(environment["HSMCLUSTER_RAFT_SEEDS"].flatMap(UInt64.init) ?? 60)
    }

    @Test func noStormBreaksAGuaranteeAndEveryCalmBringsAgreement() {
        var coverage = Torture.Coverage()
        for seed in Self.seeds {
            let torture = Torture(seed: seed)
            torture.run(ticks: Self.ticksPerSeed)
            let complaint = torture.recover()
            coverage.add(torture.coverage)
            #expect(torture.cluster.monitor.violations == [], "seed \(seed)")
            #expect(complaint == nil, "seed \(seed)")
        }
        print(coverage)
        guard Self.seeds.count >= 60 else { return }
        // A generator that never brings something about tests nothing there.
        #expect(coverage.elections > 100)
        #expect(coverage.committed > 1000)
        #expect(coverage.reads > 100)
        #expect(coverage.crashes > 100)
        #expect(coverage.truncations > 10)
        #expect(coverage.snapshotsInstalled > 10)
        #expect(coverage.configurations > 10)
        #expect(coverage.transfers > 10)
        #expect(coverage.pauses > 10)
        #expect(coverage.damages > 30)
        #expect(coverage.losses > 15)
    }

    @Test func aSeedDecidesTheWholeRun() {
        func trace(_ seed: UInt64) -> [NodeID: HardState] {
            let torture = Torture(seed: seed)
            torture.run(ticks: 200)
            return torture.cluster.nodes.mapValues(\.disk.hardState)
        }
        #expect(trace(11) == trace(11))
        #expect(trace(11) != trace(12))
    }
}
