// OpenSSL 3 offers part of its interface as function-like macros and typed stacks, neither of which
// Swift can import. Each function below gives one of them a callable name and nothing more; judgement
// stays in Swift. Source: OpenSSL 3.0 manual, SSL_CTX_set_min_proto_version(3), BIO_s_mem(3),
// X509_get_ext_d2i(3), RFC 5280 section 4.2.1.6 (subject alternative names).
#ifndef HSMCLUSTER_COPENSSL_SHIM_H
#define HSMCLUSTER_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>

// Allows TLS 1.3 and nothing else. Returns 1 on success.
static inline int COpenSSL_require_tls13(SSL_CTX *context) {
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1;
}

// Switches resumption off: every link proves its certificate anew.
static inline void COpenSSL_forbid_resumption(SSL_CTX *context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_num_tickets(context, 0);
}

// Lets SSL_write take a buffer again at another address, and take part of it.
static inline void COpenSSL_set_write_modes(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
}

// Demands and checks a certificate from the other side.
static inline void COpenSSL_require_peer_certificate(SSL_CTX *context, int depth) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(context, depth);
}

// Adds an intermediate certificate to the chain we present; takes its own reference.
static inline int COpenSSL_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
    return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}

// Never ask for a passphrase on a terminal: an encrypted key is an error.
static inline int COpenSSL_refuse_passphrase(char *buffer, int size, int writing, void *context) {
    (void)buffer; (void)size; (void)writing; (void)context;
    return -1;
}

// Reads an unencrypted private key; NULL when there is none, or when it needs a passphrase.
static inline EVP_PKEY *COpenSSL_read_private_key(BIO *source) {
    return PEM_read_bio_PrivateKey(source, NULL, COpenSSL_refuse_passphrase, NULL);
}

// Reads the next certificate; NULL at the end or on an error, which the error queue tells apart.
static inline X509 *COpenSSL_read_certificate(BIO *source) {
    return PEM_read_bio_X509(source, NULL, COpenSSL_refuse_passphrase, NULL);
}

// Whether the error says only that no further PEM block follows.
static inline int COpenSSL_is_end_of_pem(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

// Whether the error says that a passphrase was wanted.
static inline int COpenSSL_is_passphrase_wanted(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_BAD_PASSWORD_READ;
}

static inline int COpenSSL_error_library(unsigned long error) { return ERR_GET_LIB(error); }
static inline int COpenSSL_error_reason(unsigned long error) { return ERR_GET_REASON(error); }

// Compares a certificate's bound with the present: -1 before, 1 after, 0 unreadable.
static inline int COpenSSL_compare_with_now(const ASN1_TIME *time) {
    return time == NULL ? 0 : X509_cmp_current_time(time);
}

// A stack of certificates that owns references.
static inline STACK_OF(X509) *COpenSSL_new_stack(void) { return sk_X509_new_null(); }
static inline int COpenSSL_push(STACK_OF(X509) *stack, X509 *certificate) {
    if (X509_up_ref(certificate) != 1) return 0;
    if (sk_X509_push(stack, certificate) > 0) return 1;
    X509_free(certificate);
    return 0;
}
static inline void COpenSSL_free_stack(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }

// Copies the URI at `index` (counted among the URI names only) of the certificate's subject alternative
// names into `output`. Returns its length, -1 when there is none, -2 when it doesn't fit or holds a NUL.
static inline int COpenSSL_subject_uri(const X509 *certificate, int index, char *output, int capacity) {
    GENERAL_NAMES *names =
        (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    if (names == NULL) return -1;
    int result = -1, seen = 0;
    for (int position = 0; position < sk_GENERAL_NAME_num(names); position++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, position);
        if (name->type != GEN_URI || seen++ != index) continue;
        int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
        const unsigned char *bytes = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        result = -2;
        if (length >= 0 && length <= capacity && memchr(bytes, 0, (size_t)length) == NULL) {
            memcpy(output, bytes, (size_t)length);
            result = length;
        }
        break;
    }
    GENERAL_NAMES_free(names);
    return result;
}

// Whether the extended key usage is present and names both roles of TLS.
static inline int COpenSSL_serves_both_roles(X509 *certificate) {
    if ((X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) == 0) return 0;
    uint32_t usage = X509_get_extended_key_usage(certificate);
    return (usage & XKU_SSL_SERVER) != 0 && (usage & XKU_SSL_CLIENT) != 0;
}

// accept4(2) is a GNU extension, which Swift's Glibc module leaves out. It stands here, beside the other
// functions of the one target that needs it, because setting close-on-exec in a second step would let a
// child process that is started in between keep the connection.
extern int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
static inline int COpenSSL_accept_without_inheritance(int listener, struct sockaddr *address,
                                                      socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

#endif
