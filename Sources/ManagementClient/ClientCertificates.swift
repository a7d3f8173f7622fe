// Loads the client's PEM files before anything is sent, so that a missing or wrong file is named instead of
// surfacing as a failed handshake.

import Glibc
import NIOSSL

enum ClientCertificates {
    static func tls(
        _ configuration: ManagementClientConfiguration
    ) throws(ManagementClientError) -> TLSConfiguration {
        let authority = try read(configuration.authorityFile, "authority") {
            try NIOSSLCertificate.fromPEMFile($0)
        }
        let chain = try read(configuration.certificateFile, "certificate") {
            try NIOSSLCertificate.fromPEMFile($0)
        }
        let key = try read(configuration.keyFile, "private key") {
            try NIOSSLPrivateKey(file: $0, format: .pem)
        }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv13
        tls.trustRoots = .certificates(authority)
        tls.certificateVerification = .fullVerification
        // A node that hangs does not say goodbye; nobody should wait for that.
        tls.shutdownTimeout = .milliseconds(200)
        tls.certificateChain = chain.map { .certificate($0) }
        tls.privateKey = .privateKey(key)
        do {
            _ = try NIOSSLContext(configuration: tls)
        } catch {
            throw failure(
                "\(configuration.keyFile) is not the key of \(configuration.certificateFile).",
                "Name a certificate and a key that belong together.")
        }
        return tls
    }

    private static func read<Value>(
        _ file: String, _ what: String, _ body: (String) throws -> Value
    ) throws(ManagementClientError) -> Value {
        guard access(file, R_OK) == 0 else {
            let reason = errno == ENOENT ? "does not exist" : "cannot be read by this user"
            throw failure("\(file) \(reason).", "Name the \(what)'s PEM file, or correct its permissions.")
        }
        do {
            return try body(file)
        } catch {
            throw failure("\(file) holds no usable \(what).", "Name the \(what)'s PEM file.")
        }
    }

    private static func failure(_ detail: String, _ whatToDo: String) -> ManagementClientError {
        ManagementClientError(
            .certificate, title: "A certificate or key cannot be used", detail: detail, whatToDo: whatToDo)
    }
}
