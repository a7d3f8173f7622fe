// Signing, encrypting, digesting and deriving: lengths by two calls, pieces, what ends an operation and what does not.

import CCryptoki
import OperationWire
import Testing

@testable import PKCS11Provider

extension ProviderTests {
    @Suite(.serialized) struct Operations {
        @Test func aLengthQueryAndAShortBufferDoNotSignTwice() throws {
            let application = try Application()
            func requests() -> Int {
                application.network.hosts.reduce(0) { $0 + $1.state.withLock { $0.requests } }
            }
            #expect(application.signInit() == CKR_OK)
            let before = requests()
            var data: [UInt8] = [1, 2, 3]
            var length: CK_ULONG = 0
            #expect(cSign(application.session, &data, 3, nil, &length) == CKR_OK)
            #expect(length == 16)
            var signature = [UInt8](repeating: 0, count: 16)
            length = 15
            #expect(cSign(application.session, &data, 3, &signature, &length) == CKR_BUFFER_TOO_SMALL)
            #expect(length == 16)
            #expect(cSign(application.session, &data, 3, &signature, &length) == CKR_OK)
            #expect(requests() == before + 1)
            #expect(
                cSign(application.session, &data, 3, &signature, &length) == CKR_OPERATION_NOT_INITIALIZED)
            #expect(try application.mac([1, 2, 3]) == signature)
        }

        @Test func otherDataAfterALengthQueryIsSignedAnew() throws {
            let application = try Application()
            let wanted = try application.mac([9])
            #expect(application.signInit() == CKR_OK)
            var first: [UInt8] = [1]
            var second: [UInt8] = [9]
            var length: CK_ULONG = 0
            #expect(cSign(application.session, &first, 1, nil, &length) == CKR_OK)
            var signature = [UInt8](repeating: 0, count: 16)
            #expect(cSign(application.session, &second, 1, &signature, &length) == CKR_OK)
            #expect(signature == wanted)
        }

        @Test(arguments: [10, ProviderLimits.keptInputBytes - 1, ProviderLimits.keptInputBytes + 70_000])
        func piecesSignAsTheWhole(count: Int) throws {
            let application = try Application()
            let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let whole = try application.mac(data)
            #expect(application.signInit() == CKR_OK)
            var rest = data[...]
            while !rest.isEmpty {
                var piece = Array(rest.prefix(60_000))
                rest = rest.dropFirst(piece.count)
                #expect(cSignUpdate(application.session, &piece, CK_ULONG(piece.count)) == CKR_OK)
            }
            var some = data
            var signature = [UInt8](repeating: 0, count: 16)
            var length: CK_ULONG = 16
            #expect(cSign(application.session, &some, 1, &signature, &length) == CKR_OPERATION_ACTIVE)
            #expect(cSignFinal(application.session, nil, &length) == CKR_OK)
            #expect(cSignFinal(application.session, &signature, &length) == CKR_OK)
            #expect(signature == whole)
            #expect(cSignFinal(application.session, &signature, &length) == CKR_OPERATION_NOT_INITIALIZED)
            // And verify takes it in pieces as well.
            #expect(application.initialize(0x108A) { cVerifyInit(application.session, $0, 1) } == CKR_OK)
            for start in stride(from: 0, to: data.count, by: 100_000) {
                var piece = Array(data[start..<min(start + 100_000, data.count)])
                #expect(cVerifyUpdate(application.session, &piece, CK_ULONG(piece.count)) == CKR_OK)
            }
            #expect(cVerifyFinal(application.session, &signature, 16) == CKR_OK)
        }

        @Test func aWrongSignatureIsInvalidOnEveryEndpoint() throws {
            let application = try Application()
            var signature = try application.mac([5])
            signature[0] ^= 1
            var data: [UInt8] = [5]
            #expect(application.initialize(0x108A) { cVerifyInit(application.session, $0, 1) } == CKR_OK)
            #expect(cVerify(application.session, &data, 1, &signature, 16) == CKR_SIGNATURE_INVALID)
            #expect(cVerify(application.session, &data, 1, &signature, 16) == CKR_OPERATION_NOT_INITIALIZED)
        }

        @Test func dataLongerThanAMessageIsDigestedInPieces() throws {
            let application = try Application()
            func digest(_ data: [UInt8], pieces: Bool) throws -> [UInt8] {
                var data = data
                var output = [UInt8](repeating: 0, count: 32)
                var length: CK_ULONG = 32
                try application.check(application.initialize(0x250) { cDigestInit(application.session, $0) })
                if pieces {
                    var half = Array(data.prefix(data.count / 2))
                    var other = Array(data.dropFirst(half.count))
                    try application.check(cDigestUpdate(application.session, &half, CK_ULONG(half.count)))
                    try application.check(cDigestUpdate(application.session, &other, CK_ULONG(other.count)))
                    try application.check(cDigestFinal(application.session, &output, &length))
                } else {
                    try application.check(
                        cDigest(application.session, &data, CK_ULONG(data.count), &output, &length))
                }
                return output
            }
            let long = [UInt8](repeating: 0x61, count: OperationLimits.dataBytes + 5)
            #expect(try digest(long, pieces: false) == digest(long, pieces: true))
            // FIPS 180-4's example.
            #expect(try digest(Array("abc".utf8), pieces: false).prefix(4) == [0xBA, 0x78, 0x16, 0xBF])
        }

        @Test func encryptionInPiecesIsThatOfTheWholeAndComesBack() throws {
            let application = try Application()
            let iv = [UInt8](repeating: 3, count: 16)
            var plain = (0..<100).map { UInt8($0) }
            var whole = [UInt8](repeating: 0, count: 200)
            var length: CK_ULONG = 200
            #expect(application.initialize(0x1085, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            #expect(cEncrypt(application.session, &plain, 100, &whole, &length) == CKR_OK)
            whole = Array(whole.prefix(Int(length)))
            #expect(whole.count == 112)
            let pieces = try transform(application, iv, plain, cEncryptInit, cEncryptUpdate, cEncryptFinal)
            #expect(pieces == whole)
            let back = try transform(application, iv, whole, cDecryptInit, cDecryptUpdate, cDecryptFinal)
            #expect(back == plain)
        }

        @Test func aShortBufferInTheMiddleLosesNothing() throws {
            let application = try Application()
            let iv = [UInt8](repeating: 3, count: 16)
            var plain = [UInt8](repeating: 8, count: 32)
            var output = [UInt8](repeating: 0, count: 64)
            #expect(application.initialize(0x1082, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            var length: CK_ULONG = 0
            #expect(cEncryptUpdate(application.session, &plain, 32, nil, &length) == CKR_OK)
            #expect(length >= 32)
            length = 31
            #expect(cEncryptUpdate(application.session, &plain, 32, &output, &length) == CKR_BUFFER_TOO_SMALL)
            #expect(length == 32)
            #expect(cEncryptUpdate(application.session, &plain, 32, &output, &length) == CKR_OK)
            length = 64
            #expect(cEncryptFinal(application.session, &output, &length) == CKR_OK)
            #expect(length == 0)
        }

        @Test func initRefusesWhatCannotWork() throws {
            let application = try Application()
            #expect(application.signInit() == CKR_OK)
            #expect(application.signInit() == CKR_OPERATION_ACTIVE)
            #expect(cSignInit(application.session, nil, 1) == CKR_OPERATION_ACTIVE)
            #expect(cEncryptInit(application.session, nil, 1) == CKR_ARGUMENTS_BAD)
            func encrypt(_ type: CK_MECHANISM_TYPE, _ parameter: [UInt8] = [], key: CK_OBJECT_HANDLE = 1)
                -> CK_RV
            {
                application.initialize(type, parameter) { cEncryptInit(application.session, $0, key) }
            }
            #expect(encrypt(0x999) == CKR_MECHANISM_INVALID)
            #expect(encrypt(0x1081, key: 77) == CKR_KEY_HANDLE_INVALID)
            #expect(encrypt(0x1081, key: 2) == CKR_KEY_FUNCTION_NOT_PERMITTED)
            // A structure with pointers that is not known has no meaning in another process.
            #expect(encrypt(0x251, [1, 2, 3]) == CKR_MECHANISM_PARAM_INVALID)
            #expect(cFindObjects(application.session, nil, 1, nil) == CKR_ARGUMENTS_BAD)
            #expect(cFindObjectsFinal(application.session) == CKR_OPERATION_NOT_INITIALIZED)
            #expect(cSignInit(99, nil, 1) == CKR_SESSION_HANDLE_INVALID)
        }

        @Test func randomBytesComeInAnyNumber() throws {
            let application = try Application()
            var bytes = [UInt8](repeating: 0, count: OperationLimits.randomBytes + 100)
            #expect(cGenerateRandom(application.session, &bytes, CK_ULONG(bytes.count)) == CKR_OK)
            #expect(Set(bytes.suffix(100)).count > 20)
            #expect(cGenerateRandom(application.session, nil, 8) == CKR_ARGUMENTS_BAD)
            var seed: [UInt8] = [1]
            #expect(
                [CKR_OK, CKR_RANDOM_SEED_NOT_SUPPORTED].contains(cSeedRandom(application.session, &seed, 1)))
        }

        @Test func twoOperationsTakeTheSamePieces() throws {
            let application = try Application()
            let iv = [UInt8](repeating: 1, count: 16)
            var plain = [UInt8](repeating: 4, count: 48)
            var output = [UInt8](repeating: 0, count: 64)
            var digest = [UInt8](repeating: 0, count: 32)
            var length: CK_ULONG = 64
            #expect(
                cDigestEncryptUpdate(application.session, &plain, 48, &output, &length)
                    == CKR_OPERATION_NOT_INITIALIZED)
            #expect(application.initialize(0x1082, iv) { cEncryptInit(application.session, $0, 1) } == CKR_OK)
            #expect(application.initialize(0x250) { cDigestInit(application.session, $0) } == CKR_OK)
            length = 1
            #expect(
                cDigestEncryptUpdate(application.session, &plain, 48, &output, &length)
                    == CKR_BUFFER_TOO_SMALL)
            #expect(cDigestEncryptUpdate(application.session, &plain, 48, &output, &length) == CKR_OK)
            length = 32
            #expect(cDigestFinal(application.session, &digest, &length) == CKR_OK)
            var alone = [UInt8](repeating: 0, count: 32)
            length = 32
            #expect(application.initialize(0x250) { cDigestInit(application.session, $0) } == CKR_OK)
            #expect(cDigest(application.session, &plain, 48, &alone, &length) == CKR_OK)
            #expect(alone == digest)
        }

        private typealias Init = (CK_SESSION_HANDLE, MechanismPointer, CK_OBJECT_HANDLE) -> CK_RV
        private typealias Update = (CK_SESSION_HANDLE, BytePointer, CK_ULONG, BytePointer, LengthPointer) ->
            CK_RV
        private typealias Final = (CK_SESSION_HANDLE, BytePointer, LengthPointer) -> CK_RV

        private func transform(
            _ application: Application, _ iv: [UInt8], _ input: [UInt8], _ begin: Init, _ update: Update,
            _ final: Final
        ) throws -> [UInt8] {
            try application.check(application.initialize(0x1085, iv) { begin(application.session, $0, 1) })
            var result: [UInt8] = []
            var rest = input[...]
            while !rest.isEmpty {
                var piece = Array(rest.prefix(37))
                rest = rest.dropFirst(piece.count)
                var output = [UInt8](repeating: 0, count: 200)
                var length: CK_ULONG = 200
                try application.check(
                    update(application.session, &piece, CK_ULONG(piece.count), &output, &length))
                result += output.prefix(Int(length))
            }
            var output = [UInt8](repeating: 0, count: 64)
            var length: CK_ULONG = 64
            try application.check(final(application.session, &output, &length))
            return result + output.prefix(Int(length))
        }
    }
}
