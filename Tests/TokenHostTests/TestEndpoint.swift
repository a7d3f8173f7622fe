import ClusterModel
import Dispatch
import Foundation
import Synchronization
import Testing
import TokenHostLink

// One endpoint for one test: a SoftHSM token in a folder of its own, reached through the faulty module, and
// the real hsmtokend. The faulty module also counts calls, so a test can say how often a PIN was sent.

/// What a test environment lacks.
struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// A token, its files and a supervisor's settings.
final class TestEndpoint: Sendable {
    static let goodPIN = "user-4711"
    let folder: String
    let softHSM: String

    var socketPath: String { folder + "/hsm-a.sock" }
    var recordPath: String { folder + "/hsm-a.record" }
    var pinPath: String { folder + "/hsm-a.pin" }
    var controlPath: String { folder + "/control" }
    var callsPath: String { folder + "/calls" }
    var logPath: String { folder + "/log" }

    init(pin: String = TestEndpoint.goodPIN) throws {
        let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"]
        guard let softHSM = places.first(where: FileManager.default.isReadableFile(atPath:)) else {
            throw Missing(description: "SoftHSM 2 is missing: install the package softhsm2")
        }
        self.softHSM = softHSM
        var template = Array((NSTemporaryDirectory() + "/hsmcluster-host-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Missing(description: "no temporary folder") }
        folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try FileManager.default.createDirectory(
            atPath: folder + "/tokens", withIntermediateDirectories: true)
        try "directories.tokendir = \(folder)/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
            .write(toFile: folder + "/softhsm2.conf", atomically: true, encoding: .utf8)
        try writePIN(pin)
        try makeToken()
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func makeToken() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/softhsm2-util")
        process.arguments = [
            "--init-token", "--free", "--label", "hsm-a", "--so-pin", "officer-4711", "--pin", Self.goodPIN,
        ]
        process.environment = ["SOFTHSM2_CONF": folder + "/softhsm2.conf"]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Missing(description: "softhsm2-util failed") }
    }

    /// Replaces the PIN file, as an operator does.
    func writePIN(_ pin: String) throws {
        try (pin + "\n").write(toFile: pinPath, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: pinPath)
    }

    /// Orders faults, such as `C_Login hang`; none when empty.
    func order(_ faults: String) throws {
        try (faults + "\n").write(toFile: controlPath, atomically: true, encoding: .utf8)
    }

    /// How often the module's function was called since the token was made.
    func count(of function: String) -> Int {
        let text = (try? String(contentsOfFile: callsPath, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").count { $0 == function }
    }

    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    /// Where the build puts programs and libraries: beside this test program.
    static func built(_ name: String) throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(fileURLWithPath: program).deletingLastPathComponent().path + "/" + name
        guard FileManager.default.fileExists(atPath: path) else {
            throw Missing(description: "\(path) isn't built")
        }
        return path
    }

    func configuration(
        modulePath: String? = nil, tokenURI: String = "pkcs11:token=hsm-a", pinSource: PINSource? = nil,
        hangLimit: Duration = .seconds(60), memoryLimitMebibytes: UInt64 = 1_024
    ) throws -> TokenHostConfiguration {
        TokenHostConfiguration(
            endpoint: EndpointName("hsm-a"), modulePath: try modulePath ?? Self.built("libFaultyModule.so"),
            tokenURI: tokenURI, pinSource: pinSource ?? .file(path: pinPath),
            environment: [
                "SOFTHSM2_CONF": folder + "/softhsm2.conf", "FAULTY_MODULE_TARGET": softHSM,
                "FAULTY_MODULE_CONTROL": controlPath, "FAULTY_MODULE_LOG": callsPath,
            ],
            sessionThreads: 2, queueBound: 4, socketPath: socketPath, credentialRecordPath: recordPath,
            hangLimit: hangLimit, memoryLimitMebibytes: memoryLimitMebibytes)
    }

    /// Runs `body` with a started supervisor and stops it and its token host afterwards.
    func supervise(
        _ configuration: TokenHostConfiguration? = nil, executable: String? = nil, killHost: Bool = true,
        _ body: (Supervised) async throws -> Void
    ) async throws {
        let supervised = Supervised(
            try configuration ?? self.configuration(), folder: folder, log: logPath,
            executable: try executable ?? Self.built("hsmtokend"))
        supervised.supervisor.start()
        do {
            try await body(supervised)
        } catch {
            await supervised.stop(killHost: true)
            throw error
        }
        await supervised.stop(killHost: killHost)
    }
}

/// A supervisor under test and what it told.
final class Supervised: Sendable {
    let supervisor: TokenHostSupervisor
    private let states: Told<TokenHostState>
    private let vitals: Told<TokenHostVitals>
    private let lockPath: String

    init(_ configuration: TokenHostConfiguration, folder: String, log: String, executable: String) {
        var timing = TokenHostTiming()
        timing.pingInterval = .milliseconds(200)
        // Patience: the machine that runs the tests may be slow.
        timing.missedPings = 15
        timing.startLimit = .seconds(60)
        timing.backoffFloor = .milliseconds(20)
        timing.backoffCeiling = .milliseconds(200)
        let states = Told<TokenHostState>()
        let vitals = Told<TokenHostVitals>()
        self.states = states
        self.vitals = vitals
        lockPath = configuration.lockPath
        supervisor = TokenHostSupervisor(
            configuration: configuration, configurationPath: folder + "/hsm-a.conf",
            executablePath: executable, log: .file(path: log), timing: timing,
            queue: DispatchQueue(label: "supervisor"), onState: { states.add($0) },
            onVitals: { vitals.add($0) })
    }

    var latestState: TokenHostState? { states.all.last }
    var allStates: [TokenHostState] { states.all }
    var latestVitals: TokenHostVitals? { vitals.all.last }
    /// The details of all failures told.
    var failures: String {
        states.all.map { if case .failed(let failure) = $0 { failure.detail } else { "" } }
            .joined(separator: "\n")
    }

    func stop(killHost: Bool) async {
        await withCheckedContinuation { done in supervisor.stop(killHost: killHost) { done.resume() } }
    }

    func call(
        _ request: EndpointRequest, deadline: Duration = .seconds(60)
    ) async -> Result<EndpointReply, EndpointFailure> {
        await withCheckedContinuation { done in
            supervisor.call(request, deadline: deadline) { done.resume(returning: $0) }
        }
    }

    func failure(_ request: EndpointRequest, deadline: Duration = .seconds(60)) async -> EndpointFailure? {
        guard case .failure(let failure) = await call(request, deadline: deadline) else { return nil }
        return failure
    }

    /// Waits for service and returns the state of the PIN.
    @discardableResult func serving() async throws -> PINState {
        var state: PINState?
        try await eventually("serving") {
            guard case .serving(_, let pin)? = self.latestState else { return false }
            state = pin
            return true
        }
        return try #require(state)
    }

    /// Waits for a state of the PIN.
    func pin(_ wanted: PINState) async throws {
        try await eventually("the PIN is \(wanted)") {
            if case .serving(_, wanted)? = self.latestState { true } else { false }
        }
    }

    /// Waits until another process than `process` serves.
    func replacement(of process: pid_t) async throws {
        try await eventually("another process serves") {
            guard let holder = ServingLockProbe.holder(lockPath), holder != process else { return false }
            // Only the new process reports a state after the old one's loss was told.
            return if case .serving? = self.latestState { true } else { false }
        }
        try await serving()
    }

    /// The process that serves now.
    func process() throws -> pid_t { try #require(ServingLockProbe.holder(lockPath)) }
}

/// A list that handlers fill from any thread.
final class Told<Value: Sendable>: Sendable {
    private let list = Mutex<[Value]>([])
    func add(_ value: Value) { list.withLock { $0.append(value) } }
    var all: [Value] { list.withLock { $0 } }
}

/// Polls until `condition` holds; fails the test after a generous while.
func eventually(_ what: Comment, _ condition: () async throws -> Bool) async throws {
    for _ in 0..<6_000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    try #require(try await condition(), what)
}

/// A key to be made.
func keySpecification(_ number: UInt8) -> KeySpecification {
    KeySpecification(
        identity: [UInt8](repeating: number, count: KeyIdentity.byteCount), label: "CMS MK \(number)",
        algorithm: .aes256, usage: [.derive], isExtractable: false)
}
