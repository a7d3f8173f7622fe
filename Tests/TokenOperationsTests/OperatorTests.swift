// What every request has in common: login, refusal of malformed requests, and the names of failures.

import ClusterModel
import PKCS11
import SoftHSMFixture
import Testing
import TokenOperations

@Suite struct OperatorTests {
    @Test func tokenIsDescribedWithAndWithoutLogin() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        let endpoint = try TokenOperator(token: token)
        guard case .token(let before) = try endpoint.perform(.inspect) else { return }
        #expect(before.label == (try token.info().label))
        #expect(!before.isLoggedIn)
        #expect(before.mechanisms == before.mechanisms.sorted())
        #expect(before.mechanisms.contains(0x2109))
        try endpoint.logIn(SoftHSMFixture.secret(SoftHSMFixture.userPIN))
        guard case .token(let after) = try endpoint.perform(.inspect) else { return }
        #expect(after.isLoggedIn)
    }

    @Test func withoutLoginNothingIsDoneAndNothingIsListed() throws {
        let endpoint = try TokenOperator(token: SoftHSMFixture.shared().takeToken())
        #expect(try !endpoint.isLoggedIn())
        for request in [
            EndpointRequest.scan(labelPrefix: ""), .generate(specification(.aes128)), .transportKey,
        ] {
            do {
                _ = try endpoint.perform(request)
                Issue.record("\(request.name) went through")
            } catch {
                #expect(error.kind == .notLoggedIn)
            }
        }
    }

    @Test func wrongPINIsRejectedByName() throws {
        let endpoint = try TokenOperator(token: SoftHSMFixture.shared().takeToken())
        let wrong = try SoftHSMFixture.secret("wrong-pin")
        do {
            try endpoint.logIn(wrong)
            Issue.record("logged in with a wrong PIN")
        } catch {
            #expect(error.kind == .credentialRejected)
            #expect(error.function == "C_Login")
            #expect(error.returnValue == 0xA0)
            #expect(!error.detail.contains("wrong-pin"))
        }
    }

    @Test func requestsThatBelongToTheTokenHostAreRefused() throws {
        let bench = try Bench()
        #expect(bench.failure(of: .logIn)?.kind == .invalidRequest)
        #expect(bench.failure(of: .forgetRejectedPIN)?.kind == .invalidRequest)
    }

    @Test func malformedRequestsAreRefused() throws {
        let bench = try Bench()
        let good = specification(.aes128)
        var noIdentity = good
        noIdentity.identity = []
        var longIdentity = good
        longIdentity.identity = [UInt8](repeating: 1, count: EndpointLimits.attributeBytes + 1)
        var noLabel = good
        noLabel.label = ""
        var zeroLabel = good
        zeroLabel.label = "a\u{0}b"
        var noUse = good
        noUse.usage = .mac
        for bad in [noIdentity, longIdentity, noLabel, zeroLabel, noUse] {
            #expect(bench.failure(of: .generate(bad))?.kind == .invalidRequest)
        }
        for length in [0, 8, 17, 80] {
            let challenge = [UInt8](repeating: 0, count: length)
            let request = EndpointRequest.verify(identity: [1], algorithm: .aes128, challenge: challenge)
            #expect(bench.failure(of: request)?.kind == .invalidRequest)
        }
        let huge = [UInt8](repeating: 0, count: EndpointLimits.blobBytes + 1)
        for (wrappingKey, key) in [(huge, [1]), ([1], huge), ([], [1]), ([1], [])] as [([UInt8], [UInt8])] {
            let wrapped = WrappedKey(encryptedWrappingKey: wrappingKey, encryptedKey: key, usesSHA256: false)
            #expect(bench.failure(of: .importKey(good, wrapped))?.kind == .invalidRequest)
        }
    }

    @Test func failuresCarryFunctionAndReturnValue() {
        let cases: [(ReturnValue, EndpointFailure.Kind)] = [
            (.pinLocked, .credentialRejected), (.userNotLoggedIn, .notLoggedIn),
            (.mechanismInvalid, .mechanismMissing),
            (.keyUnextractable, .keyNotExtractable), (.deviceError, .returnValue),
            (ReturnValue(0x8000_003B), .returnValue),
        ]
        for (value, kind) in cases {
            let failure = EndpointFailure(PKCS11Error(.generateKey, value), during: "generate")
            #expect(failure.kind == kind)
            #expect(failure.function == "C_GenerateKey")
            #expect(failure.returnValue == UInt64(value.rawValue))
            #expect(failure.detail.contains("C_GenerateKey"))
        }
    }

    @Test func unusableModulesAndSelectorsBecomeFailures() throws {
        do {
            _ = try Module(path: "/nonexistent.so")
        } catch {
            #expect(EndpointFailure(error).kind == .moduleUnavailable)
        }
        let selector = try TokenSelector(uri: "pkcs11:token=absent")
        let module = try SoftHSMFixture.shared().module
        do {
            _ = try module.token(matching: selector)
        } catch {
            #expect(EndpointFailure(error).kind == .tokenNotFound)
        }
    }

    @Test func vanishedTokenObjectIsNotFoundByTheNextRequest() throws {
        let bench = try Bench()
        let key = specification(.aes128)
        _ = try bench.generate(key)
        let other = try TokenOperator(token: bench.token)
        #expect(try other.perform(.destroy(identity: key.identity, label: key.label)) == .destroyed(1))
        let verify = EndpointRequest.verify(
            identity: key.identity, algorithm: .aes128, challenge: Bench.challenge)
        #expect(bench.failure(of: verify)?.kind == .keyNotFound)
    }

    @Test func operatorsInSeveralThreadsShareAToken() async throws {
        let bench = try Bench()
        let token = bench.token
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in UInt8(1)...4 {
                group.addTask {
                    let endpoint = try TokenOperator(token: token)
                    let key = specification(.aes256, number: number)
                    #expect(try endpoint.perform(.generate(key)) == .made(adopted: false))
                    #expect(try endpoint.perform(.generate(key)) == .made(adopted: true))
                    let verify = EndpointRequest.verify(
                        identity: key.identity, algorithm: .aes256, challenge: Bench.challenge)
                    #expect(try endpoint.perform(verify) == endpoint.perform(verify))
                }
            }
            try await group.waitForAll()
        }
        #expect(Set(try bench.scan("CMS MK").map(\.identity)).count == 4)
    }
}
