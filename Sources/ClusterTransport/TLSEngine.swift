// TLS as a machine without I/O: ciphertext from the network goes in, plaintext comes out, and the other
// way round. OpenSSL is given two memory buffers ("BIOs") in place of a socket, so it never waits and
// never cares which thread calls it, which fits Dispatch queues. The owner moves the bytes. An engine is
// used by one queue at a time. Source: OpenSSL 3.0 manual, BIO_s_mem(3), SSL_set0_rbio(3); RFC 8446.

import COpenSSL
import ClusterModel

/// One TLS connection without a socket.
final class TLSEngine {
    /// Who speaks first.
    enum Role { case client, server }

    private let ssl: OpaquePointer
    /// Ciphertext from the peer, for OpenSSL to read.
    private let incoming: OpaquePointer
    /// Ciphertext that OpenSSL wrote, for the peer.
    private let outgoing: OpaquePointer
    /// True once both sides' keys stand. With TLS 1.3 a client is here before the server has judged
    /// the client's certificate.
    private(set) var isHandshakeComplete = false
    private(set) var isClosedByPeer = false

    private static let chunkBytes = 16 * 1024

    /// A connection that has not begun.
    /// - Throws: `.tlsFailed` when OpenSSL has no memory left.
    init(context: TLSContext, role: Role) throws(LinkFailure) {
        OpenSSLErrors.clear()
        guard let ssl = SSL_new(context.pointer) else {
            throw .tlsFailed(OpenSSLErrors.text(of: OpenSSLErrors.first()))
        }
        guard let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem()) else {
            SSL_free(ssl)
            throw .tlsFailed("out of memory")
        }
        self.ssl = ssl
        self.incoming = incoming
        self.outgoing = outgoing
        SSL_set0_rbio(ssl, incoming)
        SSL_set0_wbio(ssl, outgoing)
        switch role {
        case .client: SSL_set_connect_state(ssl)
        case .server: SSL_set_accept_state(ssl)
        }
    }

    // Frees both BIOs too: the SSL owns them since SSL_set0_rbio and SSL_set0_wbio.
    deinit { SSL_free(ssl) }

    /// Takes in ciphertext and moves the handshake on. Call with no bytes to begin as a client.
    /// - Throws: the failure that ends this connection; `takeCiphertext` may then still hold an alert.
    func receive(_ ciphertext: UnsafeRawBufferPointer) throws(LinkFailure) {
        if let base = ciphertext.baseAddress, !ciphertext.isEmpty {
            let taken = BIO_write(incoming, base, Int32(ciphertext.count))
            guard Int(taken) == ciphertext.count else { throw .tlsFailed("out of memory") }
        }
        guard !isHandshakeComplete else { return }
        OpenSSLErrors.clear()
        let result = SSL_do_handshake(ssl)
        if result == 1 {
            isHandshakeComplete = true
            return
        }
        try judge(result)
    }

    /// Appends all plaintext that has become readable to `output`.
    /// - Throws: the failure that ends this connection. A proper end by the peer isn't thrown; it sets
    ///   `isClosedByPeer`.
    func readPlaintext(into output: inout [UInt8]) throws(LinkFailure) {
        guard isHandshakeComplete else { return }
        while !isClosedByPeer {
            OpenSSLErrors.clear()
            var result: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: TLSEngine.chunkBytes) { buffer, count in
                result = SSL_read(ssl, buffer.baseAddress, Int32(buffer.count))
                count = max(0, Int(result))
            }
            if result > 0 {
                output.append(contentsOf: chunk)
            } else {
                try judge(result)
                if !isClosedByPeer { return }
            }
        }
    }

    /// Encrypts `plaintext`; the result waits in `takeCiphertext`. Only after the handshake.
    func write(_ plaintext: ArraySlice<UInt8>) throws(LinkFailure) {
        var rest = plaintext
        while !rest.isEmpty {
            OpenSSLErrors.clear()
            let result = rest.withUnsafeBytes { SSL_write(ssl, $0.baseAddress, Int32($0.count)) }
            guard result > 0 else {
                try judge(result)
                throw .tlsFailed("write refused")
            }
            rest = rest.dropFirst(Int(result))
        }
    }

    /// Ciphertext that waits to be sent, in bytes.
    var pendingCiphertextBytes: Int { Int(BIO_ctrl_pending(outgoing)) }

    /// Takes out at most `limit` bytes of ciphertext to be sent.
    func takeCiphertext(upTo limit: Int) -> [UInt8] {
        let wanted = min(limit, pendingCiphertextBytes)
        guard wanted > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            count = max(0, Int(BIO_read(outgoing, buffer.baseAddress, Int32(wanted))))
        }
    }

    /// Queues the notice that we close; the peer then knows that nothing was cut off.
    func close() {
        guard isHandshakeComplete else { return }
        OpenSSLErrors.clear()
        _ = SSL_shutdown(ssl)
    }

    /// Who the peer is, as its certificate says; the chain was verified by the handshake.
    /// - Throws: `.certificateMissing`, `.nodeIdentityMissing`, `.certificateRejected`.
    func peerIdentity() throws(LinkFailure) -> NodeIdentityURI {
        guard let certificate = SSL_get1_peer_certificate(ssl) else { throw .certificateMissing }
        defer { X509_free(certificate) }
        let verdict = SSL_get_verify_result(ssl)
        guard verdict == Int(X509_V_OK) else {
            throw .certificateRejected(OpenSSLErrors.fault(of: verdict))
        }
        guard COpenSSL_serves_both_roles(certificate) == 1 else {
            throw .certificateRejected(.wrongPurpose)
        }
        guard let identity = PeerCertificate.identity(in: certificate) else { throw .nodeIdentityMissing }
        return identity
    }

    /// Sorts the outcome of a call that didn't succeed: waiting for bytes is no failure.
    private func judge(_ result: Int32) throws(LinkFailure) {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
        case SSL_ERROR_ZERO_RETURN: isClosedByPeer = true
        default: throw OpenSSLErrors.tlsFailure(verifyResult: SSL_get_verify_result(ssl))
        }
    }
}
