// A token with its operator, logged in, and a second session to look at things from outside.

import ClusterModel
import PKCS11
import SoftHSMFixture

@testable import TokenOperations

/// One endpoint of a test.
final class Bench {
    let token: Token
    let endpoint: TokenOperator
    var observer: Session

    init() throws {
        token = try SoftHSMFixture.shared().takeToken()
        endpoint = try TokenOperator(token: token)
        endpoint.transportKeyBits = TransportKeyLimits.minimumBits
        observer = try token.openSession(readWrite: true)
        try endpoint.logIn(SoftHSMFixture.secret(SoftHSMFixture.userPIN))
    }

    static let challenge = (0..<32).map { UInt8($0) }

    /// Generates a key; true when it was adopted.
    func generate(_ specification: KeySpecification) throws -> Bool {
        guard case .made(let adopted) = try endpoint.perform(.generate(specification)) else {
            throw Unexpected()
        }
        return adopted
    }

    func transportKey() throws -> TransportPublicKey {
        guard case .transportKey(let key) = try endpoint.perform(.transportKey) else { throw Unexpected() }
        return key
    }

    func export(_ specification: KeySpecification, to other: Bench) throws -> WrappedKey {
        let request = EndpointRequest.exportKey(
            identity: specification.identity, destination: try other.transportKey())
        guard case .wrapped(let wrapped) = try endpoint.perform(request) else { throw Unexpected() }
        return wrapped
    }

    /// Imports a key; true when it was adopted.
    func receive(_ specification: KeySpecification, _ wrapped: WrappedKey) throws -> Bool {
        let reply = try endpoint.perform(.importKey(specification, wrapped))
        guard case .made(let adopted) = reply else { throw Unexpected() }
        return adopted
    }

    func proof(_ specification: KeySpecification, challenge: [UInt8] = Bench.challenge) throws -> KeyProof {
        let request = EndpointRequest.verify(
            identity: specification.identity, algorithm: specification.algorithm, challenge: challenge)
        guard case .proof(let proof) = try endpoint.perform(request) else { throw Unexpected() }
        return proof
    }

    func scan(_ prefix: String) throws -> [KeyObject] {
        guard case .objects(let objects) = try endpoint.perform(.scan(labelPrefix: prefix)) else {
            throw Unexpected()
        }
        return objects
    }

    func destroy(_ specification: KeySpecification) throws -> Int {
        let request = EndpointRequest.destroy(identity: specification.identity, label: specification.label)
        guard case .destroyed(let count) = try endpoint.perform(request) else { throw Unexpected() }
        return count
    }

    /// The kind of failure that `request` ends with; nil when it succeeds.
    func failure(of request: EndpointRequest) -> EndpointFailure? {
        do {
            _ = try endpoint.perform(request)
            return nil
        } catch {
            return error
        }
    }

    /// How many objects there are, of any kind, for session and token alike.
    func objectCount() throws -> Int { try observer.findObjects(matching: Template()).count }

    /// A secret key with a known value, as somebody else might have put it there.
    func plant(
        _ value: [UInt8], _ type: KeyType, _ change: (inout Template) -> Void
    ) throws -> ObjectHandle {
        try observer.createObject(
            Template {
                $0[.objectClass] = .secretKey
                $0[.keyType] = type
                $0[.token] = true
                $0[.value] = value
                $0[.sensitive] = true
                $0[.extractable] = true
                $0[.derive] = true
                $0[.encrypt] = false
                change(&$0)
            })
    }

    struct Unexpected: Error {}
}

/// A specification with an identity of its own per number.
func specification(
    _ algorithm: KeyAlgorithm, number: UInt8 = 1, usage: KeyUsage = .derive, isExtractable: Bool = true
) -> KeySpecification {
    KeySpecification(
        identity: [UInt8](repeating: number, count: 26), label: "CMS MK 40\(99 + Int(number) - 1)",
        algorithm: algorithm,
        usage: usage, isExtractable: isExtractable)
}
