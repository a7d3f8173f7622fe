// PINs in memory, and what must never be printed.

import PKCS11
import Testing

@Suite struct SecretBytesTests {
    private func text(_ secret: borrowing SecretBytes) -> [UInt8] { secret.withUnsafeBytes { Array($0) } }

    @Test func movingEmptiesTheSource() {
        var bytes = Array("1234".utf8)
        guard let secret = SecretBytes(moving: &bytes) else {
            Issue.record("refused four bytes")
            return
        }
        #expect(bytes.isEmpty)
        #expect(text(secret) == Array("1234".utf8))
    }

    @Test func tooLongASecretIsRefusedAndStillErased() {
        var bytes = [UInt8](repeating: 7, count: Limits.secretBytes + 1)
        let isAccepted: Bool
        if SecretBytes(moving: &bytes) != nil { isAccepted = true } else { isAccepted = false }
        #expect(!isAccepted)
        #expect(bytes.isEmpty)
    }

    @Test func fillingTrustsNoCount() {
        let secret = SecretBytes(capacity: 4) { buffer in
            buffer.copyBytes(from: Array("abcd".utf8))
            return 99
        }
        #expect(text(secret) == Array("abcd".utf8))
        #expect(secret.count == 4)
        let empty = SecretBytes(capacity: 4) { _ in -1 }
        #expect(empty.count == 0)
        let bounded = SecretBytes(capacity: 1_000_000) { $0.count }
        #expect(bounded.count == Limits.secretBytes)
    }

    @Test func lineEndsAreRemovedAtTheEndOnly() {
        var bytes = Array("12\n34\r\n\n".utf8)
        guard var secret = SecretBytes(moving: &bytes) else { return }
        secret.removeTrailingNewlines()
        #expect(text(secret) == Array("12\n34".utf8))
    }

    @Test func copiesMatchAndDifferentSecretsDoNot() {
        var bytes = Array("1234".utf8)
        var others = Array("1235".utf8)
        var longer = Array("12345".utf8)
        guard let secret = SecretBytes(moving: &bytes), let other = SecretBytes(moving: &others),
            let long = SecretBytes(moving: &longer)
        else { return }
        let copy = secret.copy()
        let answers = [secret.matches(copy), secret.matches(other), secret.matches(long)]
        #expect(answers == [true, false, false])
    }

    @Test func templatesPrintNamesWithoutValues() {
        let template = Template {
            $0[.label] = "secret-label"
            $0[.value] = Array("key material".utf8)
        }
        var dumped = ""
        dump(template, to: &dumped)
        for text in [template.description, "\(template)", String(reflecting: template), dumped] {
            #expect(text.contains("CKA_VALUE"))
            #expect(!text.contains("secret-label"))
            #expect(!text.contains("107"))
        }
    }
}
