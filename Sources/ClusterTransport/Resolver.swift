// getaddrinfo waits for name servers, sometimes for half a minute, and a blocked Dispatch thread is one of
// few. So each resolution gets a short-lived thread of its own; the transport starts at most one per peer.

import Glibc

enum Resolver {
    private final class Job {
        let host: String
        let port: UInt16
        let completion: @Sendable ([SocketAddress]) -> Void
        init(host: String, port: UInt16, completion: @escaping @Sendable ([SocketAddress]) -> Void) {
            self.host = host
            self.port = port
            self.completion = completion
        }
    }

    /// Resolves in the background and calls `completion`, on a thread of its own, with what was found:
    /// nothing when the name is unknown.
    static func resolve(
        host: String, port: UInt16, completion: @escaping @Sendable ([SocketAddress]) -> Void
    ) {
        let job = Unmanaged.passRetained(Job(host: host, port: port, completion: completion))
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let outcome = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let job = Unmanaged<Job>.fromOpaque(argument).takeRetainedValue()
                job.completion(SystemCalls.addresses(host: job.host, port: job.port, passive: false))
                return nil
            }, job.toOpaque())
        guard outcome != 0 else { return }
        // No thread to be had: the same to the caller as a name that doesn't resolve.
        job.takeRetainedValue().completion([])
    }
}
