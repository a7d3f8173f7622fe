import Glibc

// What libFuzzer calls. It is the same for every target: each brings one `Target`, which is compiled together
// with this folder into a program of its own.

/// A decoder (or what stands behind one) that must survive any input.
protocol FuzzTarget {
    /// The most bytes that an input may have; `run` reads the number from the source.
    static var longestInput: Int { get }
    /// Valid inputs, from which the fuzzer starts. Equal on every run.
    static func seeds() throws -> [Seed]
    /// Takes one input. Traps when a promise is broken.
    static func check(_ input: [UInt8])
}

/// A valid input with the name of its file.
struct Seed {
    var name: String
    var bytes: [UInt8]
    /// Byte strings that inputs are made of, such as field names.
    var words: [[UInt8]] = []
}

/// One input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    Target.check(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Before the first input: with FUZZ_SEEDS set, writes the seeds there and the words to FUZZ_DICTIONARY, and ends.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_ count: UnsafeMutableRawPointer?, _ arguments: UnsafeMutableRawPointer?) -> CInt {
    guard let folder = variable("FUZZ_SEEDS"), let dictionary = variable("FUZZ_DICTIONARY") else { return 0 }
    do {
        let seeds = try Target.seeds()
        var words: Set<[UInt8]> = []
        for seed in seeds {
            hold(seed.bytes.count <= Target.longestInput, "seed \(seed.name) is longer than an input may be")
            write(seed.bytes, to: "\(folder)/\(seed.name).seed")
            words.formUnion(seed.words)
        }
        let lines = words.sorted { $0.lexicographicallyPrecedes($1) }.map { "\"\(escaped($0))\"\n" }
        write(Array(lines.joined().utf8), to: dictionary)
    } catch {
        hold(false, "the seeds cannot be made: \(error)")
    }
    exit(0)
}

private func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

private func write(_ bytes: [UInt8], to path: String) {
    guard let file = fopen(path, "w") else { return hold(false, "\(path) cannot be written") }
    let written = fwrite(bytes, 1, bytes.count, file)
    hold(fclose(file) == 0 && written == bytes.count, "\(path) cannot be written")
}

private func escaped(_ word: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return word.map { "\\x\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined()
}

/// Traps with a message unless the condition holds. Not an assertion, so that it survives optimization.
func hold(_ condition: Bool, _ promise: @autoclosure () -> String) {
    guard !condition else { return }
    let line = Array("broken promise: \(promise())\n".utf8)
    _ = Glibc.write(STDERR_FILENO, line, line.count)
    abort()
}
