// The verbs against a real token: what goes in must come out, and published vectors must hold.

import PKCS11
import SoftHSMFixture
import Testing

@Suite struct OperationTests {
    private func secretKey(
        _ type: KeyType, value: [UInt8]? = nil, _ change: (inout Template) -> Void = { _ in }
    ) -> Template {
        Template {
            $0[.objectClass] = .secretKey
            $0[.keyType] = type
            $0[.token] = false
            $0[.sensitive] = false
            $0[.extractable] = true
            $0[.encrypt] = true
            $0[.decrypt] = true
            $0[.sign] = true
            $0[.verify] = true
            $0[.derive] = true
            $0[.wrap] = true
            $0[.unwrap] = true
            $0[.value] = value
            change(&$0)
        }
    }

    private func hex(_ text: String) throws -> [UInt8] {
        try stride(from: 0, to: text.utf8.count, by: 2).map { offset in
            let start = text.index(text.startIndex, offsetBy: offset)
            return try #require(UInt8(text[start..<text.index(start, offsetBy: 2)], radix: 16))
        }
    }

    @Test func generatedKeyIsFoundByItsIDAndGoneOnceDestroyed() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let template = Template {
            $0[.id] = [1, 2, 3]
            $0[.label] = "CMS MK 4099"
            $0[.token] = true
            $0[.sensitive] = true
            $0[.extractable] = false
            $0[.valueLength] = 32
            $0[.derive] = true
        }
        let key = try session.generateKey(.aesKeyGeneration, template: template)
        let found = try session.findObjects(matching: Template { $0[.id] = [1, 2, 3] })
        #expect(found == [key])
        let attributes = try session.attributes(
            of: key,
            [
                AttributeKey<String>.label.type, AttributeKey<KeyType>.keyType.type,
                AttributeKey<UInt>.valueLength.type,
                AttributeKey<[UInt8]>.value.type, AttributeKey<[UInt8]>.modulus.type,
                AttributeKey<Bool>.neverExtractable.type,
            ])
        #expect(attributes[.label] == "CMS MK 4099")
        #expect(attributes[.keyType] == .aes)
        #expect(attributes[.valueLength] == 32)
        #expect(attributes[.value] == nil, "the value is sensitive")
        #expect(attributes[.modulus] == nil, "a secret key has none")
        #expect(attributes[.neverExtractable] == true)
        try session.destroyObject(key)
        #expect(try session.findObjects(matching: Template { $0[.id] = [1, 2, 3] }) == [])
        do {
            try session.destroyObject(key)
            Issue.record("destroyed twice")
        } catch {
            #expect(error.returnValue == .objectHandleInvalid)
        }
    }

    @Test func searchStopsAtItsLimitAndLeavesTheSessionUsable() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        for number in 0..<5 {
            _ = try session.createObject(secretKey(.aes, value: [UInt8](repeating: UInt8(number), count: 16)))
        }
        #expect(try session.findObjects(matching: Template(), limit: 3).count == 3)
        #expect(try session.findObjects(matching: Template(), limit: 0).isEmpty)
        #expect(try session.findObjects(matching: Template()).count == 5)
    }

    @Test func aesKnownAnswers() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        // FIPS 197 appendix C.1.
        let key = try session.createObject(secretKey(.aes, value: hex("000102030405060708090a0b0c0d0e0f")))
        let plain = try hex("00112233445566778899aabbccddeeff")
        let cipher = try session.encrypt(plain, with: key, using: .aesECB)
        #expect(try cipher == hex("69c4e0d86a7b0430d8cdb78070b4c55a"))
        #expect(try session.decrypt(cipher, with: key, using: .aesECB) == plain)
        let vector = [UInt8](repeating: 9, count: 16)
        let chained = try session.encrypt(
            plain + plain, with: key, using: .aesCBC(initializationVector: vector))
        #expect(
            try session.decrypt(chained, with: key, using: .aesCBC(initializationVector: vector)) == plain
                + plain)
        // RFC 4493 §4, example 2.
        let macKey = try session.createObject(secretKey(.aes, value: hex("2b7e151628aed2a6abf7158809cf4f3c")))
        let message = try hex("6bc1bee22e409f96e93d7e117393172a")
        let mac = try session.sign(message, with: macKey, using: .aesCMAC)
        #expect(try mac == hex("070a16b46b4d4144f79bdd9dd04a287c"))
        #expect(try session.verify(mac, of: message, with: macKey, using: .aesCMAC))
        #expect(try !session.verify(mac.reversed(), of: message, with: macKey, using: .aesCMAC))
    }

    @Test func checkValuesOfKnownKeys() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let zeros = [UInt8](repeating: 0, count: 16)
        let aes = try session.createObject(secretKey(.aes, value: zeros))
        #expect(try session.encrypt(zeros, with: aes, using: .aesECB).prefix(3) == [0x66, 0xE9, 0x4B])
        let des = try session.createObject(
            secretKey(.des3, value: hex("404142434445464748494a4b4c4d4e4f4041424344454647")))
        #expect(
            try session.encrypt([UInt8](repeating: 0, count: 8), with: des, using: .des3ECB).prefix(3)
                == [0x8B, 0xAF, 0x47])
        #expect(try session.sign([1, 2, 3], with: des, using: .des3CMAC).count == 8)
    }

    @Test func derivationByEncryptionEqualsEncryption() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let base = try session.createObject(secretKey(.aes, value: [UInt8](repeating: 5, count: 32)))
        let data = (0..<32).map { UInt8($0) }
        let derived = try session.deriveKey(
            from: base, using: .aesECBEncryptData(data),
            template: secretKey(.aes) { $0[.valueLength] = 32 })
        #expect(
            try session.attribute(.value, of: derived) == session.encrypt(data, with: base, using: .aesECB))
        let desBase = try session.generateKey(.des3KeyGeneration, template: secretKey(.des3))
        let desDerived = try session.deriveKey(
            from: desBase, using: .des3ECBEncryptData([UInt8](repeating: 1, count: 24)),
            template: secretKey(.des3))
        #expect(try session.attribute(.value, of: desDerived)?.count == 24)
    }

    @Test func keyTravelsWrappedUnderAES() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        // RFC 3394 §4.6: 256 bits of key data under a 256-bit key.
        let wrapping = try session.createObject(
            secretKey(.aes, value: hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")))
        let key = try session.createObject(
            secretKey(.aes, value: hex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")))
        let wrapped = try session.wrapKey(key, under: wrapping, using: .aesKeyWrap)
        #expect(
            try wrapped
                == hex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"))
        let unwrapped = try session.unwrapKey(
            wrapped, with: wrapping, using: .aesKeyWrap,
            template: Template {
                $0[.objectClass] = .secretKey
                $0[.keyType] = .aes
                $0[.token] = false
                $0[.encrypt] = true
                $0[.sensitive] = true
                $0[.extractable] = false
            })
        let zeros = [UInt8](repeating: 0, count: 16)
        #expect(
            try session.encrypt(zeros, with: unwrapped, using: .aesECB)
                == session.encrypt(zeros, with: key, using: .aesECB))
        #expect(throws: PKCS11Error(.wrapKey, .keyUnextractable)) {
            try session.wrapKey(unwrapped, under: wrapping, using: .aesKeyWrap)
        }
        var damaged = wrapped
        damaged[5] ^= 1
        do {
            _ = try session.unwrapKey(
                damaged, with: wrapping, using: .aesKeyWrap,
                template: Template {
                    $0[.objectClass] = .secretKey
                    $0[.keyType] = .aes
                })
            Issue.record("unwrapped a damaged key")
        } catch {
            #expect(error.function == .unwrapKey)
        }
    }

    @Test func rsaSignsDecryptsAndUnwraps() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let pair = try session.generateKeyPair(
            .rsaKeyPairGeneration,
            publicTemplate: Template {
                $0[.modulusBits] = 2048
                $0[.publicExponent] = [1, 0, 1]
                $0[.verify] = true
                $0[.wrap] = true
                $0[.encrypt] = true
            },
            privateTemplate: Template {
                $0[.sign] = true
                $0[.unwrap] = true
                $0[.decrypt] = true
            })
        let modulus = try #require(try session.attribute(.modulus, of: pair.publicKey))
        #expect(modulus.count == 256)
        let signature = try session.sign([1, 2, 3], with: pair.privateKey, using: Mechanism(.sha256RSAPKCS))
        #expect(
            try session.verify(
                signature, of: [1, 2, 3], with: pair.publicKey, using: Mechanism(.sha256RSAPKCS)))
        #expect(
            try !session.verify(
                signature, of: [1, 2], with: pair.publicKey, using: Mechanism(.sha256RSAPKCS)))
        let digest = try session.digest([1, 2, 3], using: .digest(.sha256))
        let probabilistic = try session.sign(digest, with: pair.privateKey, using: .rsaPSS(hash: .sha256))
        #expect(
            try session.verify(probabilistic, of: digest, with: pair.publicKey, using: .rsaPSS(hash: .sha256))
        )
        let sealed = try session.encrypt([9, 9], with: pair.publicKey, using: .rsaOAEP(hash: .sha1))
        #expect(try session.decrypt(sealed, with: pair.privateKey, using: .rsaOAEP(hash: .sha1)) == [9, 9])
        let key = try session.createObject(secretKey(.aes, value: [UInt8](repeating: 8, count: 32)))
        let wrapped = try session.wrapKey(key, under: pair.publicKey, using: .rsaOAEP(hash: .sha1))
        #expect(wrapped.count == 256)
        let unwrapped = try session.unwrapKey(
            wrapped, with: pair.privateKey, using: .rsaOAEP(hash: .sha1), template: secretKey(.aes))
        #expect(try session.attribute(.value, of: unwrapped) == [UInt8](repeating: 8, count: 32))
    }

    @Test func ecdsaSignsOverP256() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let pair = try session.generateKeyPair(
            .ecKeyPairGeneration,
            publicTemplate: Template {
                // The object identifier of P-256, 1.2.840.10045.3.1.7, in DER.
                $0[.ecParameters] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]
                $0[.verify] = true
            }, privateTemplate: Template { $0[.sign] = true })
        let digest = try session.digest(Array("abc".utf8), using: .digest(.sha256))
        #expect(try digest == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        let signature = try session.sign(digest, with: pair.privateKey, using: .ecdsa)
        #expect(signature.count == 64)
        #expect(try session.verify(signature, of: digest, with: pair.publicKey, using: .ecdsa))
    }

    @Test func longOutputsAreFetchedInASecondTry() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let pair = try session.generateKeyPair(
            .rsaKeyPairGeneration,
            publicTemplate: Template {
                $0[.modulusBits] = 1024
                $0[.publicExponent] = [1, 0, 1]
            }, privateTemplate: Template { $0[.extractable] = true })
        let wrapping = try session.generateKey(
            .aesKeyGeneration, template: secretKey(.aes) { $0[.valueLength] = 32 })
        // A PKCS #8 private key of 1024 bits is longer than the 512 bytes that are offered first.
        let wrapped = try session.wrapKey(
            pair.privateKey, under: wrapping, using: Mechanism(MechanismType(0x210A)))
        #expect(wrapped.count > 512)
    }

    @Test func extractableOnlyEverTurnsFalse() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let key = try session.generateKey(
            .aesKeyGeneration,
            template: Template {
                $0[.valueLength] = 16
                $0[.token] = true
                $0[.extractable] = true
                $0[.sensitive] = true
            })
        try session.setAttributes(Template { $0[.extractable] = false }, of: key)
        #expect(try session.attribute(.extractable, of: key) == false)
        #expect(throws: PKCS11Error.self) {
            try session.setAttributes(Template { $0[.extractable] = true }, of: key)
        }
    }

    @Test func copyCarriesItsChanges() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        let key = try session.createObject(
            secretKey(.aes, value: [UInt8](repeating: 1, count: 16)) { $0[.label] = "original" })
        let copy = try session.copyObject(key, changing: Template { $0[.label] = "copy" })
        #expect(try session.attribute(.label, of: copy) == "copy")
        #expect(try session.attribute(.label, of: key) == "original")
    }

    @Test func randomBytesAreBounded() throws {
        var session = try SoftHSMFixture.shared().takeSession()
        #expect(try session.randomBytes(0).isEmpty)
        #expect(try session.randomBytes(32) != session.randomBytes(32))
        #expect(throws: PKCS11Error(.generateRandom, .argumentsBad)) {
            try session.randomBytes(Limits.randomBytes + 1)
        }
    }

    @Test func sessionObjectsEndWithTheirSession() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        var keeper = try token.openSession(readWrite: true)
        try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &keeper)
        do {
            // Not closed by hand: letting go of it closes it.
            var session = try token.openSession(readWrite: true)
            _ = try session.createObject(secretKey(.aes, value: [UInt8](repeating: 1, count: 16)))
            #expect(try keeper.findObjects(matching: Template()).count == 1)
        }
        #expect(try keeper.findObjects(matching: Template()).isEmpty)
    }

    @Test func sessionsWorkSideBySideInThreads() async throws {
        let token = try SoftHSMFixture.shared().takeToken()
        var keeper = try token.openSession(readWrite: true)
        try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &keeper)
        let created = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var session = try token.openSession(readWrite: true)
                    for _ in 0..<20 {
                        let key = try session.createObject(
                            Template {
                                $0[.objectClass] = .secretKey
                                $0[.keyType] = .aes
                                $0[.token] = false
                                $0[.value] = [UInt8](repeating: 3, count: 16)
                                $0[.encrypt] = true
                            })
                        _ = try session.encrypt([UInt8](repeating: 0, count: 16), with: key, using: .aesECB)
                        try session.destroyObject(key)
                    }
                    try session.close()
                    return 20
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(created == 80)
    }
}
