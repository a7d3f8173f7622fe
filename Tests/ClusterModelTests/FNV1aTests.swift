import ClusterModel
import Testing

@Suite struct FNV1aTests {
    /// From the authors' list of test vectors.
    @Test(
        arguments: [
            ("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8),
        ] as [(String, UInt64)])
    func publishedVectorsHold(text: String, hash: UInt64) {
        #expect(FNV1a.hash(text.utf8) == hash)
    }

    @Test func piecesHashAsTheWhole() {
        var hash = FNV1a()
        hash.add("foo".utf8)
        hash.add("bar".utf8)
        #expect(hash.value == FNV1a.hash("foobar".utf8))
    }
}
