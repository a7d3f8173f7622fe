// The pure floors never read a clock: the shell (or the simulator) hands them the time as a value.

/// A point on a monotonic clock, in nanoseconds since an arbitrary origin of this process.
/// Two instants of different processes cannot be compared.
public struct Instant: Hashable, Comparable, Sendable, Codable {
    /// Nanoseconds since the origin.
    public var nanoseconds: Int64
    /// An instant so many nanoseconds after the origin.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    /// The origin itself.
    public static let origin = Instant(nanoseconds: 0)
    /// Orders instants by time.
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
    /// The instant `span` later.
    public static func + (left: Instant, span: Duration) -> Instant {
        Instant(nanoseconds: left.nanoseconds + span.wholeNanoseconds)
    }
    /// The time from `right` to `left`; negative when `right` is later.
    public static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

extension Duration {
    /// The duration in nanoseconds, rounded towards zero.
    public var wholeNanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
    /// The duration in milliseconds, rounded towards zero.
    public var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}
