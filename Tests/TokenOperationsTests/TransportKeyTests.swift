// The key pair under which keys are sent to an endpoint.

import ClusterModel
import PKCS11
import SoftHSMFixture
import Testing

@testable import TokenOperations

@Suite struct TransportKeyTests {
    @Test func transportKeyIsMadeOnceAndStays() throws {
        let bench = try Bench()
        bench.endpoint.transportKeyBits = TransportKeyLimits.preferredBits
        let key = try bench.transportKey()
        #expect(key.modulus.count == 384)
        #expect(key.publicExponent == [1, 0, 1])
        #expect(try bench.transportKey() == key)
        let second = try TokenOperator(token: bench.token)
        #expect(try second.perform(.transportKey) == .transportKey(key))
    }

    @Test func privateHalfUnwrapsAndDoesNothingElse() throws {
        let bench = try Bench()
        _ = try bench.transportKey()
        let found = try bench.observer.findObjects(matching: Template { $0[.objectClass] = .privateKey })
        let key = try #require(found.first)
        #expect(found.count == 1)
        #expect(try bench.observer.attribute(.label, of: key) == "HSMCluster transport")
        for forbidden in [AttributeKey<Bool>.extractable, .decrypt, .sign, .derive, .modifiable] {
            #expect(try bench.observer.attribute(forbidden, of: key) == false)
        }
        for needed in [AttributeKey<Bool>.sensitive, .neverExtractable, .unwrap, .private, .token] {
            #expect(try bench.observer.attribute(needed, of: key) == true)
        }
    }

    @Test func plantedKeyThatDecryptsIsNotUsed() throws {
        let bench = try Bench()
        _ = try bench.observer.generateKeyPair(
            .rsaKeyPairGeneration,
            publicTemplate: Template {
                $0[.token] = true
                $0[.modulusBits] = 2048
                $0[.publicExponent] = [1, 0, 1]
                $0[.label] = "HSMCluster transport"
            },
            privateTemplate: Template {
                $0[.token] = true
                $0[.label] = "HSMCluster transport"
                $0[.decrypt] = true
                $0[.unwrap] = true
            })
        let publicKeys = try bench.observer.findObjects(matching: Template { $0[.objectClass] = .publicKey })
        let planted = try bench.observer.attribute(.modulus, of: #require(publicKeys.first))
        #expect(try bench.transportKey().modulus != planted)
    }

    @Test func ofSeveralTransportKeysEachOpensWhatWasWrappedForIt() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try source.generate(key)
        let wrapped = try source.export(key, to: destination)
        // As a second node would that asked at the same moment: the same template, with another CKA_ID.
        _ = try destination.observer.generateKeyPair(
            .rsaKeyPairGeneration,
            publicTemplate: Template {
                $0[.token] = true
                $0[.modulusBits] = 2048
                $0[.publicExponent] = [1, 0, 1]
                $0[.label] = "HSMCluster transport"
                $0[.id] = [7]
            },
            privateTemplate: Template {
                $0[.token] = true
                $0[.label] = "HSMCluster transport"
                $0[.id] = [7]
                $0[.sensitive] = true
                $0[.extractable] = false
                $0[.unwrap] = true
                $0[.decrypt] = false
            })
        let chosen = try destination.transportKey()
        #expect(try destination.transportKey() == chosen)
        #expect(try !destination.receive(key, wrapped))
        #expect(try destination.receive(key, source.export(key, to: destination)))
        #expect(try destination.proof(key) == source.proof(key))
    }
}
