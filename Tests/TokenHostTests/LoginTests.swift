import ClusterModel
import Foundation
import Testing
import TokenHostLink

// A wrong PIN reaches the token once, whoever asks and however often anything restarts. Counted at the module.

@Suite struct LoginTests {
    @Test func wrongPINIsSentExactlyOnceAcrossRestarts() async throws {
        let endpoint = try TestEndpoint(pin: "wrong-4711")
        try await endpoint.supervise { host in
            #expect(try await host.serving() == .untried)
            for _ in 0..<3 { #expect(await host.failure(.logIn)?.kind == .credentialRejected) }
            try await host.pin(.rejected)
            kill(try host.process(), SIGKILL)
            try await eventually("the loss is noticed") { host.failures.contains("signal 9") }
            #expect(try await host.serving() == .rejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        try await endpoint.supervise { host in
            let state = try await host.serving()
            #expect(state == .rejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        #expect(endpoint.count(of: "C_Login") == 1)
    }

    @Test func correctedPINIsTriedAndTheOldOneStaysRejected() async throws {
        let endpoint = try TestEndpoint(pin: "wrong-4711")
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            try endpoint.writePIN(TestEndpoint.goodPIN)
            #expect(await host.call(.logIn) == .success(.done))
            try await host.pin(.accepted)
            #expect(endpoint.count(of: "C_Login") == 2)
        }
        try endpoint.writePIN("wrong-4711")
        try await endpoint.supervise { host in
            #expect(try await host.serving() == .untried)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            try await host.pin(.rejected)
        }
        #expect(endpoint.count(of: "C_Login") == 2)
    }

    @Test func operatorMayAllowOneMoreTry() async throws {
        let endpoint = try TestEndpoint(pin: "wrong-4711")
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            #expect(await host.call(.forgetRejectedPIN) == .success(.done))
            try await host.pin(.untried)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        #expect(endpoint.count(of: "C_Login") == 2)
    }

    @Test func loginThatNeverEndedCountsAsRejected() async throws {
        let endpoint = try TestEndpoint()
        try endpoint.order("C_Login crash")
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .tokenHostLost)
            try endpoint.order("")
            #expect(try await host.serving() == .rejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            #expect(endpoint.count(of: "C_Login") == 1)
            #expect(await host.call(.forgetRejectedPIN) == .success(.done))
            #expect(await host.call(.logIn) == .success(.done))
        }
    }

    @Test func acceptedPINSurvivesAFewInterruptedLogins() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.call(.logIn) == .success(.done))
        }
        try endpoint.order("C_Login crash")
        try await endpoint.supervise { host in
            for _ in 0..<3 {
                #expect(try await host.serving() == .accepted)
                let process = try host.process()
                #expect(await host.failure(.logIn)?.kind == .tokenHostLost)
                try await host.replacement(of: process)
            }
            #expect(try await host.serving() == .rejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        #expect(endpoint.count(of: "C_Login") == 4)
    }

    @Test func troubleWithTheDeviceSaysNothingAboutThePIN() async throws {
        let endpoint = try TestEndpoint()
        try endpoint.order("C_Login 0x30")
        try await endpoint.supervise { host in
            try await host.serving()
            // The process ends right after its answer, so its end may be noticed first.
            let failure = try #require(await host.failure(.logIn))
            #expect(failure.returnValue == 0x30 || failure.kind == .tokenHostLost)
            try endpoint.order("")
            // A fresh process takes over, since some modules stay broken until they are unloaded.
            try await eventually("the login succeeds") { await host.call(.logIn) == .success(.done) }
            try await host.pin(.accepted)
        }
    }

    @Test(arguments: ["0xA4", "0xA3", "0xA2", "0x8000000B", "0x80000037"])
    func everyCredentialErrorIsARejection(value: String) async throws {
        let endpoint = try TestEndpoint()
        try endpoint.order("C_Login \(value)")
        try await endpoint.supervise { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
            try await host.pin(.rejected)
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        #expect(endpoint.count(of: "C_Login") == 1)
    }

    @Test func unusablePINFilesAreNamedWithoutTryingAnything() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: endpoint.pinPath)
            let open = await host.failure(.logIn)
            #expect(open?.kind == .pinUnavailable)
            #expect(open?.detail.contains("chmod 600") == true)
            try endpoint.writePIN("")
            #expect(await host.failure(.logIn)?.kind == .pinUnavailable)
            try FileManager.default.removeItem(atPath: endpoint.pinPath)
            #expect(await host.failure(.logIn)?.detail.contains(endpoint.pinPath) == true)
            try endpoint.writePIN(TestEndpoint.goodPIN)
            #expect(await host.call(.logIn) == .success(.done))
        }
        #expect(endpoint.count(of: "C_Login") == 1)
    }

    @Test func unwritableRecordForbidsTheAttempt() async throws {
        let endpoint = try TestEndpoint()
        var configuration = try endpoint.configuration()
        configuration.credentialRecordPath = endpoint.folder + "/missing/record"
        try await endpoint.supervise(configuration) { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .pinUnavailable)
        }
        #expect(endpoint.count(of: "C_Login") == 0)
    }

    @Test func pinIsReadFromTheEnvironmentAndACorrectedOneReachesANewProcess() async throws {
        let endpoint = try TestEndpoint()
        let name = "HSMCLUSTER_TEST_PIN_\(getpid())"
        setenv(name, "wrong-4711", 1)
        let configuration = try endpoint.configuration(pinSource: .environment(name: name))
        try await endpoint.supervise(configuration, killHost: false) { host in
            try await host.serving()
            #expect(await host.failure(.logIn)?.kind == .credentialRejected)
        }
        setenv(name, TestEndpoint.goodPIN, 1)
        try await endpoint.supervise(configuration) { host in
            try await host.pin(.untried)
            #expect(await host.call(.logIn) == .success(.done))
        }
        unsetenv(name)
    }

    @Test func neitherLogNorRecordNorArgumentsHoldThePIN() async throws {
        let endpoint = try TestEndpoint(pin: "wrong-4711")
        try await endpoint.supervise { host in
            try await host.serving()
            _ = await host.failure(.logIn)
            let arguments = try Data(contentsOf: URL(fileURLWithPath: "/proc/\(host.process())/cmdline"))
            #expect(arguments.range(of: Data("wrong-4711".utf8)) == nil)
        }
        for file in [endpoint.logPath, endpoint.recordPath, endpoint.folder + "/hsm-a.conf"] {
            let content = try Data(contentsOf: URL(fileURLWithPath: file))
            #expect(content.range(of: Data("wrong-4711".utf8)) == nil, "\(file) holds the PIN")
            let attributes = try FileManager.default.attributesOfItem(atPath: file)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(file) is open to others")
        }
    }
}
