import ClusterModel
import Foundation
import PKCS11
import Testing

@testable import TokenHost
@testable import TokenHostLink

// The rule about PINs without any token: what is on the disk when, and what is sent.

private final class Vault {
    let folder: String
    var sent: [String] = []

    init() throws {
        var template = Array((NSTemporaryDirectory() + "/hsmcluster-vault-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Missing(description: "no temporary folder") }
        folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var file: CredentialRecordFile { CredentialRecordFile(path: folder + "/record") }

    func keeper() -> CredentialKeeper {
        CredentialKeeper(
            source: .file(path: folder + "/pin"), recordPath: folder + "/record",
            log: HostLog(endpoint: "test"))
    }

    func write(_ pin: String) throws {
        try pin.write(toFile: folder + "/pin", atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder + "/pin")
    }

    /// Tries to log in to a token that answers with `outcome`; returns the failure.
    func logIn(
        _ keeper: inout CredentialKeeper, onlyAccepted: Bool = false, outcome: EndpointFailure? = nil
    ) -> EndpointFailure? {
        do throws(EndpointFailure) {
            try keeper.logIn(onlyAccepted: onlyAccepted) { pin throws(EndpointFailure) in
                sent.append(pin.withUnsafeBytes { String(decoding: $0, as: UTF8.self) })
                if let outcome { throw outcome }
            }
            return nil
        } catch {
            return error
        }
    }
}

private let wrong = EndpointFailure(.returnValue, function: "C_Login", returnValue: 0xA0, detail: "wrong")
private let broken = EndpointFailure(.returnValue, function: "C_Login", returnValue: 0x30, detail: "broken")

@Suite struct CredentialKeeperTests {
    @Test func attemptIsOnTheDiskBeforeTheTokenHearsOfIt() throws {
        let vault = try Vault()
        try vault.write("1234")
        var keeper = vault.keeper()
        var during: CredentialRecord?
        try keeper.logIn(onlyAccepted: false) { _ throws(EndpointFailure) in during = try vault.file.load() }
        #expect(during?.attempting?.count == 1)
        let after = try vault.file.load()
        #expect(after.attempting == nil)
        #expect(after.accepted == during?.attempting?.hash)
        #expect(keeper.state() == .accepted)
    }

    @Test func rejectedPINIsNeverSentAgain() throws {
        let vault = try Vault()
        try vault.write("1234\n")
        var keeper = vault.keeper()
        #expect(vault.logIn(&keeper, outcome: wrong)?.kind == .credentialRejected)
        #expect(vault.logIn(&keeper)?.kind == .credentialRejected)
        var restarted = vault.keeper()
        #expect(restarted.state() == .rejected)
        #expect(vault.logIn(&restarted)?.kind == .credentialRejected)
        #expect(vault.sent == ["1234"])
    }

    @Test func goingBackToAnOlderWrongPINSendsNothing() throws {
        let vault = try Vault()
        var keeper = vault.keeper()
        for pin in ["1", "2", "1", "2"] {
            try vault.write(pin)
            #expect(vault.logIn(&keeper, outcome: wrong)?.kind == .credentialRejected)
        }
        #expect(vault.sent == ["1", "2"])
    }

    @Test func changedFileIsUntriedUntilItIsRead() throws {
        let vault = try Vault()
        try vault.write("1")
        var keeper = vault.keeper()
        #expect(keeper.state() == .untried)
        _ = vault.logIn(&keeper, outcome: wrong)
        #expect(keeper.state() == .rejected)
        try vault.write("2")
        #expect(keeper.state() == .untried)
    }

    @Test func lostLoginIsRestoredOnlyWithTheAcceptedPIN() throws {
        let vault = try Vault()
        try vault.write("1")
        var keeper = vault.keeper()
        #expect(vault.logIn(&keeper, onlyAccepted: true)?.kind == .notLoggedIn)
        #expect(vault.logIn(&keeper) == nil)
        #expect(vault.logIn(&keeper, onlyAccepted: true) == nil)
        try vault.write("2")
        #expect(vault.logIn(&keeper, onlyAccepted: true)?.kind == .notLoggedIn)
        #expect(vault.sent == ["1", "1"])
    }

    @Test func acceptedPINThatIsRejectedLaterIsNotSentAgain() throws {
        let vault = try Vault()
        try vault.write("1")
        var keeper = vault.keeper()
        #expect(vault.logIn(&keeper) == nil)
        #expect(vault.logIn(&keeper, onlyAccepted: true, outcome: wrong)?.kind == .credentialRejected)
        #expect(vault.logIn(&keeper, onlyAccepted: true)?.kind == .credentialRejected)
        #expect(vault.logIn(&keeper)?.kind == .credentialRejected)
        #expect(vault.sent == ["1", "1"])
    }

    @Test func deviceTroubleChangesNothing() throws {
        let vault = try Vault()
        try vault.write("1")
        var keeper = vault.keeper()
        for _ in 0..<5 { #expect(vault.logIn(&keeper, outcome: broken)?.returnValue == 0x30) }
        #expect(keeper.state() == .untried)
        #expect(vault.logIn(&keeper) == nil)
        for _ in 0..<5 { #expect(vault.logIn(&keeper, outcome: broken)?.returnValue == 0x30) }
        #expect(keeper.state() == .accepted)
    }

    @Test func unreadableRecordForbidsAttemptsUntilAnOperatorActs() throws {
        let vault = try Vault()
        try vault.write("1")
        try Data([0xFF]).write(to: URL(fileURLWithPath: vault.folder + "/record"))
        var keeper = vault.keeper()
        #expect(keeper.state() == .rejected)
        #expect(vault.logIn(&keeper)?.kind == .credentialRejected)
        #expect(vault.sent.isEmpty)
        try keeper.forget()
        #expect(vault.logIn(&keeper) == nil)
    }

    @Test func interruptedAttemptsCount() {
        var record = CredentialRecord()
        record.attempting = CredentialRecord.Attempt(hash: "a", count: 1)
        record.settleInterruption()
        #expect(record.rejected == ["a"])
        record.accept("b")
        for count in 1...CredentialRecord.interruptionBound {
            record.attempting = CredentialRecord.Attempt(hash: "b", count: count)
            record.settleInterruption()
            let isLast = count == CredentialRecord.interruptionBound
            #expect(record.rejected == (isLast ? ["a", "b"] : ["a"]))
        }
        #expect(record.accepted == nil)
    }

    @Test func rejectedPINsAreForgottenOldestFirst() {
        var record = CredentialRecord()
        for number in 0...CredentialRecord.rejectedBound { record.reject("\(number)") }
        #expect(record.rejected.count == CredentialRecord.rejectedBound)
        #expect(record.rejected.first == "1")
    }

    @Test func hashKnowsItsPINOnly() throws {
        let pin = try secret("1234")
        let made = PINHash.make(pin)
        let hash = try #require(made)
        #expect(hash.hasPrefix("$y$"))
        let isRecognized = PINHash.matches(pin, hash)
        #expect(isRecognized)
        let other = try secret("1235")
        let isOtherTaken = PINHash.matches(other, hash)
        #expect(!isOtherTaken)
        let isNonsenseTaken = PINHash.matches(pin, "nonsense")
        #expect(!isNonsenseTaken)
    }

    private func secret(_ text: String) throws -> SecretBytes {
        var bytes = Array(text.utf8)
        guard let secret = SecretBytes(moving: &bytes) else { throw Missing(description: "too long") }
        return secret
    }
}
