// OpenSSL reports errors through a queue that belongs to the thread. Dispatch moves our work between
// threads, but never within one call: so the queue is emptied before an operation and read right after
// it, on the same thread. Source: OpenSSL 3.0 manual, ERR_get_error(3), SSL_get_error(3).

import COpenSSL

enum OpenSSLErrors {
    /// Forgets what earlier calls of anyone on this thread left behind.
    static func clear() { ERR_clear_error() }

    /// The earliest error since `clear`, which is the cause of the later ones; 0 when there is none.
    static func first() -> UInt { ERR_peek_error() }

    /// The latest error since `clear`.
    static func last() -> UInt { ERR_peek_last_error() }

    /// OpenSSL's words for an error.
    static func text(of error: UInt) -> String {
        guard error != 0 else { return "no reason given" }
        guard let reason = ERR_reason_error_string(error) else { return "error \(error)" }
        return String(cString: reason)
    }

    /// What made a TLS operation fail, read from this thread's queue.
    static func tlsFailure(verifyResult: Int) -> LinkFailure {
        let error = first()
        guard error != 0 else { return .closedByPeer }
        let reason = Int(COpenSSL_error_reason(error))
        guard COpenSSL_error_library(error) == ERR_LIB_SSL else { return .tlsFailed(text(of: error)) }
        // An alert of the other side is reported as 1000 + its number (SSL_AD_REASON_OFFSET).
        if (alertOffset..<(alertOffset + 256)).contains(reason) {
            let alert = Int32(reason - alertOffset)
            if alert == SSL_AD_PROTOCOL_VERSION { return .tlsVersionTooOld }
            return .refusedByPeer("TLS alert: " + String(cString: SSL_alert_desc_string_long(alert)))
        }
        switch Int32(reason) {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return .certificateRejected(fault(of: verifyResult))
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return .certificateMissing
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW: return .tlsVersionTooOld
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_WRONG_VERSION_NUMBER,
            SSL_R_UNKNOWN_PROTOCOL, SSL_R_PACKET_LENGTH_TOO_LONG, SSL_R_BAD_RECORD_TYPE,
            SSL_R_NOT_ON_RECORD_BOUNDARY, SSL_R_RECORD_LENGTH_MISMATCH:
            return .notTLS
        default: return .tlsFailed(text(of: error))
        }
    }

    /// Our name for an X509_V_ERR value.
    static func fault(of verifyResult: Int) -> CertificateFault {
        switch Int32(verifyResult) {
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_CERT_SIGNATURE_FAILURE,
            X509_V_ERR_CERT_UNTRUSTED:
            .untrustedIssuer
        case X509_V_ERR_CERT_HAS_EXPIRED: .expired
        case X509_V_ERR_CERT_NOT_YET_VALID: .notYetValid
        case X509_V_ERR_INVALID_PURPOSE: .wrongPurpose
        default: .other(verifyResult)
        }
    }

    private static let alertOffset = 1000
}
