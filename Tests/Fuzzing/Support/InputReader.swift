// Inputs that hold more than one thing: numbers that choose, and byte strings with their length before them.
// Reading never fails: an input that ends too early reads as zeros, so that every input means something.

/// Takes an input apart from its front.
struct InputReader {
    private var rest: ArraySlice<UInt8>

    init(_ input: [UInt8]) { rest = input[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func number(below bound: Int) -> Int { Int(byte()) % bound }

    mutating func choice<Value>(_ values: [Value]) -> Value { values[number(below: values.count)] }

    mutating func chance() -> Bool { byte() & 1 == 1 }

    /// Two bytes of length, then so many bytes, or what is left.
    mutating func string() -> [UInt8] {
        let count = Int(byte()) << 8 | Int(byte())
        let bytes = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        return bytes
    }

    mutating func remainder() -> [UInt8] {
        defer { rest = [] }
        return Array(rest)
    }
}

/// What `InputReader.string` reads.
func counted(_ bytes: [UInt8]) -> [UInt8] {
    [UInt8(truncatingIfNeeded: bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count)] + bytes
}
