// The destination's side of a replication: the transport key unwraps the one-time key, the one-time key unwraps the
// master, both inside the token. When an object already bears the identity, an earlier import succeeded without its
// answer arriving, or something else stands there: the wrapped key is then unwrapped for this session only, and the
// two must prove to be the same key before the old one is adopted.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// Brings the key in; true when it stood there already.
    func importKey(_ specification: KeySpecification, _ wrapped: WrappedKey) throws -> Bool {
        // Told from the blob (RFC 3394 adds 8 bytes and proves them), since a token need not tell the length of
        // an unwrapped key.
        guard wrapped.encryptedKey.count == specification.algorithm.keyBytes + 8 else {
            throw EndpointFailure(
                .invalidRequest,
                detail: "import: the wrapped key is not \(specification.algorithm.displayName)")
        }
        let existing = try adopt(specification)
        let wrappingKey = try unwrapWrappingKey(wrapped)
        return try withTemporary(wrappingKey) { wrappingKey in
            guard let existing else {
                let key = try unwrapMaster(wrapped, with: wrappingKey, specification.template())
                try confirm(key, specification)
                return try yield(key, specification)
            }
            var probe = specification
            probe.isExtractable = false
            let incoming = try unwrapMaster(wrapped, with: wrappingKey, probe.template(isTokenObject: false))
            try withTemporary(incoming) { try demandSameKey(existing, $0, specification) }
            return true
        }
    }

    /// Looking and unwrapping are two calls, and another node's import may come in between, most likely when this
    /// process was frozen there. So it looks again, and gives its own object up for the other one; true when it did.
    /// Two that do so at the same moment leave none: whoever sees that is told to repeat it, and what was already
    /// recorded is missed by the reconciler and copied again.
    private func yield(_ key: ObjectHandle, _ specification: KeySpecification) throws -> Bool {
        guard try secretKeys(identity: specification.identity).count > 1 else { return false }
        try session.destroyObject(key)
        guard try adopt(specification) != nil else {
            throw EndpointFailure(
                .keyNotFound, detail: "import: another import of the same key gave way too; repeat it")
        }
        return true
    }

    private func demandSameKey(
        _ existing: ObjectHandle, _ incoming: ObjectHandle, _ specification: KeySpecification
    ) throws {
        let challenge = try session.randomBytes(Self.adoptionChallengeBytes)
        let algorithm = specification.algorithm
        guard
            try proof(of: existing, algorithm, challenge: challenge)
                == proof(of: incoming, algorithm, challenge: challenge)
        else {
            let identity = Hex.encode(specification.identity)
            throw EndpointFailure(.keyMismatch, detail: "another key already bears the identity \(identity)")
        }
    }

    private static var adoptionChallengeBytes: Int { 32 }

    private func unwrapMaster(
        _ wrapped: WrappedKey, with wrappingKey: ObjectHandle, _ template: Template
    ) throws -> ObjectHandle {
        do {
            return try session.unwrapKey(
                wrapped.encryptedKey, with: wrappingKey, using: .aesKeyWrap, template: template)
        } catch {
            throw try refusal(of: "key", error)
        }
    }

    private func unwrapWrappingKey(_ wrapped: WrappedKey) throws -> ObjectHandle {
        let mechanism = Mechanism.rsaOAEP(hash: wrapped.usesSHA256 ? .sha256 : .sha1)
        let transportKeys = try privateTransportKeys()
        var refused: PKCS11Error?
        // OAEP detects a wrong key, so at most one of them succeeds.
        for transportKey in transportKeys {
            do {
                return try session.unwrapKey(
                    wrapped.encryptedWrappingKey, with: transportKey, using: mechanism,
                    template: WrappingKeyTemplate.destination)
            } catch {
                refused = error
            }
        }
        guard let refused else {
            throw EndpointFailure(
                .keyNotFound,
                detail: "import: the token has no transport key; ask for it before exporting to it")
        }
        throw try refusal(of: "one-time key", refused)
    }

    /// Why a blob did not unwrap. Tokens answer a damaged blob, or one for another key, with anything up to
    /// CKR_GENERAL_ERROR, which otherwise means a broken device. One that still works is not broken, so it
    /// was the blob; then the return value goes into the text only.
    private func refusal(of blob: String, _ error: PKCS11Error) throws -> any Error {
        guard Self.mayMeanBadBlob.contains(error.returnValue) else { return error }
        _ = try session.randomBytes(1)
        _ = try session.info()
        return EndpointFailure(
            .invalidRequest, function: error.function.rawValue,
            detail:
                "import: the wrapped \(blob) is damaged or was wrapped for another token (\(error)); export it "
                + "again for the transport key that this token has now")
    }

    private static let mayMeanBadBlob: Set<ReturnValue> = [
        .generalError, .functionFailed, .argumentsBad, .dataInvalid, .dataLengthRange, .wrappedKeyInvalid,
        .wrappedKeyLengthRange, .encryptedDataInvalid,
        .encryptedDataLengthRange,
    ]
}
