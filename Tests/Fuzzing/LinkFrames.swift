import ClusterTransport

// The stream between two nodes: however TCP cuts it into pieces, the same frames come out, and their encodings
// are exactly the bytes that went in.

enum Target: FuzzTarget {
    static let longestInput = 2048
    private static let limit = 512

    static func check(_ input: [UInt8]) {
        var reader = InputReader(input)
        let cuts = (0..<4).map { _ in 1 + reader.number(below: 32) }
        let stream = reader.remainder()
        let whole = parse([stream[...]])
        hold(parse(pieces(of: stream, cuts)) == whole, "the frames depend on where the stream is cut")
        var written: [UInt8] = []
        for frame in whole.frames {
            hold(frame.payload.count <= limit, "a frame is larger than allowed")
            frame.encode(into: &written)
        }
        hold(stream.starts(with: written), "the frames are not what was in the stream")
        if whole.fault == nil {
            hold(written.count + whole.buffered == stream.count, "bytes got lost")
        } else {
            hold(whole.buffered == 0, "bytes are kept after a fault")
        }
    }

    private struct Outcome: Equatable {
        var frames: [Frame] = []
        var fault: FrameFault?
        var buffered = 0
    }

    private static func parse(_ pieces: [ArraySlice<UInt8>]) -> Outcome {
        var parser = FrameParser(maxFrameBytes: limit)
        var outcome = Outcome()
        for piece in pieces {
            parser.append(piece)
            do {
                while let frame = try parser.next() { outcome.frames.append(frame) }
            } catch {
                hold(outcome.fault == nil || outcome.fault == error, "the fault changes")
                outcome.fault = error
            }
        }
        outcome.buffered = parser.bufferedBytes
        return outcome
    }

    private static func pieces(of stream: [UInt8], _ cuts: [Int]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let piece = rest.prefix(cuts[pieces.count % cuts.count])
            pieces.append(piece)
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }

    static func seeds() throws -> [Seed] {
        var stream: [UInt8] = [3, 1, 20, 7]
        Frame(kind: 1, payload: [1, 2, 3]).encode(into: &stream)
        Frame(kind: 0xFF02, payload: []).encode(into: &stream)
        let short = stream
        Frame(kind: 2, payload: [UInt8](repeating: 7, count: 300)).encode(into: &stream)
        var tooLarge = short
        Frame(kind: 3, payload: [UInt8](repeating: 0, count: 513)).encode(into: &tooLarge)
        return [
            Seed(name: "two-frames", bytes: short), Seed(name: "three-frames", bytes: stream),
            Seed(name: "cut-short", bytes: stream.dropLast(10)), Seed(name: "too-large", bytes: tooLarge),
            Seed(name: "other-layout", bytes: short + [0, 0, 0, 0, 0, 2, 0, 1]),
        ]
    }
}
