// The hello is the first thing read from a peer; its identity rules decide who becomes a link.

import ClusterModel
import Testing

@testable import ClusterTransport

@Suite struct HelloTests {
    private let hello = Hello(minimumVersion: 2, maximumVersion: 5, clusterName: "test", node: NodeID(7))

    @Test func helloSurvivesTheWire() { #expect(Hello.decode(hello.encoded) == hello) }

    @Test func unknownFieldsAreSkipped() {
        #expect(Hello.decode([0x7F, 0, 0, 3, 1, 2, 3] + hello.encoded + [0x7F, 1, 0, 0]) == hello)
    }

    @Test func cutHelloIsRefusedAtEveryLength() {
        for length in 0..<hello.encoded.count {
            #expect(Hello.decode(Array(hello.encoded.prefix(length))) == nil)
        }
    }

    @Test func repeatedFieldIsRefused() { #expect(Hello.decode(hello.encoded + hello.encoded) == nil) }

    @Test func emptyVersionRangeIsRefused() {
        var other = hello
        other.maximumVersion = 1
        #expect(Hello.decode(other.encoded) == nil)
    }

    @Test func noiseIsRefusedWithoutHarm() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<5000 {
            var bytes = hello.encoded
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            _ = Hello.decode(bytes)
        }
    }

    @Test func highestCommonVersionIsChosen() {
        func common(_ theirs: ClosedRange<UInt16>) -> UInt16? {
            hello.commonVersion(
                with: Hello(
                    minimumVersion: theirs.lowerBound, maximumVersion: theirs.upperBound, clusterName: "test",
                    node: NodeID(1)))
        }
        #expect(common(1...3) == 3)
        #expect(common(5...9) == 5)
        #expect(common(3...4) == 4)
        #expect(common(1...1) == nil)
        #expect(common(6...9) == nil)
    }
}

@Suite struct NodeIdentityURITests {
    @Test func onlyTheExactSpellingNamesANode() {
        let good = NodeIdentityURI(clusterName: "cms-1", node: NodeID(12))
        #expect(NodeIdentityURI("hsmcluster://cms-1/node/12") == good)
        #expect(good.description == "hsmcluster://cms-1/node/12")
        for text in [
            "hsmcluster://cms-1/node/012", "hsmcluster://cms-1/node/+12", "hsmcluster://cms-1/node/0",
            "hsmcluster://cms-1/node/", "hsmcluster:///node/1", "hsmcluster://cms-1/node/12/",
            "hsmcluster://cms-1/nodes/12", "HSMCLUSTER://cms-1/node/12", "hsmcluster://a b/node/1",
            "hsmcluster://cms-1/node/99999999999999999999", "https://cms-1/node/12", "",
        ] { #expect(NodeIdentityURI(text) == nil, "\(text)") }
    }

    @Test func clusterNamesAreBounded() {
        #expect(NodeIdentityURI.isValid(clusterName: String(repeating: "a", count: 63)))
        #expect(!NodeIdentityURI.isValid(clusterName: String(repeating: "a", count: 64)))
        #expect(!NodeIdentityURI.isValid(clusterName: ""))
        #expect(!NodeIdentityURI.isValid(clusterName: "a/b"))
        #expect(!NodeIdentityURI.isValid(clusterName: "ä"))
    }
}
