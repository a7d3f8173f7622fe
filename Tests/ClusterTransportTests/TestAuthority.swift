// Throw-away certificates, made with the openssl program as an operator would make them.

import ClusterModel
import ClusterTransport
import Foundation

/// A certificate authority in a temporary folder that is removed with it.
final class TestAuthority: Sendable {
    enum KeyType: String { case ed25519, p256 }

    struct CommandFailed: Error { var text: String }

    let folder: String
    var certificatePath: String { folder + "/ca.pem" }

    init() throws {
        folder = NSTemporaryDirectory() + "hsmcluster-test-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try TestAuthority.makeKey(.p256, at: folder + "/ca.key")
        try TestAuthority.openssl([
            "req", "-x509", "-new", "-key", folder + "/ca.key", "-out", certificatePath, "-days", "2",
            "-subj", "/CN=Test authority \(UUID().uuidString)", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ])
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Issues a certificate. `names` are its subject alternative names as openssl spells them.
    func issue(
        _ name: String, names: String, usage: String? = "serverAuth,clientAuth", key: KeyType = .ed25519,
        days: Int = 1
    ) throws -> TransportIdentity {
        let base = folder + "/" + name
        try TestAuthority.makeKey(key, at: base + ".key")
        try TestAuthority.openssl([
            "req", "-new", "-key", base + ".key", "-out", base + ".csr", "-subj", "/CN=\(name)",
        ])
        var extensions = "basicConstraints=CA:FALSE\nsubjectAltName=\(names)\n"
        if let usage { extensions += "extendedKeyUsage=\(usage)\n" }
        try extensions.write(toFile: base + ".ext", atomically: true, encoding: .utf8)
        try TestAuthority.openssl([
            "x509", "-req", "-in", base + ".csr", "-CA", certificatePath, "-CAkey", folder + "/ca.key",
            "-CAcreateserial", "-out", base + ".pem", "-days", String(days), "-extfile", base + ".ext",
        ])
        return TransportIdentity(
            certificateChainPath: base + ".pem", privateKeyPath: base + ".key", authorityPath: certificatePath
        )
    }

    /// Issues what a node should have.
    func identity(of node: UInt64, cluster: String = "test", key: KeyType = .ed25519) throws
        -> TransportIdentity
    {
        try issue(
            "node-\(cluster)-\(node)-\(key)", names: "URI:hsmcluster://\(cluster)/node/\(node)", key: key)
    }

    static func makeKey(_ type: KeyType, at path: String) throws {
        switch type {
        case .ed25519: try openssl(["genpkey", "-algorithm", "ed25519", "-out", path])
        case .p256:
            try openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])
        }
    }

    /// Runs openssl and returns what it printed; throws when it fails, unless told not to.
    @discardableResult
    static func openssl(_ arguments: [String], mayFail: Bool = false) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 || mayFail else {
            throw CommandFailed(text: "openssl \(arguments.joined(separator: " ")): \(text)")
        }
        return text
    }
}
