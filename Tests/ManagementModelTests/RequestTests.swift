// Requests come from outside: what is not understood is refused by name, and nothing is ignored in silence.

import ClusterModel
import Foundation
import ManagementModel
import Testing

@Suite struct RequestTests {
    private func refusal<Value: Decodable>(_ type: Value.Type, _ json: String) -> ManagementError? {
        do {
            _ = try JSONDecoder().decode(type, from: Data(json.utf8))
            return nil
        } catch {
            return error as? ManagementError
        }
    }

    @Test(arguments: ["aes256", "AES256", "Aes256"])
    func algorithmIsReadInEitherCase(name: String) throws {
        let json = Data(#"{"algorithm":"\#(name)"}"#.utf8)
        #expect(
            try JSONDecoder().decode(GenerateMasterKey.self, from: json)
                == GenerateMasterKey(algorithm: .aes256))
    }

    @Test(arguments: ["aes512", "", "rsa", "aes-256", String(repeating: "a", count: 5_000)])
    func unknownAlgorithmIsRefusedWithTheKnownOnes(name: String) {
        let error = refusal(GenerateMasterKey.self, #"{"algorithm":"\#(name)"}"#)
        #expect(error?.code == .unknownAlgorithm)
        #expect(error?.whatToDo.contains("des-ede3") == true)
        #expect((error?.detail.utf8.count ?? 999) < 200)
    }

    @Test func unknownMemberIsRefusedByName() {
        let error = refusal(GenerateMasterKey.self, #"{"algorithm":"aes256","coment":"x"}"#)
        #expect(error?.code == .invalidRequest)
        #expect(error?.detail.contains("'coment'") == true)
        #expect(error?.whatToDo == "Remove it; known are algorithm, comment.")
    }

    @Test func hostileMemberNamesAreMadeHarmless() {
        let error = refusal(CreateKeyStore.self, "{\"\\u001b[2J\(String(repeating: "x", count: 900))\":1}")
        #expect(error?.detail.unicodeScalars.contains { $0.isControl } == false)
        #expect((error?.detail.utf8.count ?? 9_999) < 200)
    }

    @Test(arguments: ["", " a", "a ", "a/b", "ä", "a\u{1B}", String(repeating: "a", count: 65)])
    func keyStoreNamesOutsideTheRulesAreRefused(name: String) {
        #expect(throws: ManagementError.self) { try CreateKeyStore(name: name).validate() }
    }

    @Test func keyStoreNamesWithInnerSpacesAreFine() throws {
        try CreateKeyStore(name: "HSM Keystore-1.0_x", minimumReplicas: 32).validate()
    }

    @Test(arguments: [0, -1, 33, Int.max])
    func replicaNumbersOutOfBoundsAreRefused(number: Int) {
        #expect(
            refusal(CreateKeyStore.self, #"{"name":"a","minimumReplicas":\#(number)}"#)?.code
                == .invalidRequest)
    }

    @Test func commentsAreBoundedAndOnOneLine() throws {
        try GenerateMasterKey(algorithm: .aes128, comment: "Erste Schlüssel, 2026").validate()
        for comment in [String(repeating: "ä", count: 129), "a\nb", "a\u{202E}b"] {
            #expect(throws: ManagementError.self) {
                try GenerateMasterKey(algorithm: .aes128, comment: comment).validate()
            }
        }
    }
}

@Suite struct ManagementErrorTests {
    @Test func everyCodeHasATitleAndAdviceAndAnErrorStatus() {
        for code in ManagementError.Code.all {
            let error = ManagementError(code, detail: "It happened.")
            #expect((400...599).contains(error.httpStatus))
            #expect(!error.title.isEmpty && !error.whatToDo.isEmpty)
            #expect(code == .internalError || error.title != "Internal error", "\(code) has no facts")
        }
    }

    @Test func codesAreDistinct() {
        #expect(Set(ManagementError.Code.all).count == ManagementError.Code.all.count)
    }

    @Test func anUnknownCodeOfANewerNodeIsKept() throws {
        let text =
            #"{"code":"moon-phase","title":"Wrong moon","status":418,"whatToDo":"Wait.","retryable":true}"#
        let error = try JSONDecoder().decode(ManagementError.self, from: Data(text.utf8))
        #expect(error.code.rawValue == "moon-phase")
        #expect(error.title == "Wrong moon" && error.httpStatus == 418 && error.retryable)
    }
}

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_572_669, "2026-11-25T02:11:09Z"), (253_402_300_799, "9999-12-31T23:59:59Z"),
            (Int64.max, "9999-12-31T23:59:59Z"), (Int64.min, "0000-01-01T00:00:00Z"),
        ] as [(Int64, String)])
    func knownSecondsHaveKnownTexts(seconds: Int64, text: String) {
        #expect(Timestamp.text(secondsSince1970: seconds) == text)
    }

    @Test func agreesWithFoundationOnManyDays() throws {
        let format = Date.ISO8601FormatStyle()
        for step in 0..<4_000 {
            let seconds = Int64(step) * 7_654_321 - 2_000_000_000
            let expected = Date(timeIntervalSince1970: Double(seconds)).formatted(format)
            #expect(Timestamp.text(secondsSince1970: seconds) == expected)
        }
    }
}

@Suite struct RequestIdentifierTests {
    @Test func requestIDsAreUUIDsOfVersionFourAndDiffer() {
        var generator = SeededGenerator(seed: 1)
        let ids = (0..<100).map { _ in RequestID.version4(using: &generator) }
        #expect(Set(ids).count == 100)
        for id in ids {
            #expect(id.bytes[6] >> 4 == 4)
            #expect(id.bytes[8] >> 6 == 0b10)
            #expect(UUID(uuidString: id.description) != nil)
        }
    }
}
