import ClusterModel
import Dispatch
import Foundation
import Synchronization
import Testing

@testable import TokenHostLink

// A supervisor whose token host can't be started, ends at once or never serves. The real program is tested
// in TokenHostTests.

private final class States: Sendable {
    private let list = Mutex<[TokenHostState]>([])
    func add(_ state: TokenHostState) { list.withLock { $0.append(state) } }
    var all: [TokenHostState] { list.withLock { $0 } }
    var details: String {
        all.map { if case .failed(let failure) = $0 { failure.detail } else { "" } }.joined(separator: "\n")
    }
}

private func hurried() -> TokenHostTiming {
    var timing = TokenHostTiming()
    timing.backoffFloor = .milliseconds(10)
    timing.backoffCeiling = .milliseconds(50)
    timing.startLimit = .milliseconds(300)
    return timing
}

private func supervisor(_ scratch: Scratch, executable: String, _ states: States) -> TokenHostSupervisor {
    TokenHostSupervisor(
        configuration: TokenHostConfiguration(
            endpoint: EndpointName("hsm-a"), modulePath: "/none", tokenURI: "pkcs11:",
            pinSource: .file(path: "/none"), socketPath: scratch.path + "/socket",
            credentialRecordPath: scratch.path + "/record"),
        configurationPath: scratch.path + "/configuration", executablePath: executable,
        log: .file(path: scratch.path + "/log"), timing: hurried(), queue: DispatchQueue(label: "test"),
        onState: { states.add($0) })
}

private func eventually(_ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<3_000 {
        if condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return condition()
}

private func stop(_ supervisor: TokenHostSupervisor) async {
    await withCheckedContinuation { done in supervisor.stop(killHost: true) { done.resume() } }
}

@Suite struct SupervisorTests {
    @Test func missingProgramIsNamed() async throws {
        let scratch = try Scratch()
        let states = States()
        let supervisor = supervisor(scratch, executable: scratch.path + "/missing", states)
        supervisor.start()
        #expect(try await eventually { states.details.contains("cannot start \(scratch.path)/missing") })
        #expect(states.all.first == .starting)
        await stop(supervisor)
    }

    @Test func programThatEndsIsStartedAgain() async throws {
        let scratch = try Scratch()
        let states = States()
        let program = try scratch.script("echo started; exit 78")
        let supervisor = supervisor(scratch, executable: program, states)
        supervisor.start()
        let log = scratch.path + "/log"
        #expect(
            try await eventually {
                let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                return text.split(separator: "\n").count >= 3
            })
        #expect(states.details.contains("status 78"))
        await stop(supervisor)
    }

    @Test func programThatNeverServesIsKilledAndNoZombieIsLeft() async throws {
        let scratch = try Scratch()
        let states = States()
        let program = try scratch.script("echo $$ >> \(scratch.path)/pids; exec sleep 1000")
        let supervisor = supervisor(scratch, executable: program, states)
        supervisor.start()
        #expect(try await eventually { states.details.contains("doesn't begin to serve") })
        await stop(supervisor)
        let pids = try String(contentsOfFile: scratch.path + "/pids", encoding: .utf8)
        for pid in pids.split(separator: "\n").compactMap({ pid_t($0) }) {
            #expect(kill(pid, 0) == -1, "process \(pid) is still there")
        }
    }

    @Test func programGetsACleanEnvironmentAndNoDescriptors() async throws {
        let scratch = try Scratch()
        let leaked = open("/dev/null", O_RDONLY)
        defer { close(leaked) }
        setenv("HSMCLUSTER_TEST_LEAK", "secret", 1)
        let output = scratch.path + "/environment"
        let program = try scratch.script(
            "ls /proc/$$/fd > \(scratch.path)/fds; env > \(output).new; mv \(output).new \(output); sleep 1000"
        )
        let supervisor = supervisor(scratch, executable: program, States())
        supervisor.start()
        #expect(try await eventually { FileManager.default.fileExists(atPath: output) })
        await stop(supervisor)
        let environment = try String(contentsOfFile: output, encoding: .utf8)
        #expect(environment.contains("PATH="))
        #expect(!environment.contains("HSMCLUSTER_TEST_LEAK"))
        let descriptors = try String(contentsOfFile: scratch.path + "/fds", encoding: .utf8)
        #expect(!descriptors.split(separator: "\n").contains("\(leaked)"))
    }

    @Test func callWithoutATokenHostIsLostAtOnce() async throws {
        let scratch = try Scratch()
        let supervisor = supervisor(scratch, executable: scratch.path + "/missing", States())
        supervisor.start()
        let result = await withCheckedContinuation { done in
            supervisor.call(.inspect, deadline: .seconds(60)) { done.resume(returning: $0) }
        }
        guard case .failure(let failure) = result else {
            Issue.record("an answer from nobody")
            return
        }
        #expect(failure.kind == .tokenHostLost)
        await stop(supervisor)
    }

    @Test func foreignFileAtTheSocketIsNotFollowed() async throws {
        let scratch = try Scratch()
        let states = States()
        try Data("x".utf8).write(to: URL(fileURLWithPath: scratch.path + "/socket"))
        let program = try scratch.script("exit 0")
        let supervisor = supervisor(scratch, executable: program, states)
        supervisor.start()
        #expect(try await eventually { states.details.contains("status 0") })
        await stop(supervisor)
    }
}
