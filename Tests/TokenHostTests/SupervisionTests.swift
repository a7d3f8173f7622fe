import ClusterModel
import Foundation
import Testing
import TokenHostLink

// The real hsmtokend before a real SoftHSM, and everything that can happen to it.

@Suite struct SupervisionTests {
    @Test func keysAreMadeFoundAndDestroyed() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            #expect(try await host.serving() == .untried)
            #expect(await host.failure(.scan(labelPrefix: ""))?.kind == .notLoggedIn)
            #expect(await host.call(.logIn) == .success(.done))
            try await host.pin(.accepted)
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: true)))
            guard case .success(.objects(let objects)) = await host.call(.scan(labelPrefix: "CMS MK ")) else {
                Issue.record("no scan")
                return
            }
            #expect(objects.map(\.label) == ["CMS MK 1"])
            let key = keySpecification(1)
            #expect(
                await host.call(.destroy(identity: key.identity, label: key.label))
                    == .success(.destroyed(1)))
            guard case .success(.token(let description)) = await host.call(.inspect) else {
                Issue.record("no description")
                return
            }
            #expect(description.isLoggedIn)
            #expect(description.label == "hsm-a")
        }
    }

    @Test func killedProcessIsReplacedAndItsCallsAreLost() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try endpoint.order("C_GenerateKey hang")
            async let hung = host.failure(.generate(keySpecification(1)))
            try await eventually("the call is under way") { endpoint.count(of: "C_GenerateKey") == 1 }
            let process = try host.process()
            kill(process, SIGKILL)
            #expect(await hung?.kind == .tokenHostLost)
            try endpoint.order("")
            try await host.replacement(of: process)
            #expect(try await host.serving() == .accepted)
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
            #expect(host.failures.contains("signal 9"))
            #expect(kill(process, 0) == -1, "a zombie is left")
        }
    }

    @Test func crashingModuleTakesOnlyItsProcessAlong() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try endpoint.order("C_GenerateKey crash")
            #expect(await host.failure(.generate(keySpecification(1)))?.kind == .tokenHostLost)
            try endpoint.order("")
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
        }
    }

    @Test func frozenProcessIsReplaced() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            let process = try host.process()
            kill(process, SIGSTOP)
            // Kept by the caller's own clock, whatever the process does.
            #expect(await host.failure(.inspect, deadline: .milliseconds(50))?.kind == .deadlineExceeded)
            try await host.replacement(of: process)
            #expect(host.failures.contains("frozen"))
            #expect(await host.call(.logIn) == .success(.done))
        }
    }

    @Test func hungCallMissesItsDeadlineAndOthersGoOn() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try endpoint.order("C_GenerateKey hang")
            let deadline = Duration.milliseconds(300)
            #expect(
                await host.failure(.generate(keySpecification(1)), deadline: deadline)?.kind
                    == .deadlineExceeded)
            #expect(
                await host.failure(.generate(keySpecification(2)), deadline: deadline)?.kind
                    == .deadlineExceeded)
            // Both configured threads hang now; replacements serve.
            try endpoint.order("")
            try await eventually("two threads are given up") { host.latestVitals?.stuckThreads == 2 }
            #expect(await host.call(.generate(keySpecification(3))) == .success(.made(adopted: false)))
        }
    }

    @Test func hangBeyondTheLimitReplacesTheProcess() async throws {
        let endpoint = try TestEndpoint()
        let configuration = try endpoint.configuration(hangLimit: .seconds(4))
        try await endpoint.supervise(configuration) { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try endpoint.order("C_GenerateKey hang")
            #expect(await host.failure(.generate(keySpecification(1)))?.kind == .tokenHostLost)
            #expect(host.failures.contains("has hung"))
            try endpoint.order("")
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
        }
    }

    @Test func leakingModuleIsReplaced() async throws {
        let endpoint = try TestEndpoint()
        let configuration = try endpoint.configuration(memoryLimitMebibytes: 300)
        try await endpoint.supervise(configuration) { host in
            try await host.serving()
            let process = try host.process()
            try endpoint.order("C_GetTokenInfo leak")
            for _ in 0..<40 where !host.failures.contains("MiB of memory") {
                _ = await host.call(.inspect)
                try await Task.sleep(for: .milliseconds(100))
            }
            try endpoint.order("")
            try await host.replacement(of: process)
            #expect(host.failures.contains("MiB of memory"))
        }
    }

    @Test func fullQueueIsBusyNotBroken() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            try endpoint.order("C_GenerateKey hang")
            // Two threads and a queue of four: the seventh finds no place.
            for number in 1...2 as ClosedRange<UInt8> {
                host.supervisor.call(.generate(keySpecification(number)), deadline: .seconds(60)) { _ in }
            }
            try await eventually("two hang") { endpoint.count(of: "C_GenerateKey") == 2 }
            for number in 3...6 as ClosedRange<UInt8> {
                host.supervisor.call(.generate(keySpecification(number)), deadline: .seconds(60)) { _ in }
            }
            try await eventually("four wait") {
                host.latestVitals.map { $0.busyThreads == 2 && $0.queuedRequests == 4 } ?? false
            }
            #expect(await host.failure(.generate(keySpecification(7)))?.kind == .busy)
        }
    }

    @Test func restartedNodeAdoptsTheRunningProcessWithItsLogin() async throws {
        let endpoint = try TestEndpoint()
        let first = Told<pid_t>()
        try await endpoint.supervise(killHost: false) { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            first.add(try host.process())
        }
        try await endpoint.supervise { host in
            #expect(try await host.serving() == .accepted)
            let adopted = try host.process()
            #expect([adopted] == first.all)
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
        }
        #expect(endpoint.count(of: "C_Login") == 1)
        let process = try #require(first.all.first)
        #expect(kill(process, 0) == -1, "the process outlived stop(killHost: true)")
        #expect(endpoint.count(of: "C_Finalize") == 1, "the module wasn't finalized")
    }

    @Test func changedConfigurationReplacesTheRunningProcess() async throws {
        let endpoint = try TestEndpoint()
        let first = Told<pid_t>()
        try await endpoint.supervise(killHost: false) { host in
            try await host.serving()
            first.add(try host.process())
        }
        try await endpoint.supervise(try endpoint.configuration(hangLimit: .seconds(61))) { host in
            try await host.serving()
            let replacement = try host.process()
            #expect([replacement] != first.all)
        }
    }

    @Test func upgradedProgramReplacesTheRunningProcess() async throws {
        let endpoint = try TestEndpoint()
        let first = Told<pid_t>()
        try await endpoint.supervise(killHost: false) { host in
            try await host.serving()
            first.add(try host.process())
        }
        let upgraded = endpoint.folder + "/hsmtokend"
        try FileManager.default.copyItem(atPath: try TestEndpoint.built("hsmtokend"), toPath: upgraded)
        try await endpoint.supervise(executable: upgraded) { host in
            try await host.serving()
            let replacement = try host.process()
            #expect([replacement] != first.all)
        }
    }

    @Test func manyDeathsInARowAreSurvived() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            for _ in 0..<15 {
                try await host.serving()
                let process = try host.process()
                kill(process, SIGKILL)
                try await host.replacement(of: process)
            }
            #expect(await host.call(.logIn) == .success(.done))
        }
    }

    @Test func frozenProcessOfAnEarlierNodeIsReplaced() async throws {
        let endpoint = try TestEndpoint()
        let first = Told<pid_t>()
        try await endpoint.supervise(killHost: false) { host in
            try await host.serving()
            first.add(try host.process())
        }
        kill(try #require(first.all.first), SIGSTOP)
        try await endpoint.supervise { host in
            try await host.serving()
            let replacement = try host.process()
            #expect([replacement] != first.all)
        }
    }

    @Test func missingModuleIsReportedAndFoundWhenItAppears() async throws {
        let endpoint = try TestEndpoint()
        let path = endpoint.folder + "/module.so"
        try await endpoint.supervise(try endpoint.configuration(modulePath: path)) { host in
            try await eventually("the missing module is reported") {
                if case .failed(let failure)? = host.latestState {
                    failure.kind == .moduleUnavailable && failure.detail.contains(path)
                } else {
                    false
                }
            }
            #expect(await host.failure(.scan(labelPrefix: ""))?.kind == .moduleUnavailable)
            let module = try TestEndpoint.built("libFaultyModule.so")
            try FileManager.default.copyItem(atPath: module, toPath: path)
            try await host.serving()
        }
    }

    @Test func missingTokenIsReportedAndFoundWhenItAppears() async throws {
        let endpoint = try TestEndpoint()
        let tokens = endpoint.folder + "/tokens"
        try FileManager.default.moveItem(atPath: tokens, toPath: tokens + ".away")
        try FileManager.default.createDirectory(atPath: tokens, withIntermediateDirectories: true)
        try await endpoint.supervise { host in
            try await eventually("the missing token is reported") {
                if case .failed(let failure)? = host.latestState {
                    failure.kind == .tokenNotFound
                } else {
                    false
                }
            }
            try FileManager.default.removeItem(atPath: tokens)
            try FileManager.default.moveItem(atPath: tokens + ".away", toPath: tokens)
            try await host.serving()
        }
    }

    @Test func lostSessionsAndLoginAreRestoredUnderARequest() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
            // CKR_SESSION_HANDLE_INVALID, from every use of a session until the order is withdrawn.
            try endpoint.order("C_FindObjectsInit 0xB3")
            let failure = await host.failure(.scan(labelPrefix: ""))
            #expect(failure?.returnValue == 0xB3)
            try endpoint.order("")
            guard case .success(.objects(let objects)) = await host.call(.scan(labelPrefix: "CMS MK ")) else {
                Issue.record("no scan after the sessions were lost")
                return
            }
            #expect(objects.count == 1)
        }
    }

    @Test func keysHiddenByALostLoginAreNotTakenForMissing() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
            // The login is lost in the middle of every scan, until the order is withdrawn.
            try endpoint.order("C_FindObjectsInit logout")
            #expect(await host.failure(.scan(labelPrefix: ""))?.kind == .notLoggedIn)
            try endpoint.order("")
            guard case .success(.objects(let objects)) = await host.call(.scan(labelPrefix: "CMS MK ")) else {
                Issue.record("no scan after the login was lost")
                return
            }
            #expect(objects.count == 1)
        }
    }
}
