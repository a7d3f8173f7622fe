// A node proves who it is with a certificate of the cluster's own authority. The three files are read
// once, at the start or on reload, and checked against each other and against the configuration before
// any connection is made: a wrong file should fail the start with a sentence, not every handshake with a
// riddle. Source: RFC 5280 (certificates), RFC 8446 (TLS 1.3), OpenSSL 3.0 manual.

import COpenSSL
import ClusterModel

/// Where a node's certificate, private key and cluster authority are kept. All PEM.
public struct TransportIdentity: Hashable, Sendable {
    /// The node's certificate, followed by intermediate certificates if there are any.
    public var certificateChainPath: String
    /// The private key of that certificate, unencrypted; Ed25519 or ECDSA P-256 are advised.
    public var privateKeyPath: String
    /// The authority that issues node certificates; several during its renewal.
    public var authorityPath: String

    /// The three files.
    public init(certificateChainPath: String, privateKeyPath: String, authorityPath: String) {
        self.certificateChainPath = certificateChainPath
        self.privateKeyPath = privateKeyPath
        self.authorityPath = authorityPath
    }

    /// Reads and checks the files without opening a connection, so that a configuration check can report
    /// what a start would.
    /// - Throws: the first fault found.
    public func check(local: NodeID, clusterName: String) throws(TransportSetupError) {
        _ = try TLSContext(
            identity: self, expected: NodeIdentityURI(clusterName: clusterName, node: local))
    }
}

/// TLS 1.3 with mutual certificates, ready for any number of connections in either role.
final class TLSContext: @unchecked Sendable {
    // Safe to share: the SSL_CTX is complete before `init` returns and isn't changed afterwards; OpenSSL
    // documents making connections (SSL_new) from one context in several threads as safe.
    let pointer: OpaquePointer

    /// Longest chain between a node's certificate and the authority.
    private static let maxChainDepth: Int32 = 4
    private static let securityLevel: Int32 = 2

    /// Reads the files of `identity`.
    /// - Throws: the first thing wrong with them.
    init(identity: TransportIdentity, expected: NodeIdentityURI) throws(TransportSetupError) {
        guard NodeIdentityURI.isValid(clusterName: expected.clusterName) else {
            throw .clusterNameInvalid(expected.clusterName)
        }
        let authorities = try CertificateList(path: identity.authorityPath)
        let chain = try CertificateList(path: identity.certificateChainPath)
        let key = try PrivateKey(path: identity.privateKeyPath)
        try chain.requireLeaf(validFor: expected)
        guard let leaf = chain.certificates.first, X509_check_private_key(leaf, key.pointer) == 1 else {
            throw .keyDoesNotMatchCertificate(
                keyPath: identity.privateKeyPath, certificatePath: identity.certificateChainPath)
        }
        try authorities.requireOneValid()

        OpenSSLErrors.clear()
        guard let context = SSL_CTX_new(TLS_method()) else {
            throw .refusedByOpenSSL(path: "TLS", reason: OpenSSLErrors.text(of: OpenSSLErrors.first()))
        }
        pointer = context
        SSL_CTX_set_security_level(context, TLSContext.securityLevel)
        COpenSSL_forbid_resumption(context)
        COpenSSL_set_write_modes(context)
        COpenSSL_require_peer_certificate(context, TLSContext.maxChainDepth)
        guard COpenSSL_require_tls13(context) == 1 else {
            throw .refusedByOpenSSL(path: "TLS 1.3", reason: OpenSSLErrors.text(of: OpenSSLErrors.first()))
        }
        for authority in authorities.certificates
        where X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) != 1 {
            throw refusal(of: identity.authorityPath)
        }
        try verify(chain: chain, identity: identity)
        guard SSL_CTX_use_certificate(context, leaf) == 1 else {
            throw refusal(of: identity.certificateChainPath)
        }
        for intermediate in chain.certificates.dropFirst()
        where COpenSSL_add_chain_certificate(context, intermediate) != 1 {
            throw refusal(of: identity.certificateChainPath)
        }
        guard SSL_CTX_use_PrivateKey(context, key.pointer) == 1 else {
            throw refusal(of: identity.privateKeyPath)
        }
    }

    deinit { SSL_CTX_free(pointer) }

    private func refusal(of path: String) -> TransportSetupError {
        .refusedByOpenSSL(path: path, reason: OpenSSLErrors.text(of: OpenSSLErrors.first()))
    }

    private func verify(chain: CertificateList, identity: TransportIdentity) throws(TransportSetupError) {
        let verification = X509_STORE_CTX_new()
        let untrusted = COpenSSL_new_stack()
        defer {
            X509_STORE_CTX_free(verification)
            COpenSSL_free_stack(untrusted)
        }
        for intermediate in chain.certificates.dropFirst() { COpenSSL_push(untrusted, intermediate) }
        guard
            X509_STORE_CTX_init(
                verification, SSL_CTX_get_cert_store(pointer), chain.certificates.first, untrusted) == 1
        else { throw refusal(of: identity.certificateChainPath) }
        guard X509_verify_cert(verification) != 1 else { return }
        let code = X509_STORE_CTX_get_error(verification)
        throw .notIssuedByAuthority(
            certificatePath: identity.certificateChainPath, authorityPath: identity.authorityPath,
            reason: String(cString: X509_verify_cert_error_string(Int(code))))
    }
}

/// The certificates of one PEM file, in order.
private final class CertificateList {
    let path: String
    private(set) var certificates: [OpaquePointer] = []

    /// More certificates than this in one file is a system bundle, not a cluster authority.
    private static let maxCertificates = 32

    init(path: String) throws(TransportSetupError) {
        self.path = path
        var bytes = try SystemCalls.contents(of: path, isSecret: false)
        let wasReadToTheEnd = bytes.withUnsafeMutableBytes { readAll(from: $0) }
        guard certificates.count <= CertificateList.maxCertificates else {
            throw .fileTooLarge(path: path)
        }
        guard wasReadToTheEnd, !certificates.isEmpty else {
            throw .notPEM(path: path, expected: "CERTIFICATE")
        }
    }

    deinit { for certificate in certificates { X509_free(certificate) } }

    /// Whether the last block was whole.
    private func readAll(from bytes: UnsafeMutableRawBufferPointer) -> Bool {
        let source = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
        defer { BIO_free(source) }
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        while let certificate = COpenSSL_read_certificate(source) {
            certificates.append(certificate)
            guard certificates.count <= CertificateList.maxCertificates else { return false }
        }
        return COpenSSL_is_end_of_pem(OpenSSLErrors.last()) == 1
    }

    func requireLeaf(validFor expected: NodeIdentityURI) throws(TransportSetupError) {
        guard let leaf = certificates.first else { throw .notPEM(path: path, expected: "CERTIFICATE") }
        if COpenSSL_compare_with_now(X509_get0_notAfter(leaf)) < 0 { throw .certificateExpired(path: path) }
        if COpenSSL_compare_with_now(X509_get0_notBefore(leaf)) > 0 {
            throw .certificateNotYetValid(path: path)
        }
        guard let found = PeerCertificate.identity(in: leaf) else {
            throw .nodeIdentityMissing(path: path, expected: expected)
        }
        guard found == expected else {
            throw .identityOfOtherNode(path: path, expected: expected, found: found)
        }
        guard COpenSSL_serves_both_roles(leaf) == 1 else { throw .purposeMissing(path: path) }
    }

    func requireOneValid() throws(TransportSetupError) {
        let valid = certificates.contains { COpenSSL_compare_with_now(X509_get0_notAfter($0)) > 0 }
        guard valid else { throw .certificateExpired(path: path) }
    }
}

/// A private key that is released with its owner.
private final class PrivateKey {
    let pointer: OpaquePointer

    init(path: String) throws(TransportSetupError) {
        var bytes = try SystemCalls.contents(of: path, isSecret: true)
        defer { bytes.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) } }
        OpenSSLErrors.clear()
        let key = bytes.withUnsafeMutableBytes { buffer -> OpaquePointer? in
            let source = BIO_new_mem_buf(buffer.baseAddress, Int32(buffer.count))
            defer { BIO_free(source) }
            return COpenSSL_read_private_key(source)
        }
        if let key {
            pointer = key
            return
        }
        let wantedPassphrase =
            COpenSSL_is_passphrase_wanted(OpenSSLErrors.last()) == 1
            || COpenSSL_is_passphrase_wanted(OpenSSLErrors.first()) == 1
        OpenSSLErrors.clear()
        if wantedPassphrase { throw .privateKeyEncrypted(path: path) }
        throw .notPEM(path: path, expected: "PRIVATE KEY")
    }

    deinit { EVP_PKEY_free(pointer) }
}

/// What a certificate says about its node.
enum PeerCertificate {
    private static let maxURIs = 16
    private static let maxURIBytes = 256

    /// The one `hsmcluster` identity in the certificate; nil when there is none or more than one.
    static func identity(in certificate: OpaquePointer) -> NodeIdentityURI? {
        var found: NodeIdentityURI?
        for index in 0..<maxURIs {
            var length: Int32 = -1
            let bytes = [CChar](unsafeUninitializedCapacity: maxURIBytes) { buffer, count in
                length = COpenSSL_subject_uri(
                    certificate, Int32(index), buffer.baseAddress, Int32(buffer.count))
                count = max(0, Int(length))
            }
            if length == -1 { return found }
            guard length >= 0 else { continue }
            let text = String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix(NodeIdentityURI.prefix) else { continue }
            guard found == nil, let identity = NodeIdentityURI(text) else { return nil }
            found = identity
        }
        return found
    }
}
