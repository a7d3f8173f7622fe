// The first frame in each direction says who speaks and which protocol versions it can speak. It is a
// list of fields, each with a number and a length, so that a newer node may say more than we understand:
// unknown fields are skipped, and a field we don't find has a named failure. The certificate has already
// proved the identity; the hello only has to agree with it.

import ClusterModel

/// What each side tells the other before a link carries anything else.
struct Hello: Hashable, Sendable {
    var minimumVersion: UInt16
    var maximumVersion: UInt16
    var clusterName: String
    var node: NodeID

    /// The largest hello accepted, in bytes.
    static let maxBytes = 4096
    /// No known field's value is longer than this, in bytes.
    private static let maxFieldBytes = 255

    private enum Field {
        static let minimumVersion: UInt16 = 1
        static let maximumVersion: UInt16 = 2
        static let clusterName: UInt16 = 3
        static let node: UInt16 = 4
    }

    /// The hello as the payload of a frame.
    var encoded: [UInt8] {
        var output: [UInt8] = []
        func put(_ field: UInt16, _ value: [UInt8]) {
            output += Hello.bytes(of: UInt64(field), count: 2)
            output += Hello.bytes(of: UInt64(value.count), count: 2) + value
        }
        put(Field.minimumVersion, Hello.bytes(of: UInt64(minimumVersion), count: 2))
        put(Field.maximumVersion, Hello.bytes(of: UInt64(maximumVersion), count: 2))
        put(Field.clusterName, Array(clusterName.utf8))
        put(Field.node, Hello.bytes(of: node.rawValue, count: 8))
        return output
    }

    /// Reads a hello.
    /// - Returns: nil when a field is cut short, repeated, missing or of the wrong size.
    static func decode(_ payload: [UInt8]) -> Hello? {
        guard payload.count <= maxBytes else { return nil }
        var minimum: UInt16?
        var maximum: UInt16?
        var name: String?
        var node: NodeID?
        var rest = payload[...]
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let field = UInt16(number(rest.prefix(2)))
            let length = Int(number(rest.dropFirst(2).prefix(2)))
            rest = rest.dropFirst(4)
            guard rest.count >= length else { return nil }
            let value = rest.prefix(length)
            rest = rest.dropFirst(length)
            switch field {
            case Field.minimumVersion:
                guard minimum == nil, length == 2 else { return nil }
                minimum = UInt16(number(value))
            case Field.maximumVersion:
                guard maximum == nil, length == 2 else { return nil }
                maximum = UInt16(number(value))
            case Field.clusterName:
                guard name == nil, length <= maxFieldBytes else { return nil }
                guard let text = String(validating: value, as: UTF8.self) else { return nil }
                name = text
            case Field.node:
                guard node == nil, length == 8 else { return nil }
                node = NodeID(number(value))
            default: continue
            }
        }
        guard let minimum, let maximum, let name, let node, minimum <= maximum else { return nil }
        return Hello(minimumVersion: minimum, maximumVersion: maximum, clusterName: name, node: node)
    }

    /// The highest version that both sides speak.
    func commonVersion(with other: Hello) -> UInt16? {
        let highest = min(maximumVersion, other.maximumVersion)
        return highest >= max(minimumVersion, other.minimumVersion) ? highest : nil
    }

    private static func bytes(of value: UInt64, count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
