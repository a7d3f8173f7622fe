// Proving which key an object is without giving it away. CKA_CHECK_VALUE is not used: it is optional, and SoftHSM
// leaves it empty on an unwrapped key. Instead the token computes
//   - the check value: the first three bytes of the encryption of a zero block (PKCS#11 v2.40 mechanisms, secret key objects);
//   - a probe: from the challenge the token derives a key that never leaves it, and encrypts a zero block with that.
// The derived key is an AES key also for a triple DES master: AES has no parity bits, so the answer can't depend on how a
// token sets them.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// The proof of the key `identity`. Several objects with that identity must all be the same key.
    func proof(identity: [UInt8], algorithm: KeyAlgorithm, challenge: [UInt8]) throws -> KeyProof {
        let keys = try secretKeys(identity: identity)
        guard let first = keys.first else {
            throw EndpointFailure(
                .keyNotFound, detail: "no key on the token bears the identity \(Hex.encode(identity))")
        }
        for key in keys { try demand(key, is: algorithm, identity: identity) }
        let proof = try proof(of: first, algorithm, challenge: challenge)
        for key in keys.dropFirst() {
            guard try self.proof(of: key, algorithm, challenge: challenge) == proof else {
                throw EndpointFailure(
                    .keyMismatch, detail: "different keys bear the identity \(Hex.encode(identity))")
            }
        }
        return proof
    }

    /// The proof of one object.
    func proof(of key: ObjectHandle, _ algorithm: KeyAlgorithm, challenge: [UInt8]) throws -> KeyProof {
        let permissions = try session.attributes(
            of: key, [AttributeKey<Bool>.derive.type, AttributeKey<Bool>.encrypt.type])
        let mayDerive = permissions[.derive] == true
        let checkValue =
            permissions[.encrypt] == true
            ? try checkValueByEncryption(key, algorithm) : try checkValueByDerivation(key, algorithm)
        let probe =
            mayDerive
            ? try probeByDerivation(key, algorithm, challenge)
            : try probeByEncryption(key, algorithm, challenge)
        return KeyProof(keyCheckValue: Hex.encode(checkValue).uppercased(), probe: Hex.encode(probe))
    }

    private func checkValueByEncryption(_ key: ObjectHandle, _ algorithm: KeyAlgorithm) throws -> [UInt8] {
        let zeros = [UInt8](repeating: 0, count: algorithm.blockBytes)
        // The whole block is what CMAC starts from, so only three bytes of it stay.
        var block = try session.encrypt(zeros, with: key, using: algorithm.codebook)
        defer { block.wipe() }
        return Array(block.prefix(Self.checkValueBytes))
    }

    /// For a key that may only derive. The three bytes are derived as a secret of that length; a token that
    /// refuses so short a one derives a whole AES block.
    private func checkValueByDerivation(_ key: ObjectHandle, _ algorithm: KeyAlgorithm) throws -> [UInt8] {
        do {
            return try checkValue(key, algorithm, derivedAs: .genericSecret, bytes: Self.checkValueBytes)
        } catch let error as PKCS11Error where error.function == .deriveKey && Self.isAboutTheForm(error) {
            return try checkValue(key, algorithm, derivedAs: .aes, bytes: KeyAlgorithm.aes128.keyBytes)
        }
    }

    /// The leading bytes of the encryption of zeros, through a readable derived key of this type and length.
    func checkValue(
        _ key: ObjectHandle, _ algorithm: KeyAlgorithm, derivedAs type: KeyType, bytes: Int
    ) throws -> [UInt8] {
        let blocks = (bytes + algorithm.blockBytes - 1) / algorithm.blockBytes
        let zeros = [UInt8](repeating: 0, count: blocks * algorithm.blockBytes)
        let template = derivedTemplate(type, bytes: bytes) {
            $0[.sensitive] = false
            $0[.extractable] = true
        }
        let derived = try session.deriveKey(
            from: key, using: algorithm.derivation(data: zeros), template: template)
        return try withTemporary(derived) { derived in
            var value = try session.attribute(.value, of: derived) ?? []
            defer { value.wipe() }
            guard value.count == bytes else {
                throw EndpointFailure(
                    .keyMismatch, detail: "the token derived \(value.count) bytes, not \(bytes)")
            }
            return Array(value.prefix(Self.checkValueBytes))
        }
    }

    private func probeByDerivation(
        _ key: ObjectHandle, _ algorithm: KeyAlgorithm, _ challenge: [UInt8]
    ) throws -> [UInt8] {
        let probeKey: KeyAlgorithm = challenge.count >= KeyAlgorithm.aes256.keyBytes ? .aes256 : .aes128
        let template = derivedTemplate(.aes, bytes: probeKey.keyBytes) {
            $0[.sensitive] = true
            $0[.extractable] = false
            $0[.encrypt] = true
        }
        let derived = try session.deriveKey(
            from: key, using: algorithm.derivation(data: challenge), template: template)
        return try withTemporary(derived) {
            try session.encrypt([UInt8](repeating: 0, count: 16), with: $0, using: .aesECB)
        }
    }

    /// For a key that may not derive: with the same data, the token's own digest of the encryption.
    private func probeByEncryption(
        _ key: ObjectHandle, _ algorithm: KeyAlgorithm, _ challenge: [UInt8]
    ) throws -> [UInt8] {
        var block = try session.encrypt(challenge, with: key, using: algorithm.codebook)
        defer { block.wipe() }
        return Array(try session.digest(block, using: .digest(.sha256)).prefix(16))
    }

    private func derivedTemplate(
        _ type: KeyType, bytes: Int, _ change: (inout Template) -> Void
    ) -> Template {
        var template = Template {
            $0[.objectClass] = .secretKey
            $0[.keyType] = type
            $0[.valueLength] = UInt(bytes)
            $0[.token] = false
            $0[.private] = true
            $0[.encrypt] = false
            $0[.decrypt] = false
            $0[.sign] = false
            $0[.verify] = false
            $0[.derive] = false
            $0[.wrap] = false
            $0[.unwrap] = false
        }
        change(&template)
        return template
    }

    private static func isAboutTheForm(_ error: PKCS11Error) -> Bool {
        [
            .keySizeRange, .attributeValueInvalid, .attributeTypeInvalid, .templateInconsistent,
            .templateIncomplete, .dataLengthRange, .argumentsBad,
        ].contains(error.returnValue)
    }

    private static var checkValueBytes: Int { 3 }
}
