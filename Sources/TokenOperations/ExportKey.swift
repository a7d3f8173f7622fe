// The source's side of a replication. A fresh AES-256 key wraps the master (RFC 3394), and the destination's RSA key
// wraps that one (RSA-OAEP, RFC 8017 §7.1): two steps because a token need not offer both in one
// (CKM_RSA_AES_KEY_WRAP). Both helpers are session objects and are destroyed before the answer leaves.
//
// OAEP uses SHA-1, which is all that SoftHSM has. That is no weakness: OAEP does not rest on collision resistance,
// and the source can't know what the destination's token offers.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// The key `identity`, wrapped for the owner of `destination`.
    func exportKey(identity: [UInt8], for destination: TransportPublicKey) throws -> WrappedKey {
        let key = try existingKey(identity: identity)
        guard try session.attribute(.extractable, of: key) == true else {
            throw EndpointFailure(
                .keyNotExtractable,
                detail:
                    "export: the key \(Hex.encode(identity)) may not leave this token; replicate it from an "
                    + "endpoint where it is extractable")
        }
        let wrappingKey = try session.generateKey(.aesKeyGeneration, template: WrappingKeyTemplate.source)
        return try withTemporary(wrappingKey) { wrappingKey in
            let encryptedKey = try session.wrapKey(key, under: wrappingKey, using: .aesKeyWrap)
            let publicKey = try session.createObject(WrappingKeyTemplate.publicKey(destination))
            let encryptedWrappingKey = try withTemporary(publicKey) {
                try session.wrapKey(wrappingKey, under: $0, using: .rsaOAEP(hash: .sha1))
            }
            return WrappedKey(
                encryptedWrappingKey: encryptedWrappingKey, encryptedKey: encryptedKey, usesSHA256: false)
        }
    }
}

/// The helpers of a replication; all of them session objects.
enum WrappingKeyTemplate {
    /// The one-time key at the source: it must be extractable, since it travels wrapped.
    static let source = oneTime {
        $0[.valueLength] = UInt(KeyAlgorithm.aes256.keyBytes)
        $0[.extractable] = true
        $0[.wrap] = true
        $0[.unwrap] = false
    }

    /// The one-time key at the destination.
    static let destination = oneTime {
        $0[.extractable] = false
        $0[.wrap] = false
        $0[.unwrap] = true
    }

    /// The destination's transport key at the source.
    static func publicKey(_ key: TransportPublicKey) -> Template {
        Template {
            $0[.objectClass] = .publicKey
            $0[.keyType] = .rsa
            $0[.token] = false
            $0[.modulus] = Array(key.modulus.drop { $0 == 0 })
            $0[.publicExponent] = Array(key.publicExponent.drop { $0 == 0 })
            $0[.wrap] = true
            $0[.encrypt] = false
            $0[.verify] = false
        }
    }

    private static func oneTime(_ change: (inout Template) -> Void) -> Template {
        var template = Template {
            $0[.objectClass] = .secretKey
            $0[.keyType] = .aes
            $0[.token] = false
            $0[.private] = true
            $0[.sensitive] = true
            $0[.encrypt] = false
            $0[.decrypt] = false
            $0[.sign] = false
            $0[.verify] = false
            $0[.derive] = false
        }
        change(&template)
        return template
    }
}
