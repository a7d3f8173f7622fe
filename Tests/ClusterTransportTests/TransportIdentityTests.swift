// A wrong file must fail the start with a named error that says which file it is.

import ClusterModel
import Foundation
import Testing

@testable import ClusterTransport

extension SocketAndCertificateTests {
    @Suite struct TransportIdentityTests {
        private let authority: TestAuthority
        private let good: TransportIdentity
        private let expected = NodeIdentityURI(clusterName: "test", node: NodeID(1))

        init() throws {
            authority = try TestAuthority()
            good = try authority.identity(of: 1)
        }

        private func fault(of identity: TransportIdentity, node: UInt64 = 1, cluster: String = "test")
            -> TransportSetupError?
        {
            do throws(TransportSetupError) {
                try identity.check(local: NodeID(node), clusterName: cluster)
                return nil
            } catch { return error }
        }

        private func write(_ text: String, to name: String, mode: Int = 0o600) throws -> String {
            let path = authority.folder + "/" + name
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            return path
        }

        @Test func goodFilesOfBothKeyTypesPass() throws {
            #expect(fault(of: good) == nil)
            #expect(fault(of: try authority.identity(of: 1, key: .p256)) == nil)
        }

        @Test func missingFilesAreNamed() {
            let path = authority.folder + "/absent.pem"
            var identity = good
            identity.certificateChainPath = path
            #expect(fault(of: identity) == .fileMissing(path: path))
            identity = good
            identity.privateKeyPath = path
            #expect(fault(of: identity) == .fileMissing(path: path))
            identity = good
            identity.authorityPath = path
            #expect(fault(of: identity) == .fileMissing(path: path))
        }

        @Test func folderInPlaceOfAFileIsNamed() {
            var identity = good
            identity.privateKeyPath = authority.folder
            #expect(fault(of: identity) == .fileUnreadable(path: authority.folder, errno: EISDIR))
        }

        @Test func filesThatAreNotPEMAreNamed() throws {
            let path = try write("not a certificate\n", to: "text.pem")
            var identity = good
            identity.certificateChainPath = path
            #expect(fault(of: identity) == .notPEM(path: path, expected: "CERTIFICATE"))
            identity = good
            identity.privateKeyPath = path
            #expect(fault(of: identity) == .notPEM(path: path, expected: "PRIVATE KEY"))
            identity = good
            identity.authorityPath = path
            #expect(fault(of: identity) == .notPEM(path: path, expected: "CERTIFICATE"))
            identity.authorityPath = try write("", to: "empty.pem")
            #expect(fault(of: identity) == .notPEM(path: identity.authorityPath, expected: "CERTIFICATE"))
        }

        @Test func damagedSecondCertificateIsNoticed() throws {
            let whole = try String(contentsOfFile: good.certificateChainPath, encoding: .utf8)
            var identity = good
            identity.certificateChainPath = try write(whole + whole.prefix(200), to: "cut.pem")
            #expect(
                fault(of: identity) == .notPEM(path: identity.certificateChainPath, expected: "CERTIFICATE"))
        }

        @Test func keyOfAnotherCertificateIsNamed() throws {
            var identity = good
            identity.privateKeyPath = try authority.identity(of: 2).privateKeyPath
            #expect(
                fault(of: identity)
                    == .keyDoesNotMatchCertificate(
                        keyPath: identity.privateKeyPath, certificatePath: good.certificateChainPath))
        }

        @Test func encryptedKeyIsNamedAndNobodyIsAskedForAPassphrase() throws {
            var identity = good
            identity.privateKeyPath = authority.folder + "/encrypted.key"
            try TestAuthority.openssl([
                "pkcs8", "-topk8", "-in", good.privateKeyPath, "-out", identity.privateKeyPath, "-passout",
                "pass:test",
            ])
            #expect(fault(of: identity) == .privateKeyEncrypted(path: identity.privateKeyPath))
        }

        @Test func keyThatEveryoneMayReadIsRefused() throws {
            let text = try String(contentsOfFile: good.privateKeyPath, encoding: .utf8)
            var identity = good
            identity.privateKeyPath = try write(text, to: "open.key", mode: 0o644)
            #expect(fault(of: identity) == .privateKeyExposed(path: identity.privateKeyPath))
        }

        @Test func expiredCertificateIsNamed() throws {
            let old = try authority.issue("old", names: "URI:\(expected)", days: -1)
            #expect(fault(of: old) == .certificateExpired(path: old.certificateChainPath))
        }

        @Test func certificateWithoutOneIdentityIsNamed() throws {
            for (name, names) in [
                ("none", "DNS:node1"), ("two", "URI:\(expected),URI:hsmcluster://test/node/2"),
                ("odd", "URI:hsmcluster://test/node/01"),
            ] {
                let identity = try authority.issue(name, names: names)
                #expect(
                    fault(of: identity)
                        == .nodeIdentityMissing(path: identity.certificateChainPath, expected: expected))
            }
            #expect(
                fault(of: try authority.issue("more", names: "DNS:node1,URI:https://x.test/,URI:\(expected)"))
                    == nil)
        }

        @Test func certificateOfAnotherNodeOrClusterIsNamed() {
            let path = good.certificateChainPath
            #expect(
                fault(of: good, node: 2)
                    == .identityOfOtherNode(
                        path: path, expected: NodeIdentityURI(clusterName: "test", node: NodeID(2)),
                        found: expected))
            #expect(
                fault(of: good, cluster: "other")
                    == .identityOfOtherNode(
                        path: path, expected: NodeIdentityURI(clusterName: "other", node: NodeID(1)),
                        found: expected))
        }

        @Test func certificateForOneRoleOnlyIsNamed() throws {
            for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth"), ("any", nil)]
                as [(String, String?)]
            {
                let identity = try authority.issue(name, names: "URI:\(expected)", usage: usage)
                #expect(fault(of: identity) == .purposeMissing(path: identity.certificateChainPath))
            }
        }

        @Test func certificateOfAnotherAuthorityIsNamed() throws {
            var identity = good
            let other = try TestAuthority()
            identity.authorityPath = other.certificatePath
            guard
                case .notIssuedByAuthority(good.certificateChainPath, other.certificatePath, _) = fault(
                    of: identity)
            else {
                Issue.record("found \(String(describing: fault(of: identity)))")
                return
            }
        }

        @Test func clusterNameThatCannotStandInACertificateIsNamed() {
            #expect(fault(of: good, cluster: "a b") == .clusterNameInvalid("a b"))
        }

        @Test func everyErrorSaysWhatToDo() {
            let all: [TransportSetupError] = [
                .fileMissing(path: "p"), .fileUnreadable(path: "p", errno: EACCES),
                .privateKeyEncrypted(path: "p"),
                .certificateExpired(path: "p"), .listenFailed(address: "a", errno: EADDRINUSE),
                .alreadyStarted,
                .peersInvalid(NodeID(0)),
            ]
            for error in all { #expect(error.description.contains(":")) }
        }
    }
}
