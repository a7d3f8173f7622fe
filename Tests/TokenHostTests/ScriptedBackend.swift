import ClusterModel
import Foundation
import PKCS11
import Synchronization

@testable import TokenHost
@testable import TokenHostLink

// A token without PKCS#11, for what would take too long or be too rare with a real one, and a server for it
// inside the test process.

/// A backend that does what it is told.
final class ScriptedBackend: EndpointBackend {
    struct Script: Sendable {
        var absence: EndpointFailure?
        var isLoggedIn = false
        var logins = 0
        var closes = 0
        var perform: @Sendable (EndpointRequest) -> Result<EndpointReply, EndpointFailure> = { _ in
            .success(.objects([]))
        }
    }

    let script = Mutex(Script())

    func open() throws(EndpointFailure) -> TokenDescription { try inspect() }

    func inspect() throws(EndpointFailure) -> TokenDescription {
        let (absence, isLoggedIn) = script.withLock { ($0.absence, $0.isLoggedIn) }
        if let absence { throw absence }
        return TokenDescription(
            label: "scripted", serialNumber: "1", manufacturer: "", model: "", mechanisms: [],
            isLoggedIn: isLoggedIn)
    }

    func logIn(_ pin: borrowing SecretBytes) throws(EndpointFailure) {
        script.withLock {
            $0.logins += 1
            $0.isLoggedIn = true
        }
    }

    func makePerformer() throws(EndpointFailure) -> any EndpointPerformer { Performer(self) }

    func close() { script.withLock { $0.closes += 1 } }

    private final class Performer: EndpointPerformer {
        private let backend: ScriptedBackend
        init(_ backend: ScriptedBackend) { self.backend = backend }
        func isLoggedIn() throws(EndpointFailure) -> Bool { backend.script.withLock { $0.isLoggedIn } }
        func perform(_ request: EndpointRequest) throws(EndpointFailure) -> EndpointReply {
            let perform = backend.script.withLock { $0.perform }
            return try perform(request).get()
        }
    }
}

/// A server on a thread of its own.
final class ScriptedHost: Sendable {
    let backend = ScriptedBackend()
    let folder: String
    private let stopper: @Sendable () -> Void
    private let status = Mutex<Int32?>(nil)

    /// Carries the server to its thread.
    private struct Cargo: @unchecked Sendable {
        // Safe: after the initializer only the server's own thread touches it.
        let server: TokenHostServer
    }

    init(
        timing: HostTiming, sessionThreads: Int = 2, queueBound: Int = 4, absence: EndpointFailure? = nil
    ) throws {
        backend.script.withLock { $0.absence = absence }
        var template = Array((NSTemporaryDirectory() + "/hsmcluster-script-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Missing(description: "no temporary folder") }
        folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let pin = folder + "/pin"
        try "1234".write(toFile: pin, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: pin)
        let configuration = TokenHostConfiguration(
            endpoint: EndpointName("scripted"), modulePath: "/none", tokenURI: "pkcs11:",
            pinSource: .file(path: pin), sessionThreads: sessionThreads, queueBound: queueBound,
            socketPath: folder + "/run/socket", credentialRecordPath: folder + "/record")
        let cargo = Cargo(
            server: try TokenHostServer(configuration: configuration, backend: backend, timing: timing))
        stopper = cargo.server.stopper
        try OwnedThread.start { [self] in
            let result = cargo.server.run()
            status.withLock { $0 = result }
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var exitStatus: Int32? { status.withLock { $0 } }

    func stop() { stopper() }

    /// A greeted link, once the server listens.
    func link() async throws -> RawClient {
        let path = folder + "/run/socket"
        try await eventually("the server listens") {
            guard case .connected(let descriptor) = UnixSocket.connect(path) else { return false }
            close(descriptor)
            return true
        }
        let client = try RawClient(path)
        try client.greet()
        return client
    }
}
