import ClusterModel
import Glibc
import NodeCore

// The one place where the coordinator reads clocks: the pure floors get the time as a value.

enum Clock {
    /// Now, on the monotonic clock and on the wall.
    static var moment: Moment {
        Moment(now: Instant(nanoseconds: nanoseconds(CLOCK_MONOTONIC)), wallClock: wallClockSeconds)
    }

    /// Seconds since 1970.
    static var wallClockSeconds: Int64 { nanoseconds(CLOCK_REALTIME) / 1_000_000_000 }

    /// Milliseconds since 1970: a number that is higher in each life of a process.
    static var wallClockMilliseconds: UInt64 { UInt64(max(0, nanoseconds(CLOCK_REALTIME) / 1_000_000)) }

    private static func nanoseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
