// What a master key object is like on the token. Every permission is written down, also those it lacks: defaults
// differ between modules (SoftHSM permits encryption unless told otherwise).

import ClusterModel
import PKCS11

extension KeyAlgorithm {
    /// CKA_KEY_TYPE.
    var keyType: KeyType { self == .desEDE3 ? .des3 : .aes }

    /// What generates such a key.
    var generation: Mechanism { self == .desEDE3 ? .des3KeyGeneration : .aesKeyGeneration }

    /// The cipher on single blocks.
    var codebook: Mechanism { self == .desEDE3 ? .des3ECB : .aesECB }

    /// The cipher's block, in bytes.
    var blockBytes: Int { self == .desEDE3 ? 8 : 16 }

    /// Derivation of a key from the encryption of `data`.
    func derivation(data: [UInt8]) -> Mechanism {
        self == .desEDE3 ? .des3ECBEncryptData(data) : .aesECBEncryptData(data)
    }
}

extension KeySpecification {
    /// The object to be made. `isTokenObject` false makes the same key for this session only.
    func template(isTokenObject: Bool = true) -> Template {
        Template {
            $0[.objectClass] = .secretKey
            $0[.keyType] = algorithm.keyType
            $0[.token] = isTokenObject
            $0[.private] = true
            $0[.label] = label
            $0[.id] = identity
            $0[.sensitive] = true
            $0[.extractable] = isExtractable
            $0[.derive] = usage.contains(.derive)
            $0[.sign] = usage.contains(.mac)
            $0[.verify] = usage.contains(.mac)
            $0[.encrypt] = usage.contains(.encrypt)
            $0[.decrypt] = false
            $0[.wrap] = false
            $0[.unwrap] = false
            // CKA_EXTRACTABLE can be taken back later only on an object that may be modified at all. This comes last:
            // SoftHSM, unwrapping, refuses whatever follows a false CKA_MODIFIABLE.
            $0[.modifiable] = isExtractable
        }
    }
}
