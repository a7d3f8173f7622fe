// Measures a running cluster from outside, as a client sees it. Benchmarks report; they don't judge, and no test
// depends on them. benchmarks/README.md says how to run them.

import ArgumentParser
import ManagementModel

@main
struct BenchProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hsmcluster-bench", abstract: "Measures a cluster.", version: SoftwareVersion.current,
        subcommands: [FailoverBench.self])
}
