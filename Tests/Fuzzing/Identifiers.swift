import ClusterModel
import KeyCatalog

// What tokens say about the objects on them: CKA_ID and CKA_LABEL, both written by anyone who has the PIN. And
// the texts that people and applications write for the same things.

enum Target: FuzzTarget {
    static let longestInput = 256

    static func check(_ input: [UInt8]) {
        if let identity = KeyIdentity(bytes: input) {
            hold(identity.bytes == input, "a CKA_ID reads as another one")
        }
        if let identifier = Identifier128(bytes: input) {
            hold(Identifier128(identifier.description) == identifier, "an identifier's text is another one")
        }
        hold(Hex.decode(Hex.encode(input)) == input, "bytes are lost in hexadecimal")
        // As the modules' wrapper does it: what is no UTF-8 is replaced.
        let text = String(decoding: input, as: UTF8.self)
        if let identifier = Identifier128(text) {
            hold(identifier.description == text.lowercased(), "an identifier has two texts")
        }
        if let bytes = Hex.decode(text) {
            hold(Hex.encode(bytes) == text.lowercased(), "hexadecimal has two texts")
        }
        switch KeyLabel.read(text) {
        case .generated(let number):
            hold(number >= 4_096, "a generated number is too small")
            hold(KeyLabel.read(KeyLabel.generated(number)) == .generated(number), "a label changes")
        case .copied(let number):
            hold(number < 1_000, "a copied number is too large")
        case .other, .ambiguous: break
        }
    }

    static func seeds() throws -> [Seed] {
        let operation = OperationID(high: 0x0123_4567_89AB_4DEF, low: 0x8123_4567_89AB_CDEF)
        let identity = KeyIdentity(operation: operation, term: Term(7), attempt: 2)
        let labels = [
            "generated": "CMS MK 4099", "suffix": "CMS MK 4100@?!12", "copied": "\"CMS MK 00\"",
            "hexadecimal": "CMS MK 100A", "longest": "CMS MK 9999999999999999", "other": "CMS TK 1",
        ]
        let words = ["CMS MK ", "@?!", "\""].map { Array($0.utf8) }
        return [
            Seed(name: "cka-id", bytes: identity.bytes), Seed(name: "uuid-bytes", bytes: operation.bytes),
            Seed(name: "uuid", bytes: Array(operation.description.utf8)),
        ] + labels.map { Seed(name: $0.key, bytes: Array($0.value.utf8), words: words) }
    }
}
