// What a request must look like before it reaches a module. A node checks its requests too; this is the last place
// where a mistake costs nothing.

import ClusterModel

extension EndpointRequest {
    /// Throws `invalidRequest` for a request that no token should see.
    func validate() throws(EndpointFailure) {
        switch self {
        case .inspect, .logIn, .forgetRejectedPIN, .transportKey:
            break
        case .scan(let labelPrefix):
            try demand(
                labelPrefix.utf8.count <= EndpointLimits.attributeBytes, "the label prefix is too long")
        case .generate(let specification):
            try validate(specification)
        case .exportKey(let identity, let destination):
            try validate(identity)
            try validate(destination)
        case .importKey(let specification, let wrapped):
            try validate(specification)
            let blobs = [wrapped.encryptedWrappingKey.count, wrapped.encryptedKey.count]
            try demand(
                blobs.allSatisfy { (1...EndpointLimits.blobBytes).contains($0) },
                "a wrapped key has a wrong length")
        case .verify(let identity, _, let challenge):
            try validate(identity)
            try demand(
                ProbeLimits.challengeBytes.contains(challenge.count) && challenge.count.isMultiple(of: 16),
                "the challenge must have 16, 32, 48 or 64 bytes")
        case .restrict(let identity):
            try validate(identity)
        case .destroy(let identity, let label):
            try validate(identity)
            try validate(label: label)
        }
    }

    private func validate(_ specification: KeySpecification) throws(EndpointFailure) {
        try validate(specification.identity)
        try validate(label: specification.label)
        try demand(
            !specification.usage.isDisjoint(with: [.derive, .encrypt]),
            "the key must allow derivation or encryption, or its check value can't be computed")
    }

    private func validate(_ identity: [UInt8]) throws(EndpointFailure) {
        try demand(
            (1...EndpointLimits.attributeBytes).contains(identity.count), "the identity has a wrong length")
    }

    private func validate(label: String) throws(EndpointFailure) {
        try demand(
            (1...EndpointLimits.attributeBytes).contains(label.utf8.count), "the label has a wrong length")
        try demand(!label.utf8.contains(0), "the label has a zero byte")
    }

    // An RSA key that is too short, or whose exponent is 1, would give the wrapped key away.
    private func validate(_ key: TransportPublicKey) throws(EndpointFailure) {
        let modulus = key.modulus.drop { $0 == 0 }
        let exponent = key.publicExponent.drop { $0 == 0 }
        let bits = modulus.count * 8 - (modulus.first?.leadingZeroBitCount ?? 0)
        try demand(TransportKeyLimits.bits.contains(bits), "the transport key has \(bits) bits")
        try demand((modulus.last ?? 0) & 1 == 1, "the transport key's modulus is even")
        try demand(
            (3...8).contains(exponent.count) && (exponent.last ?? 0) & 1 == 1,
            "the transport key's exponent is even or less than 65537")
    }

    private func demand(_ condition: Bool, _ complaint: String) throws(EndpointFailure) {
        guard condition else { throw EndpointFailure(.invalidRequest, detail: "\(name): \(complaint)") }
    }
}

/// Bounds on a challenge.
enum ProbeLimits {
    static let challengeBytes = 16...64
}

/// Bounds on an RSA transport key.
enum TransportKeyLimits {
    static let bits = 2_048...8_192
    /// What is generated where the token allows it.
    static let preferredBits: UInt = 3_072
    static let minimumBits: UInt = 2_048
    /// How many transport keys one token may have: several nodes may each have made one at the same time.
    static let keysPerToken = 8
}
