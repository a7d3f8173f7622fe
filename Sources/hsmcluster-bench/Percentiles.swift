// Exact percentiles by the nearest-rank method: with some fifty samples there is no need for a histogram.

import Foundation

/// What one kind of event took, in milliseconds.
struct Percentiles: Encodable {
    var name: String
    var samples: Int
    var p50: Double
    var p90: Double
    var p99: Double
    var worst: Double

    init?(_ name: String, _ durations: [Duration]) {
        let sorted = durations.map { $0 / .milliseconds(1) }.sorted()
        guard let last = sorted.last else { return nil }
        func rank(_ fraction: Double) -> Double {
            let index = Int((fraction * Double(sorted.count)).rounded(.up)) - 1
            return (sorted[max(0, index)] * 10).rounded() / 10
        }
        self.name = name
        samples = sorted.count
        p50 = rank(0.5)
        p90 = rank(0.9)
        p99 = rank(0.99)
        worst = (last * 10).rounded() / 10
    }

    static func table(_ rows: [Percentiles]) -> String {
        var lines = ["| milliseconds | samples | p50 | p90 | p99 | worst |", "|---|---|---|---|---|---|"]
        lines += rows.map {
            "| \($0.name) | \($0.samples) | \($0.p50) | \($0.p90) | \($0.p99) | \($0.worst) |"
        }
        return lines.joined(separator: "\n")
    }
}
