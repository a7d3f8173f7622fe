// A throw-away certificate authority, made with the openssl command as an administrator would, so that the
// tests do not trust the library under test with making its own proofs.

import Foundation

/// A certificate with its key and authority, as PEM files.
public struct TestCertificate: Sendable {
    /// The authority's certificate.
    public var authority: String
    /// The certificate.
    public var certificate: String
    /// The private key.
    public var key: String

    /// Names three PEM files.
    public init(authority: String, certificate: String, key: String) {
        self.authority = authority
        self.certificate = certificate
        self.key = key
    }
}

/// A certificate authority in a folder of its own.
public struct TestAuthority: Sendable {
    /// The folder; everything in it may be deleted.
    public let folder: String

    /// The authority's certificate.
    public var file: String { folder + "/ca.pem" }

    /// Makes an authority in a new temporary folder.
    public init() async throws {
        folder = NSTemporaryDirectory() + "hsmcluster-authority-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try configuration(
            "ca", "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign")
        try await openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            folder + "/ca.key", "-out", file, "-days", "2", "-config", folder + "/ca.cnf", "-extensions",
            "leaf")
    }

    /// Issues a certificate with these alternative names, such as `URI:hsmcluster://local/client/admin`.
    public func issue(_ name: String, _ alternativeNames: String...) async throws -> TestCertificate {
        let names =
            alternativeNames.isEmpty ? "" : "subjectAltName = \(alternativeNames.joined(separator: ", "))\n"
        try configuration(name, names + "basicConstraints = critical, CA:FALSE")
        let certificate = TestCertificate(
            authority: file, certificate: "\(folder)/\(name).pem", key: "\(folder)/\(name).key")
        try await openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            certificate.key, "-out", certificate.certificate, "-days", "2", "-CA", file, "-CAkey",
            folder + "/ca.key", "-config", "\(folder)/\(name).cnf", "-extensions", "leaf")
        return certificate
    }

    private func configuration(_ name: String, _ extensions: String) throws {
        let text = """
            [req]
            distinguished_name = subject
            prompt = no
            [subject]
            CN = \(name)
            [leaf]
            \(extensions)

            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name).cnf"))
    }

    private func openssl(_ arguments: String...) async throws {
        let result = try await Command.run("/usr/bin/openssl", arguments)
        guard result.status == 0 else { throw CommandError(text: result.standardError) }
    }
}

/// The certificates that tests share.
public struct TestCertificates: Sendable {
    /// The cluster's authority.
    public var authority: TestAuthority
    /// Another authority.
    public var otherAuthority: TestAuthority
    /// Node 1 of the cluster `local`, for 127.0.0.1.
    public var node: TestCertificate
    /// A client of the cluster `local`.
    public var client: TestCertificate
    /// A client of the cluster `local` by the other authority.
    public var strangerClient: TestCertificate

    /// Made once for each test process.
    public static let shared = Task { () async throws -> TestCertificates in
        let authority = try await TestAuthority()
        let other = try await TestAuthority()
        return TestCertificates(
            authority: authority, otherAuthority: other,
            node: try await authority.issue(
                "node-1", "URI:hsmcluster://local/node/1", "IP:127.0.0.1", "DNS:localhost"),
            client: try await authority.issue("admin", "URI:hsmcluster://local/client/admin"),
            strangerClient: try await other.issue("admin", "URI:hsmcluster://local/client/admin"))
    }
}
