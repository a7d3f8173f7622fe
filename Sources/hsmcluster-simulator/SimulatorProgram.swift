import ArgumentParser
import ClusterSimulator
import Glibc

// Runs the cluster simulator for one seed or many, and says what went wrong with which seed, so that it can be
// run again with --trace.

@main
struct SimulatorProgram: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hsmcluster-simulator",
        abstract: "Runs whole clusters in virtual time with faulty parts, and checks every promise.")

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds to run, one after another.")
    var seeds: UInt64 = 1

    @Option(
        help: "The length of the phase with faults, in virtual minutes; by default each seed draws its own.")
    var minutes: Double?

    @Option(help: "Plant a bug: \(PlantedBug.allCases.map(\.rawValue).joined(separator: ", ")).")
    var bug: String?

    @Flag(help: "Print everything that happens.")
    var trace = false

    @Flag(help: "Go on after a seed that failed.")
    var keepGoing = false

    func run() throws {
        let planted = try bug.map { name in
            guard let bug = PlantedBug(rawValue: name) else {
                throw ValidationError("no bug is called \(name)")
            }
            return bug
        }
        let clock = ContinuousClock()
        let began = clock.now
        var virtual = Duration.zero
        var coverage: [String: Int] = [:]
        var failed = 0
        for seed in seed..<(seed + max(seeds, 1)) {
            var options = SimulationOptions(seed: seed)
            options.safetyPhase = minutes.map { .milliseconds(Int64($0 * 60_000)) }
            options.bug = planted
            options.isTracing = trace
            let report = Simulation(options).run()
            virtual += report.virtualTime
            coverage.merge(report.coverage) { $0 + $1 }
            for line in report.trace { print(line) }
            if let violation = report.violation {
                failed += 1
                print("seed \(seed): \(violation)")
                // A long run may be stopped at any time; what it found shall not be lost.
                fflush(nil)
                if !keepGoing { break }
            } else if seeds == 1 {
                print("seed \(seed): well, trace hash \(String(report.traceHash, radix: 16))")
            }
        }
        for name in coverage.keys.sorted() { print("\(coverage[name] ?? 0)\t\(name)") }
        let real = clock.now - began
        print(
            "\(failed) failed; \(virtual) of virtual time in \(real), \(Int(virtual / real)) times real time")
        if failed > 0 { throw ExitCode.failure }
    }
}
