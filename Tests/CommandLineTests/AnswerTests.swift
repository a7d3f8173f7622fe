// What the commands print when all is well, as tables and as JSON.

import ClusterModel
import Foundation
import ManagementFixture
import ManagementModel
import Testing

@Suite(.serialized) struct AnswerTests {
    @Test func statusShowsNodesEndpointsAndTheActiveKey() async throws {
        try await CommandLine.with(ScriptedCluster()) { line in
            #expect(try await line.run("keystore", "add", "HSM Keystore").status == 0)
            #expect(try await line.run("masterkey", "generate", "--algorithm", "aes256", "--yes").status == 0)
            let result = try await line.run("status")
            #expect(result.status == 0 && result.standardError.isEmpty)
            #expect(
                result.standardOutput == """
                    Cluster local: quorum, leader node 2, term 7, commit index 42, applied 41

                    NODE         ROLE      MEMBER  STATE  TERM  MATCH  ADDRESS
                    1 (answers)  follower  -       alive  7     -      127.0.0.1:7101
                    2            leader    -       alive  7     42     127.0.0.1:7102

                    ENDPOINT  STATE             TOKEN  SERIAL NUMBER  OBSERVED BY            ERROR
                    hsm-a     in service        hsm-a  0001           1: in service, 0.3 ms  -
                    hsm-b     credential error  -      -              -                      \
                    the token rejected the PIN

                    KEY STORE       MINIMUM REPLICAS  MASTER KEYS
                    HSM Keystore *  2                 0

                    MASTER KEY     ALGORITHM  KCV     STATE   KEY STORE     CREATED               \
                    REPLICAS                                     COMMENT
                    CMS MK 4099 *  AES256     66E94B  active  HSM Keystore  2026-11-25T02:11:09Z  \
                    hsm-a, hsm-b (not verified: out of service)  -

                    warning: hsm-b needs an operator

                    """)
        }
    }

    @Test func optionsMayStandBeforeTheCommand() async throws {
        let cluster = ScriptedCluster()
        try await CommandLine.with(cluster) { line in
            let keys = try await line.run("--output", "json", "--timeout=20s", "masterkey", "list")
            #expect(keys.status == 0)
            #expect(try keys.decoded([MasterKeyStatus].self).isEmpty)
            #expect(try await line.run("--output").status == 64)
        }
    }

    @Test func jsonOutputIsExactlyTheAPIsAnswer() async throws {
        let cluster = ScriptedCluster()
        try await CommandLine.with(cluster) { line in
            let generated = try await line.run(
                "masterkey", "generate", "--algorithm", "des-ede3", "--yes", "--comment", "zweiter",
                "--output", "json")
            let key = try generated.decoded(MasterKeyStatus.self)
            #expect(key.comment == "zweiter" && key.algorithm == "DES-EDE3")
            let status = try await line.run("status", "--output", "json")
            #expect(try status.decoded(ClusterStatus.self) == (await cluster.status()))
            #expect(status.standardOutput.hasPrefix("{\n"))
            let keys = try await line.run("masterkey", "list", "--output", "json")
            #expect(try keys.decoded([MasterKeyStatus].self) == [key])
            let endpoints = try await line.run("endpoints", "list", "--output=json")
            #expect(try endpoints.decoded([EndpointStatus].self).count == 2)
            let stores = try await line.run("keystore", "list", "--output", "json")
            #expect(try stores.decoded([KeyStoreStatus].self).isEmpty)
            let retried = try await line.run("endpoints", "retry-login", "hsm-b", "--output", "json")
            #expect(try retried.decoded(EndpointStatus.self).name == EndpointName("hsm-b"))
        }
    }

    @Test func textsFromElsewhereCannotDriveTheTerminal() async throws {
        let cluster = ScriptedCluster()
        await cluster.setTokenLabel("evil\u{1B}[2J\u{202E}\nlabel")
        try await CommandLine.with(cluster) { line in
            let result = try await line.run("endpoints", "list")
            #expect(result.standardOutput.contains("evil?[2J??label"))
            #expect(!result.standardOutput.contains("\u{1B}"))
        }
    }

    @Test func aNodeOfAnotherClusterIsWarnedAbout() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let line = try CommandLine(nodes: [server.url], certificates.client, cluster: "production")
            defer { line.remove() }
            let result = try await line.run("status")
            #expect(result.status == 0)
            #expect(result.standardError.contains("belongs to cluster 'local', not 'production'"))
        }
    }

    @Test func optionsReplaceTheConfiguration() async throws {
        try await RunningServer.with(ScriptedCluster()) { server, certificates in
            let line = try CommandLine(nodes: ["https://127.0.0.1:1"], certificates.strangerClient)
            defer { line.remove() }
            let files = certificates.client
            let with = try await line.run(
                "status", "--node", "https://127.0.0.1:2", "--node", server.url, "--ca", files.authority,
                "--cert",
                files.certificate, "--key", files.key, environment: ["HOME": "/nonexistent"])
            #expect(with.status == 0, "\(with.standardError)")
            let mixed = try await line.run(
                "status", "--node", server.url, "--ca", files.authority, "--cert", files.certificate, "--key",
                files.key, "--config", line.folder + "/client.yaml")
            #expect(mixed.status == 0)
        }
    }

    @Test(arguments: [
        ["--help"], ["status", "--help"], ["endpoints", "--help"], ["endpoints", "list", "--help"],
        ["endpoints", "retry-login", "--help"], ["keystore", "add", "--help"],
        ["keystore", "list", "--help"],
        ["masterkey", "generate", "--help"], ["masterkey", "list", "--help"], ["completion", "--help"],
    ])
    func helpNeedsNoClusterAndShowsExamples(arguments: [String]) async throws {
        let result = try await Command.run(CommandLine.program, arguments, environment: [:])
        #expect(result.status == 0)
        #expect(result.standardOutput.contains("USAGE: hsmcluster"))
        if arguments != ["endpoints", "--help"] { #expect(result.standardOutput.contains("Example")) }
    }

    @Test func theMainHelpDocumentsTheExitStatuses() async throws {
        let result = try await Command.run(CommandLine.program, ["--help"], environment: [:])
        for status in ["0 ", "1 ", "2 ", "3 ", "4 ", "64 ", "77 "] {
            #expect(result.standardOutput.contains("\n  \(status)"))
        }
    }

    @Test func versionAndCompletionsArePrinted() async throws {
        let version = try await Command.run(CommandLine.program, ["--version"], environment: [:])
        #expect(version.standardOutput == "hsmcluster \(SoftwareVersion.current)\n")
        for shell in ["bash", "zsh", "fish"] {
            let script = try await Command.run(CommandLine.program, ["completion", shell], environment: [:])
            #expect(script.status == 0)
            #expect(script.standardOutput.contains("masterkey"))
        }
        let bash = try await Command.run(
            "/bin/bash", ["-c", "bash -n <('\(CommandLine.program)' completion bash)"],
            environment: ["PATH": "/usr/bin:/bin"])
        #expect(bash.status == 0, "\(bash.standardError)")
    }
}
