// The two changes that can't be taken back: no further copies of a key, and no key. Both name their object exactly.

import ClusterModel
import PKCS11

extension TokenOperator {
    /// Sets CKA_EXTRACTABLE to false on the key `identity`, and reads it back.
    func restrict(identity: [UInt8]) throws {
        let keys = try secretKeys(identity: identity)
        guard !keys.isEmpty else {
            throw EndpointFailure(
                .keyNotFound, detail: "no key on the token bears the identity \(Hex.encode(identity))")
        }
        for key in keys { try restrict(key) }
    }

    /// The same for one object.
    func restrict(_ key: ObjectHandle) throws {
        guard try session.attribute(.extractable, of: key) != false else { return }
        try session.setAttributes(Template { $0[.extractable] = false }, of: key)
        guard try session.attribute(.extractable, of: key) == false else {
            throw EndpointFailure(
                .keyMismatch, detail: "the token kept the key extractable although told not to")
        }
    }

    /// Destroys the secret keys with exactly this CKA_ID and, but for a vendor's decoration, this label; returns how
    /// many there were.
    func destroy(identity: [UInt8], label: String) throws -> Int {
        var count = 0
        for key in try secretKeys(identity: identity) {
            guard let found = try session.attribute(.label, of: key),
                DecoratedLabel.plain(found) == DecoratedLabel.plain(label)
            else { continue }
            try session.destroyObject(key)
            count += 1
        }
        return count
    }
}
