import Glibc

@testable import TokenHostLink

// Which process serves an endpoint, as the kernel says.

enum ServingLockProbe {
    static func holder(_ lockPath: String) -> pid_t? { ServingLock.holder(lockPath) }
}
