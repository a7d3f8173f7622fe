// Every way in which a connection can end has a name, because the names are what an operator sees in the
// log and what tests assert. The cases say what happened; `advice` says what to do about it. Nothing in
// here may carry bytes from an unauthenticated peer except after they were cut and made printable.

import ClusterModel

/// What was wrong with a certificate that a peer presented.
public enum CertificateFault: Hashable, Sendable {
    /// It doesn't chain to our cluster's authority.
    case untrustedIssuer
    /// Its validity has ended.
    case expired
    /// Its validity has not begun; often a wrong clock.
    case notYetValid
    /// It may not be used for TLS by both sides.
    case wrongPurpose
    /// Another check of OpenSSL failed; the number is an X509_V_ERR value.
    case other(Int)
}

/// Why a connection was closed, refused or never came about.
public enum LinkFailure: Error, Hashable, Sendable {
    /// The peer's host name has no address, or its resolver didn't answer in time.
    case addressUnresolvable(host: String)
    /// connect(2) failed with this errno.
    case connectFailed(errno: Int32)
    /// No answer to our connection request within the connect deadline.
    case connectTimedOut
    /// The other side connected but didn't finish TLS in time.
    case handshakeTimedOut
    /// TLS stood but no hello came in time.
    case helloTimedOut
    /// The bytes are not TLS: HTTP, a port scan, a wrong port.
    case notTLS
    /// The other side offers only TLS versions before 1.3.
    case tlsVersionTooOld
    /// The other side presented no certificate.
    case certificateMissing
    /// The other side's certificate doesn't pass.
    case certificateRejected(CertificateFault)
    /// The certificate names no node (no `hsmcluster://…/node/…` alternative name, or several).
    case nodeIdentityMissing
    /// The certificate or hello belongs to another cluster.
    case otherCluster(String)
    /// The certificate is of another node than the one dialed.
    case unexpectedNode(expected: NodeID, presented: NodeID)
    /// The certificate is good, but no such peer is configured here.
    case unknownNode(NodeID)
    /// The higher number of each pair waits to be dialed; this peer dialed although it is the higher.
    case wrongDialDirection(NodeID)
    /// TLS failed otherwise; the text is OpenSSL's reason.
    case tlsFailed(String)
    /// The other side refused us and said why: a TLS alert or the name of its failure.
    case refusedByPeer(String)
    /// The hello can't be read, or something else came in its place.
    case helloMalformed
    /// The hello contradicts the certificate.
    case helloContradictsCertificate
    /// No protocol version in common.
    case noCommonVersion(theirs: ClosedRange<UInt16>)
    /// A frame larger than allowed was announced.
    case frameTooLarge(announced: Int)
    /// A frame header of another layout.
    case frameLayoutUnknown(UInt16)
    /// The other side closed the connection.
    case closedByPeer
    /// The connection broke with this errno.
    case connectionLost(errno: Int32)
    /// The same node connected anew, so this connection is the dead one.
    case replacedByNewerConnection
    /// Too many connections waited for authentication; the oldest had to go.
    case tooManyUnauthenticated
    /// This process has no free descriptors (the errno of accept(2)); accepting pauses briefly.
    case acceptFailed(errno: Int32)
    /// The membership changed and no longer has this peer.
    case peerRemoved
    /// This node is stopping.
    case stopped
}

extension LinkFailure {
    /// A stable name for logs and metrics, without details.
    public var name: String {
        switch self {
        case .addressUnresolvable: "addressUnresolvable"
        case .connectFailed: "connectFailed"
        case .connectTimedOut: "connectTimedOut"
        case .handshakeTimedOut: "handshakeTimedOut"
        case .helloTimedOut: "helloTimedOut"
        case .notTLS: "notTLS"
        case .tlsVersionTooOld: "tlsVersionTooOld"
        case .certificateMissing: "certificateMissing"
        case .certificateRejected: "certificateRejected"
        case .nodeIdentityMissing: "nodeIdentityMissing"
        case .otherCluster: "otherCluster"
        case .unexpectedNode: "unexpectedNode"
        case .unknownNode: "unknownNode"
        case .wrongDialDirection: "wrongDialDirection"
        case .tlsFailed: "tlsFailed"
        case .refusedByPeer: "refusedByPeer"
        case .helloMalformed: "helloMalformed"
        case .helloContradictsCertificate: "helloContradictsCertificate"
        case .noCommonVersion: "noCommonVersion"
        case .frameTooLarge: "frameTooLarge"
        case .frameLayoutUnknown: "frameLayoutUnknown"
        case .closedByPeer: "closedByPeer"
        case .connectionLost: "connectionLost"
        case .replacedByNewerConnection: "replacedByNewerConnection"
        case .tooManyUnauthenticated: "tooManyUnauthenticated"
        case .acceptFailed: "acceptFailed"
        case .peerRemoved: "peerRemoved"
        case .stopped: "stopped"
        }
    }

    /// What an operator should do, in one sentence; nil where nothing needs doing.
    public var advice: String? {
        switch self {
        case .addressUnresolvable: "check the peer's host name and the resolver"
        case .connectFailed, .connectTimedOut:
            "check that the peer runs and that a firewall lets its port through"
        case .notTLS: "something that isn't a node uses the node port; give it the right port"
        case .tlsVersionTooOld: "the other side must speak TLS 1.3"
        case .certificateMissing: "the other side must present its node certificate"
        case .certificateRejected(.untrustedIssuer):
            "issue the peer's certificate from this cluster's authority, or correct the authority file"
        case .certificateRejected(.expired): "renew the peer's certificate"
        case .certificateRejected(.notYetValid): "check the clocks of both machines"
        case .certificateRejected(.wrongPurpose):
            "issue the peer's certificate with the extended key usages serverAuth and clientAuth"
        case .certificateRejected(.other): "inspect the peer's certificate with openssl verify"
        case .nodeIdentityMissing:
            "issue the certificate with one subject alternative name URI:hsmcluster://CLUSTER/node/NUMBER"
        case .otherCluster: "the peer belongs to another cluster; correct its address or its cluster name"
        case .unexpectedNode: "the address belongs to another node; correct the peers in the configuration"
        case .unknownNode: "add the node to the peers, or stop it"
        case .wrongDialDirection: "both nodes must have the same numbers in their configuration"
        case .refusedByPeer: "look in the other node's log"
        case .noCommonVersion: "upgrade the older of the two nodes"
        case .acceptFailed: "raise the limit of open files of this process"
        case .handshakeTimedOut, .helloTimedOut, .tlsFailed, .helloMalformed, .helloContradictsCertificate,
            .frameTooLarge, .frameLayoutUnknown, .closedByPeer, .connectionLost,
            .replacedByNewerConnection, .tooManyUnauthenticated, .peerRemoved, .stopped:
            nil
        }
    }
}

extension LinkFailure: CustomStringConvertible {
    /// Name, detail and advice in one line.
    public var description: String {
        let detail: String? =
            switch self {
            case .addressUnresolvable(let host): host
            case .connectFailed(let number), .connectionLost(let number), .acceptFailed(let number):
                SystemCalls.text(ofErrno: number)
            case .certificateRejected(let fault): "\(fault)"
            case .otherCluster(let name): name
            case .unexpectedNode(let expected, let presented): "expected node \(expected), found \(presented)"
            case .unknownNode(let node), .wrongDialDirection(let node): "node \(node)"
            case .tlsFailed(let reason), .refusedByPeer(let reason): reason
            case .noCommonVersion(let theirs): "theirs: \(theirs)"
            case .frameTooLarge(let announced): "\(announced) bytes"
            case .frameLayoutUnknown(let layout): "layout \(layout)"
            default: nil
            }
        var text = name
        if let detail { text += " (\(detail))" }
        if let advice { text += ": \(advice)" }
        return text
    }
}
