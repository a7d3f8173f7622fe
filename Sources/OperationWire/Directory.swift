// What a node publishes for the applications of its machine: which endpoints there are and where their token hosts
// listen, which keys an application may see and on which endpoints a verified replica stands. It is a file, so that
// it stays valid when the node is stopped: the data path never waits for the control path. It holds no secrets.

import ClusterModel

/// The view of the cluster that applications work with.
public struct Directory: Hashable, Sendable {
    /// Grows with every change; also in the pulse page, which tells readers to read again.
    public var epoch: UInt64
    /// The cluster's name.
    public var clusterName: String
    /// CK_TOKEN_INFO's label, at most 32 bytes.
    public var tokenLabel: String
    /// CK_TOKEN_INFO's serial number, at most 16 bytes; derived from the cluster's name, so it never changes.
    public var tokenSerialNumber: String
    /// How long an operation may take when the application does not say, in milliseconds (2,000).
    public var deadlineMilliseconds: UInt32
    /// How long one endpoint is waited for before a second one is asked, in milliseconds (300).
    public var hedgeMilliseconds: UInt32
    /// True when applications have to log in before they may use keys.
    public var loginRequired: Bool
    /// In ascending order of names.
    public var endpoints: [Endpoint]
    /// The mechanisms that all endpoints in service have, in ascending order, each with the narrowest key sizes and the
    /// flags common to all.
    public var mechanisms: [MechanismDescription]
    /// In the order of their numbers.
    public var keys: [Key]

    /// An endpoint as applications reach it.
    public struct Endpoint: Hashable, Sendable {
        /// Whether operations go there.
        public enum Service: UInt8, Hashable, Sendable {
            /// It takes its share.
            case inService = 1
            /// It is used when no endpoint in service can be.
            case standby
            /// It is not used.
            case out
        }
        /// Its name in the configuration.
        public var name: String
        /// Whether operations go there.
        public var service: Service
        /// Its share, 1 at least.
        public var weight: UInt32
        /// Lower numbers first.
        public var priority: UInt32
        /// The most operations at once; 0 for no limit.
        public var concurrencyLimit: UInt32
        /// The path of its token host's data socket on this machine; empty when there is none here.
        public var socketPath: String
        /// Its failure table: the vendor's name and lines of overrides (see `Failover.FailureTable`).
        public var failureVendor: String
        /// Lines of overrides.
        public var failureOverrides: String

        /// Puts an endpoint together.
        public init(
            name: String, service: Service, weight: UInt32 = 1, priority: UInt32 = 0,
            concurrencyLimit: UInt32 = 0, socketPath: String, failureVendor: String = "standard",
            failureOverrides: String = ""
        ) {
            self.name = name
            self.service = service
            self.weight = weight
            self.priority = priority
            self.concurrencyLimit = concurrencyLimit
            self.socketPath = socketPath
            self.failureVendor = failureVendor
            self.failureOverrides = failureOverrides
        }
    }

    /// A key object of the cluster as applications see it.
    public struct Key: Hashable, Sendable {
        /// One replica that has been verified.
        public struct Replica: Hashable, Sendable {
            /// The endpoint's position in `Directory.endpoints`.
            public var endpoint: UInt32
            /// CKA_ID there.
            public var identifier: [UInt8]
            /// Puts a replica together.
            public init(endpoint: UInt32, identifier: [UInt8]) {
                self.endpoint = endpoint
                self.identifier = identifier
            }
        }

        /// What may be done with the key, and what may be told of it. Each bit is one CKA_ attribute.
        public struct Flags: OptionSet, Hashable, Sendable {
            /// The bits.
            public var rawValue: UInt32
            /// Wraps the bits.
            public init(rawValue: UInt32) { self.rawValue = rawValue }
            /// CKA_ENCRYPT.
            public static let encrypt = Flags(rawValue: 1 << 0)
            /// CKA_DECRYPT.
            public static let decrypt = Flags(rawValue: 1 << 1)
            /// CKA_SIGN.
            public static let sign = Flags(rawValue: 1 << 2)
            /// CKA_VERIFY.
            public static let verify = Flags(rawValue: 1 << 3)
            /// CKA_WRAP.
            public static let wrap = Flags(rawValue: 1 << 4)
            /// CKA_UNWRAP.
            public static let unwrap = Flags(rawValue: 1 << 5)
            /// CKA_DERIVE.
            public static let derive = Flags(rawValue: 1 << 6)
            /// CKA_SIGN_RECOVER.
            public static let signRecover = Flags(rawValue: 1 << 7)
            /// CKA_VERIFY_RECOVER.
            public static let verifyRecover = Flags(rawValue: 1 << 8)
            /// CKA_PRIVATE: seen by logged-in applications only.
            public static let isPrivate = Flags(rawValue: 1 << 9)
            /// CKA_SENSITIVE.
            public static let sensitive = Flags(rawValue: 1 << 10)
            /// CKA_EXTRACTABLE, as applications see it.
            public static let extractable = Flags(rawValue: 1 << 11)
            /// CKA_LOCAL.
            public static let local = Flags(rawValue: 1 << 12)
            /// CKA_ALWAYS_SENSITIVE.
            public static let alwaysSensitive = Flags(rawValue: 1 << 13)
            /// CKA_NEVER_EXTRACTABLE.
            public static let neverExtractable = Flags(rawValue: 1 << 14)
            /// CKA_TRUSTED.
            public static let trusted = Flags(rawValue: 1 << 15)
        }

        /// Stable number of this object, never used for another one; the application's object handle is made of
        /// it. From 1 to `DirectoryLimits.keyNumber`.
        public var number: UInt64
        /// CKO_ class.
        public var objectClass: UInt64
        /// CKK_ type (of a certificate: CKC_).
        public var keyType: UInt64
        /// CKA_LABEL.
        public var label: String
        /// CKA_ID as applications see it: the same on all machines.
        public var identifier: [UInt8]
        /// CKA_VALUE_LEN in bytes for secret keys; the modulus in bits for RSA; 0 where neither applies.
        public var length: UInt64
        /// What may be done with it.
        public var flags: Flags
        /// Further attributes that may be told: CKA_MODULUS, CKA_EC_PARAMS, a certificate's CKA_VALUE.
        public var attributes: [Attribute]
        /// In the order of their endpoints. A key without a replica in service is still listed.
        public var replicas: [Replica]

        /// Puts a key together.
        public init(
            number: UInt64, objectClass: UInt64, keyType: UInt64, label: String, identifier: [UInt8],
            length: UInt64, flags: Flags, attributes: [Attribute] = [], replicas: [Replica]
        ) {
            self.number = number
            self.objectClass = objectClass
            self.keyType = keyType
            self.label = label
            self.identifier = identifier
            self.length = length
            self.flags = flags
            self.attributes = attributes
            self.replicas = replicas
        }
    }

    /// A further attribute of a key.
    public struct Attribute: Hashable, Sendable {
        /// The CKA_ number.
        public var type: UInt64
        /// The value.
        public var value: [UInt8]
        /// Puts an attribute together.
        public init(type: UInt64, value: [UInt8]) {
            self.type = type
            self.value = value
        }
    }

    /// Puts a directory together.
    public init(
        epoch: UInt64, clusterName: String, tokenLabel: String, tokenSerialNumber: String,
        deadlineMilliseconds: UInt32 = 2_000, hedgeMilliseconds: UInt32 = 300, loginRequired: Bool = true,
        endpoints: [Endpoint], mechanisms: [MechanismDescription], keys: [Key]
    ) {
        self.epoch = epoch
        self.clusterName = clusterName
        self.tokenLabel = tokenLabel
        self.tokenSerialNumber = tokenSerialNumber
        self.deadlineMilliseconds = deadlineMilliseconds
        self.hedgeMilliseconds = hedgeMilliseconds
        self.loginRequired = loginRequired
        self.endpoints = endpoints
        self.mechanisms = mechanisms
        self.keys = keys
    }
}

/// Bounds of a directory.
public enum DirectoryLimits {
    /// The most bytes of the file.
    public static let fileBytes = 256 << 20
    /// The most endpoints.
    public static let endpoints = 256
    /// The most mechanisms.
    public static let mechanisms = 4_096
    /// The most keys.
    public static let keys = 200_000
    /// The most further attributes of one key.
    public static let attributes = 32
    /// The highest number of a key: object handles above belong to session objects.
    public static let keyNumber: UInt64 = 1 << 40
    /// The most bytes of a name, label or path.
    public static let textBytes = 1_024
    /// The most bytes of an endpoint's failure overrides.
    public static let overrideBytes = 65_536
}

/// The pulse page: a mapped file beside the directory whose counter tells readers to read the directory again.
/// `bytes` bytes: `magic`, then at `epochOffset` a 64-bit counter, written and read atomically.
public enum PulsePage {
    /// The file's name in the run directory.
    public static let fileName = "pulse"
    /// The directory's file name in the run directory.
    public static let directoryFileName = "directory"
    /// The file's length.
    public static let bytes = 4_096
    /// The first eight bytes.
    public static let magic: [UInt8] = Array("HSMCPUL1".utf8)
    /// Where the counter is.
    public static let epochOffset = 64
}
