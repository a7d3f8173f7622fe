// Finding and describing secret keys on the token. A label can repeat, a handle means nothing elsewhere, CKA_UNIQUE_ID
// differs from token to token: the one name that the cluster gives a key is its CKA_ID.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// The secret token objects with exactly this CKA_ID, at most `ObjectLimits.duplicates`.
    func secretKeys(identity: [UInt8]) throws -> [ObjectHandle] {
        let template = Template {
            $0[.objectClass] = .secretKey
            $0[.token] = true
            $0[.id] = identity
        }
        // A module that matches loosely must not lead us to a foreign key.
        return try session.findObjects(matching: template, limit: ObjectLimits.duplicates).filter {
            try session.attribute(.id, of: $0) == identity
        }
    }

    /// The secret key with this CKA_ID, which must be of `algorithm`. Nil when there is none.
    ///
    /// An import that was repeated while the token did not yet show the first object leaves two of them. They
    /// count as one when they prove to be the same key; of those, one that may be wrapped is preferred.
    func secretKey(identity: [UInt8], algorithm: KeyAlgorithm? = nil) throws -> ObjectHandle? {
        let keys = try secretKeys(identity: identity)
        guard let key = keys.first else { return nil }
        if let algorithm { try demand(key, is: algorithm, identity: identity) }
        guard keys.count > 1 else { return key }
        // Only the cipher matters to a proof, and all AES lengths share it.
        let isTripleDES = try session.attribute(.keyType, of: key) == .des3
        let challenge = try session.randomBytes(Self.comparisonBytes)
        let proofs = try keys.map {
            try proof(of: $0, isTripleDES ? .desEDE3 : .aes256, challenge: challenge)
        }
        guard proofs.allSatisfy({ $0 == proofs[0] }) else {
            throw EndpointFailure(
                .keyMismatch, detail: "different keys bear the identity \(Hex.encode(identity))")
        }
        return try keys.first { try session.attribute(.extractable, of: $0) == true } ?? key
    }

    private static var comparisonBytes: Int { 32 }

    /// The same, where its absence is a failure.
    func existingKey(identity: [UInt8], algorithm: KeyAlgorithm? = nil) throws -> ObjectHandle {
        guard let key = try secretKey(identity: identity, algorithm: algorithm) else {
            throw EndpointFailure(
                .keyNotFound, detail: "no key on the token bears the identity \(Hex.encode(identity))")
        }
        return key
    }

    /// Throws `keyMismatch` when `key` is not of `algorithm`.
    func demand(_ key: ObjectHandle, is algorithm: KeyAlgorithm, identity: [UInt8]) throws {
        let attributes = try session.attributes(of: key, ObjectLimits.described)
        guard attributes.fits(algorithm) else {
            throw EndpointFailure(
                .keyMismatch,
                detail: "the key with the identity \(Hex.encode(identity)) is not \(algorithm.displayName)")
        }
    }

    /// The secret keys whose label starts with `labelPrefix`.
    func scan(labelPrefix: String) throws -> [KeyObject] {
        let template = Template {
            $0[.objectClass] = .secretKey
            $0[.token] = true
        }
        let keys = try session.findObjects(matching: template, limit: ObjectLimits.scanned + 1)
        var objects: [KeyObject] = []
        for key in keys {
            guard let object = try describe(key), object.label.hasPrefix(labelPrefix) else { continue }
            objects.append(object)
        }
        // Half a list would look like lost keys.
        guard keys.count <= ObjectLimits.scanned, objects.count <= EndpointLimits.scanObjects else {
            throw EndpointFailure(
                .invalidRequest, detail: "scan: the token holds too many secret keys to list them all")
        }
        return objects
    }

    /// Nil when the object went away meanwhile, or when its label or identity is longer than any of ours.
    private func describe(_ key: ObjectHandle) throws -> KeyObject? {
        let attributes: Template
        do {
            attributes = try session.attributes(of: key, ObjectLimits.described)
        } catch  where error.returnValue == .objectHandleInvalid {
            return nil
        }
        let (label, identity) = (attributes[.label] ?? "", attributes[.id] ?? [])
        guard max(label.utf8.count, identity.count) <= EndpointLimits.attributeBytes else { return nil }
        return KeyObject(
            label: label, identity: identity, algorithm: attributes.algorithm,
            isSensitive: attributes[.sensitive] ?? false, isExtractable: attributes[.extractable] ?? true)
    }

    /// Runs `body` with a session object and destroys the object afterwards, whatever happens.
    func withTemporary<Result>(_ object: ObjectHandle, _ body: (ObjectHandle) throws -> Result) throws
        -> Result
    {
        let result: Result
        do {
            result = try body(object)
        } catch {
            // The first failure is the one to report; the object dies with the session at the latest.
            try? session.destroyObject(object)
            throw error
        }
        try session.destroyObject(object)
        return result
    }
}

/// Bounds on looking for objects.
enum ObjectLimits {
    /// The most secret keys on a token that a scan goes through.
    static let scanned = 100_000
    /// The most objects with one CKA_ID that are looked at.
    static let duplicates = 16
    /// What is read of every key.
    static let described: [AttributeType] = [
        AttributeKey<String>.label.type, AttributeKey<[UInt8]>.id.type, AttributeKey<KeyType>.keyType.type,
        AttributeKey<UInt>.valueLength.type, AttributeKey<Bool>.sensitive.type,
        AttributeKey<Bool>.extractable.type,
    ]
}

extension Template {
    /// The master key algorithm that the key type and length amount to; nil for none, and for an AES key
    /// whose length the token doesn't tell (SoftHSM reports 0 for every unwrapped one).
    var algorithm: KeyAlgorithm? { KeyAlgorithm.allCases.first { knownLength != nil && fits($0) } }

    /// True unless key type or length say that the key is of another algorithm.
    func fits(_ algorithm: KeyAlgorithm) -> Bool {
        guard self[.keyType] == algorithm.keyType else { return false }
        return knownLength.map { $0 == algorithm.keyBytes } ?? true
    }

    // The length of a triple DES key is fixed, and many tokens report none.
    private var knownLength: Int? {
        if self[.keyType] == .des3 { return KeyAlgorithm.desEDE3.keyBytes }
        guard let length = self[.valueLength], length > 0 else { return nil }
        return Int(clamping: length)
    }
}
