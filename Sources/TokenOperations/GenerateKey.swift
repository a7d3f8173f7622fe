// Making a master key, or adopting the one that an earlier, seemingly failed attempt has left behind. The CKA_ID was
// chosen by the leader and is written into the replicated log first, so finding it means finding that key.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// Makes the key; true when it stood there already.
    func generate(_ specification: KeySpecification) throws -> Bool {
        if try adopt(specification) != nil { return true }
        var template = specification.template()
        // A triple DES key has a fixed length, and tokens refuse to be told it.
        if specification.algorithm != .desEDE3 {
            template[.valueLength] = UInt(specification.algorithm.keyBytes)
        }
        let key = try session.generateKey(specification.algorithm.generation, template: template)
        try confirm(key, specification)
        return false
    }

    /// The key that already bears the identity, checked against the specification; nil when there is none.
    /// One that is extractable although none was asked for loses that.
    func adopt(_ specification: KeySpecification) throws -> ObjectHandle? {
        let identity = specification.identity
        guard let key = try secretKey(identity: identity, algorithm: specification.algorithm) else {
            return nil
        }
        let attributes = try session.attributes(of: key, ObjectLimits.described)
        guard attributes[.sensitive] == true else {
            throw EndpointFailure(
                .keyMismatch, detail: "the key with the identity \(Hex.encode(identity)) is not sensitive")
        }
        if !specification.isExtractable, attributes[.extractable] != false { try restrict(key) }
        return key
    }

    /// Reads a new object back. A token that ignored what it was told must not keep the key.
    func confirm(_ key: ObjectHandle, _ specification: KeySpecification) throws {
        let attributes = try session.attributes(of: key, ObjectLimits.described)
        guard attributes[.id] == specification.identity, attributes.fits(specification.algorithm),
            attributes[.sensitive] == true, attributes[.extractable] == specification.isExtractable
        else {
            try session.destroyObject(key)
            throw EndpointFailure(
                .keyMismatch,
                detail: "the token made a key that differs from what was asked for (identity, algorithm, "
                    + "CKA_SENSITIVE or CKA_EXTRACTABLE); it was destroyed")
        }
    }
}
