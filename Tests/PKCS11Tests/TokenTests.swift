// Tokens: what they say of themselves, how a selector finds them, and login.

import PKCS11
import SoftHSMFixture
import Testing

@Suite struct TokenTests {
    @Test func tokenDescribesItselfWithoutPadding() throws {
        let info = try SoftHSMFixture.shared().takeToken().info()
        #expect(info.label.hasPrefix("fixture-"))
        #expect(info.manufacturer == "SoftHSM project")
        #expect(info.model == "SoftHSM v2")
        #expect(info.serialNumber.utf8.count == 16)
        #expect(info.flags.isSuperset(of: [.isInitialized, .requiresLogin, .isUserPINInitialized]))
        #expect(!info.flags.contains(.isUserPINLocked))
    }

    @Test func mechanismsAreListedAndDescribed() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        let mechanisms = try token.mechanisms()
        #expect(mechanisms.contains(.aesKeyWrap))
        #expect(!mechanisms.contains(.sp800108CounterKDF))
        #expect(try token.info(of: .aesECBEncryptData).flags.contains(.derive))
        #expect(throws: PKCS11Error(.getMechanismInfo, .mechanismInvalid)) {
            try token.info(of: .sp800108CounterKDF)
        }
    }

    @Test func selectorFindsTheTokenByLabelSerialAndSlot() throws {
        let fixture = try SoftHSMFixture.shared()
        let token = try fixture.takeToken()
        let info = try token.info()
        let selectors = [
            "pkcs11:token=\(info.label)", "pkcs11:serial=\(info.serialNumber);model=SoftHSM%20v2",
            "pkcs11:slot-id=\(token.slotID)", "pkcs11:token=\(info.label);manufacturer=SoftHSM%20project",
        ]
        for text in selectors {
            let found = try fixture.module.token(matching: TokenSelector(uri: text))
            #expect(found.slotID == token.slotID, "\(text)")
        }
    }

    @Test func selectorWithoutMatchNamesTheTokensPresent() throws {
        let module = try SoftHSMFixture.shared().module
        let selector = try TokenSelector(uri: "pkcs11:token=absent")
        do {
            _ = try module.token(matching: selector)
            Issue.record("found a token that isn't there")
        } catch {
            guard case .notFound(let present) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(present.contains("fixture-0"))
        }
    }

    @Test func selectorThatFitsSeveralTokensIsAmbiguous() throws {
        let module = try SoftHSMFixture.shared().module
        let selector = try TokenSelector(uri: "pkcs11:model=SoftHSM%20v2;token=fixture-1")
        _ = try module.token(matching: selector)
        let wide = try TokenSelector(uri: "pkcs11:model=SoftHSM%20v2")
        do {
            _ = try module.token(matching: wide)
            Issue.record("picked one of many")
        } catch {
            guard case .ambiguous(let matching) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(matching.count >= SoftHSMFixture.tokenCount)
        }
    }

    @Test(arguments: [
        ("pkcs11:token=a?pin-value=1234", TokenSelectorError.Reason.holdsPIN),
        ("pkcs11:token=a?pin-source=file:/etc/pin", .holdsPIN),
        ("pkcs11:token=a?module-path=/usr/lib/x.so", .notATokenAttribute),
        ("pkcs11:token=a;object=key", .notATokenAttribute),
        ("pkcs11:token=a;unheard-of=1", .notATokenAttribute),
        ("http://example.com", .malformed),
        ("pkcs11:token=%zz", .malformed),
        ("", .malformed),
    ])
    func textThatIsNoTokenSelectorIsRefused(text: String, reason: TokenSelectorError.Reason) {
        do {
            _ = try TokenSelector(uri: text)
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.reason == reason)
            #expect(!error.description.contains("1234"))
        }
    }

    @Test func wrongPINIsNamedAndTheRightOneStillWorks() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        var session = try token.openSession(readWrite: true)
        do {
            try token.logIn(as: .user, pin: SoftHSMFixture.secret("wrong-pin"), through: &session)
            Issue.record("logged in with a wrong PIN")
        } catch let error as PKCS11Error {
            #expect(error == PKCS11Error(.login, .pinIncorrect))
            #expect(error.description == "C_Login: CKR_PIN_INCORRECT (0xA0)")
        }
        #expect(try session.info().loggedIn == nil)
        #expect(try token.info().flags.contains(.isUserPINCountLow))
        try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &session)
        #expect(try session.info().loggedIn == .user)
    }

    @Test func loginIsSharedByTheSessionsOfATokenAndEndsWithTheLast() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        var first = try token.openSession(readWrite: true)
        var second = try token.openSession(readWrite: false)
        try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &first)
        #expect(try second.info().loggedIn == .user)
        do {
            try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &second)
            Issue.record("logged in twice")
        } catch let error as PKCS11Error {
            #expect(error.returnValue == .userAlreadyLoggedIn)
        }
        try first.close()
        #expect(try second.info().loggedIn == .user)
        try second.close()
        var third = try token.openSession(readWrite: true)
        #expect(try third.info().loggedIn == nil)
    }

    @Test func logoutIsSeenByEverySession() throws {
        let token = try SoftHSMFixture.shared().takeToken()
        var first = try token.openSession(readWrite: true)
        var second = try token.openSession(readWrite: true)
        try token.logIn(as: .user, pin: SoftHSMFixture.secret(SoftHSMFixture.userPIN), through: &first)
        try token.logOut(through: &second)
        #expect(try first.info().loggedIn == nil)
    }
}
