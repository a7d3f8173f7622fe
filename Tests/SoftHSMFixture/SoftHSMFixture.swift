// Real tokens for tests: SoftHSM 2 with a configuration and token folder of its own, made once per test process.
// SoftHSM reads its configuration from the environment when it is initialized, so one process can have only one;
// all test targets that link into one test program share this fixture. Each test takes a fresh token from it, because
// login state belongs to the token and would otherwise leak from test to test.

import Foundation
import PKCS11
import Synchronization

/// The tokens of this test process.
public final class SoftHSMFixture: Sendable {
    /// The module, loaded with the fixture's configuration.
    public let module: Module
    /// Where SoftHSM is on this machine.
    public let modulePath: String
    /// The temporary folder; removed when the process ends.
    public let folder: String
    private let tokens: [Token]
    private let nextToken = Mutex(0)

    /// How many tokens a test process can take.
    public static let tokenCount = 128
    /// The user's PIN of every token.
    public static let userPIN = "user-4711"
    /// The security officer's PIN of every token.
    public static let securityOfficerPIN = "officer-4711"

    /// Something that a machine without SoftHSM, or a test that takes too many tokens, runs into.
    public struct Problem: Error, CustomStringConvertible {
        /// What is missing.
        public let description: String
    }

    private static let instance = Result { try SoftHSMFixture() }

    /// The fixture, made on first use.
    public static func shared() throws -> SoftHSMFixture { try instance.get() }

    private init() throws {
        let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"]
        guard let path = places.first(where: FileManager.default.isReadableFile(atPath:)) else {
            throw Problem(description: "SoftHSM 2 is missing: install the package softhsm2")
        }
        modulePath = path
        folder = try Self.makeFolder()
        module = try Module(path: path)
        // All tokens are made before any test runs: the slot list then never changes under a test's feet.
        tokens = try (0..<Self.tokenCount).map { [module] in
            try Self.makeToken(module, label: "fixture-\($0)")
        }
        _ = try module.slots(withToken: false)
    }

    private static func makeFolder() throws -> String {
        let folder = NSTemporaryDirectory() + "/hsmcluster-softhsm-\(getpid())"
        let manager = FileManager.default
        try? manager.removeItem(atPath: folder)
        try manager.createDirectory(
            atPath: folder + "/tokens", withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        let configuration = """
            directories.tokendir = \(folder)/tokens
            objectstore.backend = file
            log.level = ERROR
            slots.removable = false

            """
        try configuration.write(toFile: folder + "/softhsm2.conf", atomically: true, encoding: .utf8)
        setenv("SOFTHSM2_CONF", folder + "/softhsm2.conf", 1)
        setenv("HSMCLUSTER_TEST_SOFTHSM_FOLDER", folder, 1)
        atexit {
            guard let folder = getenv("HSMCLUSTER_TEST_SOFTHSM_FOLDER") else { return }
            try? FileManager.default.removeItem(atPath: String(cString: folder))
        }
        return folder
    }

    private static func makeToken(_ module: Module, label: String) throws -> Token {
        // SoftHSM appends a slot with an uninitialized token whenever the last one has been used up.
        let unused = try module.slots(withToken: true).last {
            try !$0.token.info().flags.contains(.isInitialized)
        }
        guard let slot = unused else { throw Problem(description: "SoftHSM offers no slot for a new token") }
        let officer = try secret(securityOfficerPIN)
        let user = try secret(userPIN)
        try slot.initializeToken(label: label, securityOfficerPIN: officer)
        let token = slot.token
        var session = try token.openSession(readWrite: true)
        try token.logIn(as: .securityOfficer, pin: officer, through: &session)
        try session.initializeUserPIN(user)
        try session.close()
        return token
    }

    /// A token that no other test has; its user has the PIN `userPIN` and is not logged in.
    public func takeToken() throws -> Token {
        let number = nextToken.withLock { next in
            defer { next += 1 }
            return next
        }
        guard number < Self.tokenCount else {
            throw Problem(
                description: "all \(Self.tokenCount) tokens are taken: raise SoftHSMFixture.tokenCount")
        }
        return tokens[number]
    }

    /// A read-write session on a token of its own, with the user logged in.
    public func takeSession() throws -> Session {
        let token = try takeToken()
        var session = try token.openSession(readWrite: true)
        try token.logIn(as: .user, pin: Self.secret(Self.userPIN), through: &session)
        return session
    }

    /// A PIN from a text. Tests only: a program never has its PIN as a `String`.
    public static func secret(_ text: String) throws -> SecretBytes {
        var bytes = Array(text.utf8)
        guard let secret = SecretBytes(moving: &bytes) else {
            throw Problem(description: "the PIN is too long")
        }
        return secret
    }
}
