// What a node asks of one HSM endpoint, and what comes back. These are values, so the generation saga and
// the reconciler can be simulated without an HSM; the token host turns each request into PKCS#11 calls.
// No value here ever holds key material in clear: keys travel only as blobs wrapped inside an HSM.

/// One request to one endpoint. Every request has a deadline, kept by whoever sends it.
public enum EndpointRequest: Hashable, Sendable, Codable {
    /// Describe the token (C_GetTokenInfo, C_GetMechanismList). Needs no login.
    case inspect
    /// Log in with the endpoint's own PIN source. Refused without a call to the HSM when this very PIN has
    /// been rejected before.
    case logIn
    /// Forget that a PIN was rejected: an operator has said that it may be tried once more.
    case forgetRejectedPIN
    /// List the secret keys whose label starts with `labelPrefix`.
    case scan(labelPrefix: String)
    /// Make a key, or adopt the one that already bears this very identity. May have happened even when it fails.
    case generate(KeySpecification)
    /// The public half of the endpoint's transport key, made on first use.
    case transportKey
    /// Wrap the key `identity` for the endpoint that owns `destination`.
    case exportKey(identity: [UInt8], destination: TransportPublicKey)
    /// Unwrap a key that another endpoint wrapped for this one, or adopt the one that already bears this identity.
    case importKey(KeySpecification, WrappedKey)
    /// Prove which key bears `identity`: compute its check value and a probe derivation from `challenge`
    /// (16 to 64 bytes, a multiple of 16).
    case verify(identity: [UInt8], algorithm: KeyAlgorithm, challenge: [UInt8])
    /// Set CKA_EXTRACTABLE to false: no further replica can be made from this object.
    case restrict(identity: [UInt8])
    /// Destroy the secret key with exactly this CKA_ID and, but for a vendor's decoration, this label.
    case destroy(identity: [UInt8], label: String)

    /// True when the endpoint may have changed although no answer came: such a request is reconciled,
    /// never blindly repeated.
    public var mayHaveEffect: Bool {
        switch self {
        case .inspect, .scan, .verify, .exportKey, .logIn, .forgetRejectedPIN: false
        case .generate, .transportKey, .importKey, .restrict, .destroy: true
        }
    }

    /// The request's name, for logs and errors.
    public var name: String {
        switch self {
        case .inspect: "inspect"
        case .logIn: "log in"
        case .forgetRejectedPIN: "forget rejected PIN"
        case .scan: "scan"
        case .generate: "generate"
        case .transportKey: "transport key"
        case .exportKey: "export"
        case .importKey: "import"
        case .verify: "verify"
        case .restrict: "restrict"
        case .destroy: "destroy"
        }
    }
}

/// The key object to be made or unwrapped.
public struct KeySpecification: Hashable, Sendable, Codable {
    /// The exact CKA_ID.
    public var identity: [UInt8]
    /// The exact CKA_LABEL, such as `CMS MK 4099`.
    public var label: String
    /// Decides CKA_KEY_TYPE and CKA_VALUE_LEN.
    public var algorithm: KeyAlgorithm
    /// Decides CKA_DERIVE, CKA_SIGN and so on.
    public var usage: KeyUsage
    /// CKA_EXTRACTABLE: true where later replicas are to be made from this object (always wrapped).
    public var isExtractable: Bool

    /// Puts a specification together.
    public init(
        identity: [UInt8], label: String, algorithm: KeyAlgorithm, usage: KeyUsage, isExtractable: Bool
    ) {
        self.identity = identity
        self.label = label
        self.algorithm = algorithm
        self.usage = usage
        self.isExtractable = isExtractable
    }
}

/// The public half of an endpoint's RSA transport key (RFC 8017 §3.1), big-endian.
public struct TransportPublicKey: Hashable, Sendable, Codable {
    /// CKA_MODULUS.
    public var modulus: [UInt8]
    /// CKA_PUBLIC_EXPONENT.
    public var publicExponent: [UInt8]
    /// Puts a public key together.
    public init(modulus: [UInt8], publicExponent: [UInt8]) {
        self.modulus = modulus
        self.publicExponent = publicExponent
    }
}

/// A key as it crosses from one endpoint to another: a one-time AES-256 key under RSA-OAEP (RFC 8017 §7.1),
/// and the master key under that one with AES key wrap (RFC 3394). Both are opaque outside the HSMs.
public struct WrappedKey: Hashable, Sendable, Codable {
    /// The one-time key, wrapped for the destination's transport key.
    public var encryptedWrappingKey: [UInt8]
    /// The master key, wrapped under the one-time key.
    public var encryptedKey: [UInt8]
    /// True when OAEP used SHA-256, false for SHA-1 (all that some tokens offer).
    public var usesSHA256: Bool
    /// Puts a wrapped key together.
    public init(encryptedWrappingKey: [UInt8], encryptedKey: [UInt8], usesSHA256: Bool) {
        self.encryptedWrappingKey = encryptedWrappingKey
        self.encryptedKey = encryptedKey
        self.usesSHA256 = usesSHA256
    }
}

/// The answer to an `EndpointRequest`.
public enum EndpointReply: Hashable, Sendable, Codable {
    /// To `inspect`.
    case token(TokenDescription)
    /// To `scan`: at most `EndpointLimits.scanObjects`, in no particular order.
    case objects([KeyObject])
    /// To `transportKey`.
    case transportKey(TransportPublicKey)
    /// To `exportKey`.
    case wrapped(WrappedKey)
    /// To `verify`.
    case proof(KeyProof)
    /// To `destroy`: how many objects were destroyed (0 when there was none).
    case destroyed(Int)
    /// To `generate` and `importKey`: true when an object with this identity already stood there.
    case made(adopted: Bool)
    /// To `logIn`, `forgetRejectedPIN` and `restrict`.
    case done
}

/// A token as it describes itself (PKCS#11 §4.5, CK_TOKEN_INFO).
public struct TokenDescription: Hashable, Sendable, Codable {
    /// The token's label, without padding.
    public var label: String
    /// The serial number, without padding.
    public var serialNumber: String
    /// The manufacturer, without padding.
    public var manufacturer: String
    /// The model, without padding.
    public var model: String
    /// The mechanisms that the token lists, as CKM_ numbers in ascending order.
    public var mechanisms: [UInt64]
    /// True when the token host is logged in.
    public var isLoggedIn: Bool
    /// What the token says of each mechanism; nil from a token host of an earlier version.
    public var mechanismDetails: [MechanismDescription]?
    /// Puts a description together.
    public init(
        label: String, serialNumber: String, manufacturer: String, model: String, mechanisms: [UInt64],
        isLoggedIn: Bool, mechanismDetails: [MechanismDescription]? = nil
    ) {
        self.label = label
        self.serialNumber = serialNumber
        self.manufacturer = manufacturer
        self.model = model
        self.mechanisms = mechanisms
        self.isLoggedIn = isLoggedIn
        self.mechanismDetails = mechanismDetails
    }
}

/// What a token says of one mechanism (PKCS#11 §4.5, CK_MECHANISM_INFO).
public struct MechanismDescription: Hashable, Sendable, Codable {
    /// The CKM_ number.
    public var type: UInt64
    /// The smallest key, in bits or bytes as the mechanism has it.
    public var minimumKeySize: UInt64
    /// The largest key, in the same unit.
    public var maximumKeySize: UInt64
    /// CKF_ flags.
    public var flags: UInt64
    /// Puts a description together.
    public init(type: UInt64, minimumKeySize: UInt64, maximumKeySize: UInt64, flags: UInt64) {
        self.type = type
        self.minimumKeySize = minimumKeySize
        self.maximumKeySize = maximumKeySize
        self.flags = flags
    }
}

/// A secret key object as `scan` finds it.
public struct KeyObject: Hashable, Sendable, Codable {
    /// CKA_LABEL as the token gives it (Primus may append `@?!` and a number).
    public var label: String
    /// CKA_ID.
    public var identity: [UInt8]
    /// The algorithm; nil when it is none that a master key has, or when the token does not tell an AES key's
    /// length (SoftHSM does not for an unwrapped one).
    public var algorithm: KeyAlgorithm?
    /// CKA_SENSITIVE.
    public var isSensitive: Bool
    /// CKA_EXTRACTABLE.
    public var isExtractable: Bool
    /// Puts an object together.
    public init(
        label: String, identity: [UInt8], algorithm: KeyAlgorithm?, isSensitive: Bool, isExtractable: Bool
    ) {
        self.label = label
        self.identity = identity
        self.algorithm = algorithm
        self.isSensitive = isSensitive
        self.isExtractable = isExtractable
    }
}

/// Why a request to an endpoint did not succeed. Carries no secrets.
public struct EndpointFailure: Error, Hashable, Sendable, Codable {
    /// What kind of failure it is; decides what to do next.
    public enum Kind: String, Hashable, Sendable, Codable {
        /// No answer within the deadline. The call may still succeed later.
        case deadlineExceeded
        /// The token host died, was killed, or could not be reached.
        case tokenHostLost
        /// The module could not be loaded: the path, the file or its initialization is at fault.
        case moduleUnavailable
        /// The module works, but no token matches the selector.
        case tokenNotFound
        /// The PIN source could not be read.
        case pinUnavailable
        /// The token said that the PIN is wrong, locked or expired; or this PIN was rejected before.
        case credentialRejected
        /// The call returned CKR_…; see `function` and `returnValue`.
        case returnValue
        /// No object has this identity.
        case keyNotFound
        /// The key may not leave the endpoint (CKA_EXTRACTABLE is false).
        case keyNotExtractable
        /// An object with this identity stands there but is not the key it should be.
        case keyMismatch
        /// The endpoint lacks a mechanism that the request needs.
        case mechanismMissing
        /// All session threads are busy and the queue is full: busy, not broken.
        case busy
        /// The request itself is malformed.
        case invalidRequest
        /// The session is not logged in.
        case notLoggedIn
    }

    /// What kind of failure it is.
    public var kind: Kind
    /// The failing C function, such as `C_GenerateKey`, when there was one.
    public var function: String?
    /// Its CKR_ value, when there was one.
    public var returnValue: UInt64?
    /// One sentence for people. Never a secret.
    public var detail: String

    /// Puts a failure together.
    public init(_ kind: Kind, function: String? = nil, returnValue: UInt64? = nil, detail: String) {
        self.kind = kind
        self.function = function
        self.returnValue = returnValue
        self.detail = detail
    }
}

/// Bounds on what a request or an answer may hold.
public enum EndpointLimits {
    /// The most objects in one `scan` answer.
    public static let scanObjects = 10_000
    /// The most bytes of a label or identity.
    public static let attributeBytes = 512
    /// The most bytes of a wrapped key or modulus.
    public static let blobBytes = 4_096
}

/// What the node knows of the token host that serves one endpoint on its machine.
public enum TokenHostState: Hashable, Sendable, Codable {
    /// The process is being started or found.
    case starting
    /// The process answers; the module is loaded and the token is there.
    case serving(TokenDescription, pin: PINState)
    /// No service; it is retried in the background.
    case failed(EndpointFailure)
}

/// What a token host remembers of the PIN that its source holds now.
public enum PINState: String, Hashable, Sendable, Codable {
    /// Never tried on this endpoint by this node.
    case untried
    /// Accepted the last time; it may be used again without asking.
    case accepted
    /// Rejected by the token; it is never tried again.
    case rejected
}
