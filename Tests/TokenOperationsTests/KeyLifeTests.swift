// Making, finding, proving, restricting and destroying master keys on one token.

import ClusterModel
import PKCS11
import SoftHSMFixture
import Testing

@testable import TokenOperations

@Suite struct KeyLifeTests {
    @Test(arguments: KeyAlgorithm.allCases)
    func repeatedGenerateAdoptsTheFirstKey(algorithm: KeyAlgorithm) throws {
        let bench = try Bench()
        let key = specification(algorithm)
        #expect(try !bench.generate(key))
        let proof = try bench.proof(key)
        #expect(try bench.generate(key))
        #expect(try bench.proof(key) == proof)
        #expect(try bench.scan("CMS MK").count == 1)
    }

    @Test func generatedKeyHasExactlyThePermissionsAskedFor() throws {
        let bench = try Bench()
        let key = specification(.aes256, usage: [.derive, .mac], isExtractable: false)
        _ = try bench.generate(key)
        let found = try bench.observer.findObjects(matching: Template { $0[.id] = key.identity })
        let object = try #require(found.first)
        for allowed in [
            AttributeKey<Bool>.token, .private, .sensitive, .derive, .sign, .verify, .neverExtractable,
        ] {
            #expect(try bench.observer.attribute(allowed, of: object) == true)
        }
        for refused in [AttributeKey<Bool>.extractable, .encrypt, .decrypt, .wrap, .unwrap, .modifiable] {
            #expect(try bench.observer.attribute(refused, of: object) == false)
        }
    }

    @Test func generateNextToAKeyOfAnotherAlgorithmIsAMismatch() throws {
        let bench = try Bench()
        _ = try bench.generate(specification(.aes128))
        #expect(bench.failure(of: .generate(specification(.aes256)))?.kind == .keyMismatch)
        #expect(bench.failure(of: .generate(specification(.desEDE3)))?.kind == .keyMismatch)
    }

    @Test func keyThatIsNotSensitiveIsNotAdopted() throws {
        let bench = try Bench()
        let key = specification(.aes128)
        _ = try bench.plant([UInt8](repeating: 1, count: 16), .aes) {
            $0[.id] = key.identity
            $0[.label] = key.label
            $0[.sensitive] = false
        }
        #expect(bench.failure(of: .generate(key))?.kind == .keyMismatch)
    }

    @Test func severalObjectsOfOneIdentityAreNotAdopted() throws {
        let bench = try Bench()
        let key = specification(.aes128)
        for value in [UInt8(1), 1, 2] {
            _ = try bench.plant([UInt8](repeating: value, count: 16), .aes) {
                $0[.id] = key.identity
                $0[.label] = key.label
            }
        }
        #expect(bench.failure(of: .generate(key))?.kind == .keyMismatch)
        let verify = EndpointRequest.verify(
            identity: key.identity, algorithm: key.algorithm, challenge: Bench.challenge)
        #expect(bench.failure(of: verify)?.kind == .keyMismatch)
        #expect(try bench.destroy(key) == 3)
    }

    @Test func equalObjectsOfOneIdentityCountAsOneAndTheWrappableOneIsExported() throws {
        let bench = try Bench()
        let key = specification(.aes128)
        for isExtractable in [false, true, false] {
            _ = try bench.plant([UInt8](repeating: 7, count: 16), .aes) {
                $0[.id] = key.identity
                $0[.label] = key.label
                $0[.extractable] = isExtractable
            }
        }
        _ = try bench.proof(key)
        let found = try bench.endpoint.existingKey(identity: key.identity)
        #expect(try bench.endpoint.session.attribute(.extractable, of: found) == true)
    }

    @Test func checkValuesEqualPublishedOnes() throws {
        let bench = try Bench()
        let cases: [(KeyAlgorithm, [UInt8], String)] = [
            (.aes128, [UInt8](repeating: 0, count: 16), "66E94B"),
            (.aes256, [UInt8](repeating: 0, count: 32), "DC95C0"),
            (.desEDE3, Array(0x40...0x4F) + Array(0x40...0x47), "8BAF47"),
        ]
        for (number, (algorithm, value, expected)) in cases.enumerated() {
            for permission in [KeyUsage.derive, [.derive, .encrypt], .encrypt] {
                let key = specification(
                    algorithm, number: UInt8(10 * number + Int(permission.rawValue)), usage: permission)
                _ = try bench.plant(value, algorithm.keyType) {
                    $0[.id] = key.identity
                    $0[.derive] = permission.contains(.derive)
                    $0[.encrypt] = permission.contains(.encrypt)
                }
                #expect(try bench.proof(key).keyCheckValue == expected)
            }
        }
    }

    @Test func checkValueIsTheSameWhateverItIsDerivedAs() throws {
        let bench = try Bench()
        for (number, algorithm) in KeyAlgorithm.allCases.enumerated() {
            let key = specification(algorithm, number: UInt8(number))
            _ = try bench.generate(key)
            let object = try bench.endpoint.existingKey(identity: key.identity)
            let short = try bench.endpoint.checkValue(object, algorithm, derivedAs: .genericSecret, bytes: 3)
            let whole = try bench.endpoint.checkValue(object, algorithm, derivedAs: .aes, bytes: 16)
            #expect(short == whole)
            #expect(short.count == 3)
        }
    }

    @Test func probeIsTheEncryptionOfZerosUnderTheDerivedKey() throws {
        // AES-128, key 00…00: the key derived from 16 zero bytes is 66E94BD4EF8A2C3B884CFA59CA342B2E, and the
        // encryption of zeros under that is AB4B36BDC81D8BD2BCED4B05A708B422 (computed independently).
        let bench = try Bench()
        let key = specification(.aes128)
        _ = try bench.plant([UInt8](repeating: 0, count: 16), .aes) { $0[.id] = key.identity }
        let proof = try bench.proof(key, challenge: [UInt8](repeating: 0, count: 16))
        #expect(proof.probe == "ab4b36bdc81d8bd2bced4b05a708b422")
    }

    @Test func anotherChallengeGivesAnotherProbe() throws {
        let bench = try Bench()
        for (number, algorithm) in KeyAlgorithm.allCases.enumerated() {
            let key = specification(algorithm, number: UInt8(number))
            _ = try bench.generate(key)
            let proof = try bench.proof(key)
            for bytes in [16, 32, 48, 64] {
                let other = try bench.proof(key, challenge: [UInt8](repeating: 0xA5, count: bytes))
                #expect(other.probe != proof.probe)
                #expect(other.keyCheckValue == proof.keyCheckValue)
            }
        }
    }

    @Test func desKeysThatDifferInParityBitsOnlyProveTheSame() throws {
        // SoftHSM takes a key with wrong parity as it is; DES itself ignores the parity bits.
        let bench = try Bench()
        let value = (0..<24).map { UInt8($0) }
        let (first, second) = (specification(.desEDE3, number: 1), specification(.desEDE3, number: 2))
        _ = try bench.plant(value, .des3) { $0[.id] = first.identity }
        _ = try bench.plant(value.map { $0 ^ 1 }, .des3) { $0[.id] = second.identity }
        #expect(try bench.proof(first) == bench.proof(second))
    }

    @Test func verifyOfAnotherAlgorithmOrAnAbsentKeyIsNamed() throws {
        let bench = try Bench()
        _ = try bench.generate(specification(.aes128))
        let identity = specification(.aes128).identity
        let wrong = EndpointRequest.verify(identity: identity, algorithm: .aes256, challenge: Bench.challenge)
        #expect(bench.failure(of: wrong)?.kind == .keyMismatch)
        let absent = EndpointRequest.verify(identity: [9], algorithm: .aes128, challenge: Bench.challenge)
        #expect(bench.failure(of: absent)?.kind == .keyNotFound)
        #expect(bench.failure(of: .restrict(identity: [9]))?.kind == .keyNotFound)
        let export = EndpointRequest.exportKey(identity: [9], destination: try bench.transportKey())
        #expect(bench.failure(of: export)?.kind == .keyNotFound)
    }

    @Test func restrictedKeyIsUsableAndStaysWhereItIs() throws {
        let bench = try Bench()
        let key = specification(.aes256)
        _ = try bench.generate(key)
        let proof = try bench.proof(key)
        #expect(try bench.endpoint.perform(.restrict(identity: key.identity)) == .done)
        #expect(try bench.endpoint.perform(.restrict(identity: key.identity)) == .done)
        let export = EndpointRequest.exportKey(identity: key.identity, destination: try bench.transportKey())
        #expect(bench.failure(of: export)?.kind == .keyNotExtractable)
        #expect(try bench.proof(key) == proof)
        #expect(try bench.scan("CMS MK").first?.isExtractable == false)
    }

    @Test func adoptingANonExtractableKeyTakesExtractabilityAway() throws {
        let bench = try Bench()
        _ = try bench.generate(specification(.aes256, isExtractable: true))
        #expect(try bench.generate(specification(.aes256, isExtractable: false)))
        #expect(try bench.scan("CMS MK").first?.isExtractable == false)
    }

    @Test func foreignKeysAreListedAndUntouched() throws {
        let bench = try Bench()
        let foreign = try bench.plant([UInt8](repeating: 3, count: 24), .des3) {
            $0[.label] = "CMS MK 00"
            $0[.id] = [0]
        }
        _ = try bench.plant([UInt8](repeating: 4, count: 16), .genericSecret) { $0[.label] = "CMS MK 0A" }
        _ = try bench.plant([UInt8](repeating: 5, count: 16), .aes) { $0[.label] = "something else" }
        let key = specification(.aes256)
        _ = try bench.generate(key)
        let labels = try bench.scan("CMS MK").map(\.label).sorted()
        #expect(labels == ["CMS MK 00", "CMS MK 0A", "CMS MK 4099"])
        #expect(try bench.scan("CMS MK 0A").first?.algorithm == nil)
        #expect(try bench.scan("").count == 4)
        // The right identity with another label, and the right label with another identity, are other keys.
        var other = key
        other.label = "CMS MK 00"
        #expect(try bench.destroy(other) == 0)
        other = key
        other.identity = [0]
        #expect(try bench.destroy(other) == 0)
        #expect(try bench.destroy(key) == 1)
        #expect(try bench.destroy(key) == 0)
        #expect(try bench.observer.attribute(.label, of: foreign) == "CMS MK 00")
        #expect(try bench.scan("").count == 3)
    }
}
