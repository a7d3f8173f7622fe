// The parser sees bytes from the network, so it's tested with every way of cutting them and with noise.

import ClusterModel
import Testing

@testable import ClusterTransport

@Suite struct FrameParserTests {
    private let frames = [
        Frame(kind: 1, payload: []), Frame(kind: 0xFEFF, payload: [7]),
        Frame(kind: 2, payload: Array(0..<200)),
    ]

    private var encoded: [UInt8] {
        var output: [UInt8] = []
        for frame in frames { frame.encode(into: &output) }
        return output
    }

    private func drain(_ parser: inout FrameParser) throws -> [Frame] {
        var found: [Frame] = []
        while let frame = try parser.next() { found.append(frame) }
        return found
    }

    @Test func headerIsEightBigEndianBytes() {
        var output: [UInt8] = []
        Frame(kind: 0x1234, payload: [9, 8]).encode(into: &output)
        #expect(output == [0, 0, 0, 2, 0, 1, 0x12, 0x34, 9, 8])
    }

    @Test func framesSurviveEverySplit() throws {
        let bytes = encoded
        for cut in 0...bytes.count {
            var parser = FrameParser(maxFrameBytes: 1000)
            parser.append(bytes[..<cut])
            var found = try drain(&parser)
            parser.append(bytes[cut...])
            found += try drain(&parser)
            #expect(found == frames)
            #expect(parser.bufferedBytes == 0)
        }
    }

    @Test func framesSurviveSingleBytes() throws {
        var parser = FrameParser(maxFrameBytes: 1000)
        var found: [Frame] = []
        for byte in encoded + encoded {
            parser.append([byte])
            found += try drain(&parser)
        }
        #expect(found == frames + frames)
    }

    @Test func oversizedFrameIsRefusedByItsLengthAlone() {
        var parser = FrameParser(maxFrameBytes: 10)
        parser.append([0, 0, 0, 11])
        #expect(throws: FrameFault.tooLarge(announced: 11, limit: 10)) { _ = try parser.next() }
    }

    @Test func largestFrameIsAccepted() throws {
        var parser = FrameParser(maxFrameBytes: 10)
        var bytes: [UInt8] = []
        Frame(kind: 3, payload: Array(repeating: 1, count: 10)).encode(into: &bytes)
        parser.append(bytes)
        #expect(try parser.next()?.payload.count == 10)
    }

    @Test func refusedParserStaysRefusedAndStoresNothing() {
        var parser = FrameParser(maxFrameBytes: 10)
        parser.append([0, 0, 0, 1, 0, 2])
        #expect(throws: FrameFault.unknownLayout(2)) { _ = try parser.next() }
        parser.append(encoded)
        #expect(parser.bufferedBytes == 0)
        #expect(throws: FrameFault.unknownLayout(2)) { _ = try parser.next() }
    }

    // Seeded noise in random portions: no crash, nothing above the bound, nothing invented.
    @Test func noiseNeverYieldsMoreThanItHolds() {
        var generator = SeededGenerator(seed: 20_240_229)
        for _ in 0..<5000 {
            var parser = FrameParser(maxFrameBytes: 64)
            var given = 0
            var taken = 0
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                var portion = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                // Half of the portions begin like a header, so that some get past it.
                if portion.count > 8, Bool.random(using: &generator) {
                    portion.replaceSubrange(0..<6, with: [0, 0, 0, portion[3] & 0x7F, 0, 1])
                }
                parser.append(portion)
                given += portion.count
                while let frame = try? parser.next() {
                    #expect(frame.payload.count <= 64)
                    taken += frame.encodedBytes
                }
                #expect(taken + parser.bufferedBytes <= given)
            }
        }
    }
}
