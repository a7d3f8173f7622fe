// The configuration file, and the directory as it is found on disk.

import Foundation
import OperationWire
import Testing

@testable import PKCS11Provider

@Suite struct ConfigurationTests {
    @Test func settingsAreReadWithCommentsAndSpaces() throws {
        let read = try #require(
            ProviderConfiguration(
                text: """
                    # a comment
                    run-directory = /run/cms   # where
                    default-user=cms

                    deadline-milliseconds = 500
                    hedge-milliseconds = 20
                    """))
        #expect(read.runDirectory == "/run/cms")
        #expect(
            read.settings
                == LibrarySettings(
                    defaultUser: Array("cms".utf8), deadlineMilliseconds: 500, hedgeMilliseconds: 20))
        #expect(ProviderConfiguration(text: "")?.runDirectory == "/var/lib/hsmcluster/run")
    }

    @Test(arguments: [
        "run-directory", "run-directory =", "colour = red", "default-user = a\ndefault-user = b",
        "hedge-milliseconds = 0", "deadline-milliseconds = fast", "= x",
    ])
    func whatIsNoSettingIsRefused(text: String) {
        #expect(ProviderConfiguration(text: text) == nil)
    }

    /// A new directory is noticed by its pulse at once, and by its file within moments when there is no pulse.
    @Test(arguments: [true, false])
    func aNewDirectoryIsNoticed(hasPulse: Bool) async throws {
        let folder = NSTemporaryDirectory() + "/hsmcluster-directory-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func publish(_ epoch: UInt64) throws {
            let directory = Directory(
                epoch: epoch, clusterName: "cms", tokenLabel: "cms", tokenSerialNumber: "1", endpoints: [],
                mechanisms: [], keys: [])
            try Data(directory.encode()).write(to: URL(filePath: folder + "/directory"), options: .atomic)
            guard hasPulse else { return }
            var page = PulsePage.magic + [UInt8](repeating: 0, count: PulsePage.bytes - PulsePage.magic.count)
            page[PulsePage.epochOffset] = UInt8(epoch)
            let file = open(folder + "/pulse", O_WRONLY | O_CREAT, 0o644)
            defer { close(file) }
            #expect(pwrite(file, page, page.count, 0) == page.count)
        }
        try publish(1)
        let keeper = DirectoryKeeper(network: LocalNetwork(runDirectory: folder), settings: LibrarySettings())
        #expect(keeper.view()?.directory.epoch == 1)
        try publish(2)
        for _ in 0..<100 where keeper.view()?.directory.epoch != 2 {
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(keeper.view()?.directory.epoch == 2)
        // One that is damaged or gone leaves the last one in use.
        try Data([1, 2, 3]).write(to: URL(filePath: folder + "/directory"))
        try await Task.sleep(for: .milliseconds(250))
        #expect(keeper.view()?.directory.epoch == 2)
    }
}
