import ClusterModel

// How long to wait before trying again: twice as long each time, up to a bound, and a random part of that, so
// that many callers that failed together do not come back together ("full jitter", Brooker, "Exponential
// Backoff And Jitter", 2015). A lower bound keeps an unlucky draw from making it no wait at all.

/// A growing, random wait. A value: keep one for each thing that is retried.
public struct Backoff: Hashable, Sendable {
    /// The shortest wait.
    public let minimum: Duration
    /// The longest wait.
    public let maximum: Duration
    /// How many waits there were since the last success.
    public private(set) var attempts = 0
    private var generator: SeededGenerator

    /// A backoff that has not waited yet.
    /// - Parameters:
    ///   - minimum: The shortest wait; a millisecond at least.
    ///   - maximum: The longest wait; `minimum` at least.
    ///   - seed: Decides all waits.
    public init(
        minimum: Duration = .milliseconds(100), maximum: Duration = .seconds(30), seed: UInt64
    ) {
        self.minimum = max(minimum, .milliseconds(1))
        self.maximum = max(maximum, self.minimum)
        generator = SeededGenerator(seed: seed)
    }

    /// The longest that the next wait may be: twice the minimum at first, doubled with each wait, up to
    /// `maximum`.
    public var ceiling: Duration {
        var ceiling = minimum
        for _ in 0...attempts where ceiling < maximum { ceiling = ceiling * 2 }
        return min(ceiling, maximum)
    }

    /// The next wait: anything from `minimum` to `ceiling`, all equally likely.
    public mutating func next() -> Duration {
        let range = minimum.wholeNanoseconds...max(ceiling, minimum).wholeNanoseconds
        let wait = Duration.nanoseconds(Int64.random(in: range, using: &generator))
        attempts = min(attempts + 1, Self.mostDoublings)
        return wait
    }

    /// Begins again after a success. The random sequence goes on.
    public mutating func reset() { attempts = 0 }

    /// A millisecond doubled this often is longer than any wait; counting further would only overflow.
    private static let mostDoublings = 62
}
