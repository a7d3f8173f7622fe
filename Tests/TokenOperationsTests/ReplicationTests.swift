// The whole way of a master key: made on one token, sent to others, and the same key there.

import ClusterModel
import PKCS11
import SoftHSMFixture
import Testing
import TokenOperations

@Suite struct ReplicationTests {
    @Test(arguments: KeyAlgorithm.allCases)
    func replicasOnThreeTokensAreTheSameKey(algorithm: KeyAlgorithm) throws {
        let (source, second, third) = (try Bench(), try Bench(), try Bench())
        let original = specification(algorithm)
        var replica = original
        replica.isExtractable = false
        #expect(try !source.generate(original))
        let proof = try source.proof(original)
        #expect(proof.keyCheckValue.utf8.count == 6)
        #expect(proof.probe.utf8.count == 32)
        for destination in [second, third] {
            let wrapped = try source.export(original, to: destination)
            #expect(wrapped.encryptedKey.count == algorithm.keyBytes + 8)
            #expect(try !destination.receive(replica, wrapped))
            #expect(try destination.proof(original) == proof)
            let object = try #require(try destination.scan("CMS MK").first)
            #expect(object.label == original.label)
            #expect(object.identity == original.identity)
            // SoftHSM doesn't tell the length of an unwrapped key.
            #expect(object.algorithm == (algorithm == .desEDE3 ? .desEDE3 : nil))
            #expect(object.isSensitive)
            #expect(!object.isExtractable)
        }
    }

    @Test func replicaThatStaysExtractableIsASourceItself() throws {
        let (first, second, third) = (try Bench(), try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try first.generate(key)
        _ = try second.receive(key, first.export(key, to: second))
        _ = try third.receive(key, second.export(key, to: third))
        #expect(try third.proof(key) == first.proof(key))
    }

    @Test func nothingTemporaryIsLeftBehind() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try source.generate(key)
        #expect(try source.objectCount() == 1)
        let wrapped = try source.export(key, to: destination)
        _ = try source.proof(key)
        #expect(try source.objectCount() == 1)
        // Its transport key has two halves.
        #expect(try destination.objectCount() == 2)
        _ = try destination.receive(key, wrapped)
        _ = try destination.receive(key, wrapped)
        #expect(try destination.objectCount() == 3)
    }

    @Test func failuresLeaveNothingTemporaryBehind() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try source.generate(key)
        var wrapped = try source.export(key, to: destination)
        wrapped.encryptedKey[3] ^= 1
        let damaged = destination.failure(of: .importKey(key, wrapped))
        #expect(damaged?.kind == .invalidRequest)
        #expect(damaged?.function == "C_UnwrapKey")
        #expect(damaged?.returnValue == nil, "CKR_GENERAL_ERROR would count as a broken device")
        wrapped.encryptedWrappingKey[3] ^= 1
        #expect(destination.failure(of: .importKey(key, wrapped))?.kind == .invalidRequest)
        #expect(try destination.objectCount() == 2)
    }

    @Test func importOfANonExtractableKeyCanNotBeUndone() throws {
        let (source, destination) = (try Bench(), try Bench())
        var key = specification(.aes128)
        _ = try source.generate(key)
        let wrapped = try source.export(key, to: destination)
        key.isExtractable = false
        _ = try destination.receive(key, wrapped)
        let failure = destination.failure(
            of: .exportKey(identity: key.identity, destination: try source.transportKey()))
        #expect(failure?.kind == .keyNotExtractable)
    }

    @Test func secondImportAdoptsTheFirst() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.desEDE3)
        _ = try source.generate(key)
        #expect(try !destination.receive(key, source.export(key, to: destination)))
        #expect(try destination.receive(key, source.export(key, to: destination)))
        #expect(try destination.scan("CMS MK").count == 1)
    }

    @Test func importsThatOvertakeEachOtherLeaveOneObject() async throws {
        let (source, destination) = (try Bench(), try Bench())
        // A second session of the same token, as the token host of another node has one.
        let rival = try TokenOperator(token: destination.token)
        for number in 1...20 {
            let key = specification(.aes256, number: UInt8(number))
            _ = try source.generate(key)
            let wrapped = try source.export(key, to: destination)
            let endpoint = destination.endpoint
            async let one = Task.detached { try? endpoint.perform(.importKey(key, wrapped)) }.value
            async let two = Task.detached { try? rival.perform(.importKey(key, wrapped)) }.value
            _ = await (one, two)
            let left = try destination.scan(key.label).count { $0.identity == key.identity }
            #expect(left <= 1)
            // When both gave way, the import is repeated, as after any failure.
            _ = try destination.receive(key, wrapped)
            #expect(try destination.scan(key.label).count { $0.identity == key.identity } == 1)
            #expect(try destination.proof(key) == source.proof(key))
        }
    }

    @Test func importNextToAnotherKeyOfThatIdentityIsAMismatch() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try source.generate(key)
        _ = try destination.generate(key)
        let foreign = try destination.proof(key)
        let wrapped = try source.export(key, to: destination)
        #expect(destination.failure(of: .importKey(key, wrapped))?.kind == .keyMismatch)
        #expect(try destination.proof(key) == foreign, "the key that stood there is untouched")
    }

    @Test func importThatAsksForAnotherAlgorithmLeavesNoKey() throws {
        let (source, destination) = (try Bench(), try Bench())
        let key = specification(.aes128)
        _ = try source.generate(key)
        let wrapped = try source.export(key, to: destination)
        var wrong = key
        wrong.algorithm = .aes256
        #expect(destination.failure(of: .importKey(wrong, wrapped))?.kind == .invalidRequest)
        #expect(try destination.scan("").isEmpty)
    }

    @Test func aKeyWrappedForOneTokenDoesNotOpenOnAnother() throws {
        let (source, destination, thief) = (try Bench(), try Bench(), try Bench())
        let key = specification(.aes256)
        _ = try source.generate(key)
        let wrapped = try source.export(key, to: destination)
        #expect(thief.failure(of: .importKey(key, wrapped))?.kind == .keyNotFound)
        _ = try thief.transportKey()
        #expect(thief.failure(of: .importKey(key, wrapped))?.kind == .invalidRequest)
        #expect(try thief.scan("").isEmpty)
    }

    @Test func wrappedKeyIsNotTheKey() throws {
        let (source, destination) = (try Bench(), try Bench())
        let value = (100..<132).map { UInt8($0) }
        let key = specification(.aes256)
        _ = try source.plant(value, .aes) {
            $0[.id] = key.identity
            $0[.label] = key.label
        }
        let wrapped = try source.export(key, to: destination)
        #expect(!wrapped.encryptedKey.starts(with: value.prefix(8)))
        _ = try destination.receive(key, wrapped)
        #expect(try destination.proof(key) == source.proof(key))
    }

    @Test func malformedTransportKeysAreRefused() throws {
        let bench = try Bench()
        let key = specification(.aes256)
        _ = try bench.generate(key)
        let good = try bench.transportKey()
        var short = good
        short.modulus = [UInt8](good.modulus.suffix(128))
        var even = good
        even.modulus[even.modulus.count - 1] &= 0xFE
        var one = good
        one.publicExponent = [1]
        let empty = TransportPublicKey(modulus: [], publicExponent: [])
        for bad in [short, even, one, empty] {
            let failure = bench.failure(of: .exportKey(identity: key.identity, destination: bad))
            #expect(failure?.kind == .invalidRequest)
        }
    }
}
