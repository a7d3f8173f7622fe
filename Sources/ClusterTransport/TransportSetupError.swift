// What can be wrong before the first connection: files, certificates, addresses. All of it is found when
// the transport starts or reloads its identity, and each fault names the file and what to do, since the
// person who reads it has probably just edited a configuration.

import ClusterModel

/// Why a transport can't be set up.
public enum TransportSetupError: Error, Hashable, Sendable {
    /// No such file.
    case fileMissing(path: String)
    /// The file is there but can't be read; the errno says why.
    case fileUnreadable(path: String, errno: Int32)
    /// The file is larger than any certificate or key.
    case fileTooLarge(path: String)
    /// The file holds no PEM block of the wanted kind, or a damaged one.
    case notPEM(path: String, expected: String)
    /// The private key needs a passphrase, which a service can't type.
    case privateKeyEncrypted(path: String)
    /// Every user of the machine may read the private key.
    case privateKeyExposed(path: String)
    /// The private key belongs to another certificate.
    case keyDoesNotMatchCertificate(keyPath: String, certificatePath: String)
    /// The validity of the certificate (or of every authority) has ended.
    case certificateExpired(path: String)
    /// The validity of the certificate has not begun.
    case certificateNotYetValid(path: String)
    /// The certificate doesn't chain to the authority; the text is OpenSSL's reason.
    case notIssuedByAuthority(certificatePath: String, authorityPath: String, reason: String)
    /// The certificate has no (or more than one) `hsmcluster://` alternative name.
    case nodeIdentityMissing(path: String, expected: NodeIdentityURI)
    /// The certificate is of another node or cluster.
    case identityOfOtherNode(path: String, expected: NodeIdentityURI, found: NodeIdentityURI)
    /// The extended key usage lacks serverAuth or clientAuth.
    case purposeMissing(path: String)
    /// OpenSSL refused the certificate or key; the text is its reason.
    case refusedByOpenSSL(path: String, reason: String)
    /// The cluster's name can't stand in a certificate.
    case clusterNameInvalid(String)
    /// Node 0, or the local node among its own peers, or a peer named twice.
    case peersInvalid(NodeID)
    /// The address to listen on doesn't resolve.
    case listenAddressUnresolvable(host: String)
    /// socket, bind or listen failed with this errno.
    case listenFailed(address: String, errno: Int32)
    /// The inherited descriptor isn't a listening TCP socket.
    case descriptorNotListening(Int32)
    /// `start()` was called before, or after `stop()`.
    case alreadyStarted
}

extension TransportSetupError: CustomStringConvertible {
    /// One line: what is wrong and what to do.
    public var description: String {
        switch self {
        case .fileMissing(let path): "\(path) does not exist: create it or correct the path"
        case .fileUnreadable(let path, let number):
            "\(path) cannot be read (\(SystemCalls.text(ofErrno: number))): check its owner and mode"
        case .fileTooLarge(let path): "\(path) is too large for a certificate or key: correct the path"
        case .notPEM(let path, let expected):
            "\(path) holds no readable PEM block of type \(expected): check that it is the right file, "
                + "in PEM form"
        case .privateKeyEncrypted(let path):
            "\(path) is protected by a passphrase: store it unencrypted with mode 0600, "
                + "or as a systemd credential"
        case .privateKeyExposed(let path):
            "\(path) is readable by every user of this machine: run chmod o-rwx on it"
        case .keyDoesNotMatchCertificate(let keyPath, let certificatePath):
            "\(keyPath) is not the private key of \(certificatePath): correct one of the two paths"
        case .certificateExpired(let path): "\(path) has expired: renew it"
        case .certificateNotYetValid(let path): "\(path) is not valid yet: check the clock of this machine"
        case .notIssuedByAuthority(let certificatePath, let authorityPath, let reason):
            "\(certificatePath) does not chain to \(authorityPath) (\(reason)): "
                + "issue it from this authority, or correct the path"
        case .nodeIdentityMissing(let path, let expected):
            "\(path) names no node: issue it with exactly one hsmcluster URI among its "
                + "subject alternative names, URI:\(expected)"
        case .identityOfOtherNode(let path, let expected, let found):
            "\(path) belongs to \(found), but this node is \(expected): correct the path, the cluster's name "
                + "or the node's number"
        case .purposeMissing(let path):
            "\(path) may not be used by both sides of a link: issue it with the extended key usages "
                + "serverAuth and clientAuth"
        case .refusedByOpenSSL(let path, let reason):
            "OpenSSL refuses \(path) (\(reason)): issue a stronger one"
        case .clusterNameInvalid(let name):
            "the cluster name \(name.debugDescription) is not 1 to \(NodeIdentityURI.maxClusterNameBytes) "
                + "of A-Z a-z 0-9 . _ -: choose another"
        case .peersInvalid(let node):
            "node \(node) is zero, listed twice or the local node itself: correct the list of peers"
        case .listenAddressUnresolvable(let host): "the listen address \(host) does not resolve: correct it"
        case .listenFailed(let address, let number):
            "cannot listen on \(address) (\(SystemCalls.text(ofErrno: number))): "
                + "check that the address is this machine's and the port is free"
        case .descriptorNotListening(let descriptor):
            "descriptor \(descriptor) is not a listening TCP socket: check ListenStream= in the socket unit"
        case .alreadyStarted: "a transport starts once: make a new one"
        }
    }
}
