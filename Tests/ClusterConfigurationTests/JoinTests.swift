import ClusterConfiguration
import Testing

@Suite struct JoinTests {
    @Test(arguments: [("", false), ("\njoin: false", false), ("\njoin: true", true)])
    func onlyAnExplicitWordMakesANodeJoin(line: String, joins: Bool) throws {
        #expect(try NodeConfiguration.parse(Samples.node + line, file: "/c/node.yaml").isJoining == joins)
    }

    @Test(arguments: ["yes", "1", "True", "[true]"])
    func anyOtherWordIsAnError(word: String) {
        do {
            _ = try NodeConfiguration.parse(Samples.node + "\njoin: \(word)", file: "/c/node.yaml")
            Issue.record("\(word) was taken")
        } catch {
            #expect("\(error)".contains("join"))
        }
    }
}
