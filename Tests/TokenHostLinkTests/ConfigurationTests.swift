import ClusterModel
import Foundation
import Testing
import TokenHostLink

// The configuration file is the only thing that a token host is told; it must survive unchanged, be readable
// by nobody else, and its digest must tell two configurations apart.

private func example(in folder: String) -> TokenHostConfiguration {
    TokenHostConfiguration(
        endpoint: EndpointName("hsm-a"), modulePath: "/usr/lib/module.so", tokenURI: "pkcs11:token=hsm-a",
        pinSource: .file(path: "/secrets/hsm-a.pin"), environment: ["B": "2", "A": "1"],
        socketPath: folder + "/hsm-a.sock", credentialRecordPath: folder + "/hsm-a.record")
}

@Suite struct ConfigurationTests {
    @Test func configurationSurvivesItsFile() throws {
        let scratch = try Scratch()
        let file = scratch.path + "/hsm-a.conf"
        let written = example(in: scratch.path)
        try written.write(toFile: file)
        try written.write(toFile: file)
        #expect(try TokenHostConfiguration(readingFile: file) == written)
        #expect(written.environment.map(\.name) == ["A", "B"])
    }

    @Test func nobodyElseMayReadTheFile() throws {
        let scratch = try Scratch()
        let file = scratch.path + "/hsm-a.conf"
        try example(in: scratch.path).write(toFile: file)
        let attributes = try FileManager.default.attributesOfItem(atPath: file)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test func digestTellsConfigurationsApart() throws {
        let one = example(in: "/run/a")
        var other = one
        #expect(try one.digest() == other.digest())
        other.environment[0].value = "2"
        #expect(try one.digest() != other.digest())
    }

    @Test func unusableFilesAreRefusedWithAReason() throws {
        let scratch = try Scratch()
        let file = scratch.path + "/conf"
        #expect(throws: TokenHostConfigurationError.self) { try TokenHostConfiguration(readingFile: file) }
        try Data([0xFF, 0x00]).write(to: URL(fileURLWithPath: file))
        #expect(throws: TokenHostConfigurationError.self) { try TokenHostConfiguration(readingFile: file) }
        try Data(count: TokenHostLimits.configurationBytes + 1).write(to: URL(fileURLWithPath: file))
        #expect(throws: TokenHostConfigurationError.self) { try TokenHostConfiguration(readingFile: file) }
        var relative = example(in: scratch.path)
        relative.modulePath = "module.so"
        try relative.write(toFile: file)
        #expect(throws: TokenHostConfigurationError.self) { try TokenHostConfiguration(readingFile: file) }
    }

    @Test func everyBoundHasAComplaint() {
        let good = example(in: "/run/a")
        #expect(good.complaint == nil)
        var bad = good
        bad.sessionThreads = 0
        #expect(bad.complaint != nil)
        bad = good
        bad.queueBound = TokenHostLimits.queueBound + 1
        #expect(bad.complaint != nil)
        bad = good
        bad.hangLimitMilliseconds = 0
        #expect(bad.complaint != nil)
        bad = good
        bad.environment = [EnvironmentVariable(name: "A=B", value: "")]
        #expect(bad.complaint != nil)
    }
}
