// Each endpoint has an RSA key pair of its own under which keys are sent to it. The private half can do one thing,
// unwrap: with CKA_DECRYPT as well, whoever may use the token could decrypt a one-time wrapping key, and with it a
// master key, into the clear.
//
// Several nodes may ask at the same time and each make a pair. So every pair has a CKA_ID of its own, the answer is
// always the pair with the smallest modulus, and an import tries all private halves.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// The label of both halves.
    static let transportLabel = "HSMCluster transport"

    /// The public half of the transport key, made on first use.
    func transportKey() throws -> TransportPublicKey {
        if let key = try publicHalves().first { return key }
        try generateTransportKey()
        guard let key = try publicHalves().first else {
            throw EndpointFailure(
                .keyNotFound, detail: "the token doesn't show the transport key that it just made")
        }
        return key
    }

    /// The private halves on the token.
    func privateTransportKeys() throws -> [ObjectHandle] {
        let template = Template {
            $0[.objectClass] = .privateKey
            $0[.keyType] = .rsa
            $0[.token] = true
            $0[.label] = Self.transportLabel
        }
        // A key of that label which can be taken out or decrypts is none of ours, whoever planted it there.
        return try session.findObjects(matching: template, limit: TransportKeyLimits.keysPerToken).filter {
            key in
            let attributes = try session.attributes(
                of: key,
                [
                    AttributeKey<Bool>.extractable.type, AttributeKey<Bool>.sensitive.type,
                    AttributeKey<Bool>.unwrap.type, AttributeKey<Bool>.decrypt.type,
                ])
            return attributes[.extractable] == false && attributes[.sensitive] == true
                && attributes[.unwrap] == true && attributes[.decrypt] == false
        }
    }

    // Read from the private objects: an RSA private key object shows modulus and exponent (PKCS#11 v2.40 mechanisms, §2.1.3), and only
    // a pair whose private half is here is of use.
    private func publicHalves() throws -> [TransportPublicKey] {
        try privateTransportKeys().compactMap { key -> TransportPublicKey? in
            let types = [
                AttributeKey<[UInt8]>.modulus.type, AttributeKey<[UInt8]>.publicExponent.type,
                AttributeKey<[UInt8]>.id.type,
            ]
            let attributes = try session.attributes(of: key, types)
            guard let modulus = attributes[.modulus], let identity = attributes[.id] else { return nil }
            let exponent = try attributes[.publicExponent] ?? publicExponent(identity: identity)
            return exponent.map { TransportPublicKey(modulus: modulus, publicExponent: $0) }
        }
        .sorted { $0.modulus.lexicographicallyPrecedes($1.modulus) }
    }

    private func publicExponent(identity: [UInt8]) throws -> [UInt8]? {
        let template = Template {
            $0[.objectClass] = .publicKey
            $0[.token] = true
            $0[.id] = identity
        }
        guard let key = try session.findObjects(matching: template, limit: 1).first else { return nil }
        return try session.attribute(.publicExponent, of: key)
    }

    private func generateTransportKey() throws {
        let identity = try session.randomBytes(Self.transportIdentityBytes)
        let largest = try token.info(of: .rsaKeyPairGeneration).maximumKeySize
        guard largest >= TransportKeyLimits.minimumBits else {
            throw EndpointFailure(
                .mechanismMissing, detail: "the token makes RSA keys of \(largest) bits at most")
        }
        let bits = min(largest, transportKeyBits)
        _ = try session.generateKeyPair(
            .rsaKeyPairGeneration,
            publicTemplate: Template {
                $0[.token] = true
                $0[.label] = Self.transportLabel
                $0[.id] = identity
                $0[.modulusBits] = bits
                $0[.publicExponent] = [1, 0, 1]
                $0[.wrap] = true
                $0[.encrypt] = false
                $0[.verify] = false
                $0[.modifiable] = false
            },
            privateTemplate: Template {
                $0[.token] = true
                $0[.private] = true
                $0[.label] = Self.transportLabel
                $0[.id] = identity
                $0[.sensitive] = true
                $0[.extractable] = false
                $0[.unwrap] = true
                $0[.decrypt] = false
                $0[.sign] = false
                $0[.derive] = false
                $0[.modifiable] = false
            })
    }

    private static var transportIdentityBytes: Int { 16 }
}
