// The step that cannot be undone: asked about on a terminal, refused without one unless the caller says that
// it knows.

import Foundation
import ManagementFixture
import Testing

@Suite(.serialized) struct ConfirmationTests {
    @Test func withoutATerminalNothingIsGeneratedUnlessTheCallerInsists() async throws {
        let cluster = ScriptedCluster()
        try await CommandLine.with(cluster) { line in
            let refused = try await line.run("masterkey", "generate", "--algorithm", "aes256")
            #expect(refused.status == 64)
            #expect(refused.standardError.contains("--yes"))
            #expect(await cluster.calls == 0)
            let made = try await line.run("masterkey", "generate", "--algorithm", "aes256", "--yes")
            #expect(made.status == 0)
            #expect(made.standardOutput.contains("Generated CMS MK 4099 *: AES256, KCV 66E94B"))
        }
    }

    @Test(arguments: [("y\n", true), ("yes\n", true), ("n\n", false), ("\n", false), ("yess\n", false)])
    func onATerminalThePersonDecides(answer: String, generates: Bool) async throws {
        let cluster = ScriptedCluster()
        try await CommandLine.with(cluster) { line in
            let result = try await line.runOnTerminal(
                typing: answer, "masterkey", "generate", "--algorithm", "aes256")
            #expect(result.standardOutput.contains("cannot be rolled back"), "\(result)")
            #expect(result.standardOutput.contains("Generated CMS MK 4099") == generates)
            #expect(result.standardOutput.contains("Nothing was done") == !generates)
            #expect(result.status == (generates ? 0 : 1))
            #expect(await cluster.calls == (generates ? 1 : 0))
        }
    }

    @Test func withdrawnAlgorithmsAreWarnedAboutOnStandardError() async throws {
        try await CommandLine.with(ScriptedCluster()) { line in
            let old = try await line.run("masterkey", "generate", "--algorithm", "DES-EDE3", "--yes")
            #expect(old.status == 0)
            #expect(old.standardError.contains("warning: DES-EDE3 (triple DES) has been withdrawn by NIST"))
            #expect(!old.standardOutput.contains("NIST"))
            let new = try await line.run("masterkey", "generate", "--algorithm", "aes128", "--yes")
            #expect(!new.standardError.contains("NIST"))
        }
    }

    @Test func theRequestIDIsShownOnlyWhenItWasMade() async throws {
        let id = "8e03978e-40d5-43e8-bc93-6894a57f9324"
        try await CommandLine.with(ScriptedCluster()) { line in
            let made = try await line.run("masterkey", "generate", "--algorithm", "aes256", "--yes")
            #expect(made.standardError.hasPrefix("request id: "))
            let given = try await line.run(
                "masterkey", "generate", "--algorithm", "aes256", "--yes", "--request-id", id)
            #expect(given.standardError.isEmpty)
        }
    }

    @Test func waitingIsShownOnATerminalOnly() async throws {
        try await CommandLine.with(ScriptedCluster()) { line in
            let terminal = try await line.runOnTerminal(
                typing: "", "masterkey", "generate", "--algorithm", "aes256", "--yes")
            #expect(terminal.status == 0)
            #expect(terminal.standardOutput.contains("\r\u{1B}[K"))
            let script = try await line.run("masterkey", "generate", "--algorithm", "aes256", "--yes")
            #expect(!script.standardError.contains("\u{1B}"))
        }
    }
}
