import ClusterModel

@testable import ClusterTransport

// What a peer says first, and what its certificate says it is. Both are read before anything is trusted.

enum Target: FuzzTarget {
    static let longestInput = 4200

    static func check(_ input: [UInt8]) {
        if let hello = Hello.decode(input) {
            hold(input.count <= Hello.maxBytes, "a hello is longer than allowed")
            hold(hello.minimumVersion <= hello.maximumVersion, "no version lies in the hello's range")
            hold(Hello.decode(hello.encoded) == hello, "a hello reads as another one")
            let own = Hello(minimumVersion: 1, maximumVersion: 3, clusterName: "local", node: NodeID(1))
            let common = own.commonVersion(with: hello)
            hold(common == hello.commonVersion(with: own), "the sides choose different versions")
            hold(common.map { (1...3).contains($0) } ?? true, "a version is chosen that one side lacks")
        }
        guard let text = String(validating: input, as: UTF8.self),
            let identity = NodeIdentityURI(text)
        else { return }
        hold(Array(identity.description.utf8) == input, "an identity has two spellings")
        hold(NodeIdentityURI.isValid(clusterName: identity.clusterName), "a cluster has an invalid name")
    }

    static func seeds() throws -> [Seed] {
        let hello = Hello(minimumVersion: 1, maximumVersion: 2, clusterName: "local", node: NodeID(3))
        let longest = Hello(
            minimumVersion: 0, maximumVersion: .max, clusterName: String(repeating: "ä", count: 127),
            node: NodeID(.max))
        let uri = NodeIdentityURI(clusterName: "local", node: NodeID(12)).description
        let words = ["hsmcluster://", "/node/"].map { Array($0.utf8) }
        return [
            Seed(name: "hello", bytes: hello.encoded), Seed(name: "longest", bytes: longest.encoded),
            Seed(name: "newer-field", bytes: [0, 9, 0, 3, 1, 2, 3] + hello.encoded),
            Seed(name: "uri", bytes: Array(uri.utf8), words: words),
        ]
    }
}
