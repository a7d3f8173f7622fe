// Mechanism parameters that arrive from elsewhere: a structure of Cryptoki is numbers of the machine's word
// size and pointers to bytes or to further structures (PKCS#11 v2.40 §3.5 and the mechanism chapters), so a
// list of fields describes any of them. The memory is set aside for one call and zeroed afterwards.

internal import CP11Kit
import Glibc

/// One field of a mechanism's parameter.
public enum ParameterField: Hashable, Sendable {
    /// A CK_ULONG.
    case number(UInt)
    /// A CK_OBJECT_HANDLE.
    case object(ObjectHandle)
    /// Bytes inside the structure, a multiple of eight.
    case inline([UInt8])
    /// A pointer to bytes; null for none.
    case pointer([UInt8])
    /// A pointer to another structure, or to an array of them laid out one after the other; null for no
    /// field.
    indirect case structure([ParameterField])
}

/// What a parameter's pointers point to, for the length of a call.
final class ParameterMemory {
    private var blocks: [UnsafeMutableRawBufferPointer] = []

    deinit {
        for block in blocks {
            wipe(block)
            block.deallocate()
        }
    }

    /// Lays a structure out; the memory lives as long as this object.
    func place(_ fields: [ParameterField]) -> UnsafeMutableRawBufferPointer {
        var words: [UInt] = []
        for field in fields {
            switch field {
            case .number(let number): words.append(number)
            case .object(let handle): words.append(handle.rawValue)
            case .inline(let bytes):
                for start in stride(from: 0, to: bytes.count - bytes.count % 8, by: 8) {
                    var word: UInt = 0
                    withUnsafeMutableBytes(of: &word) { $0.copyBytes(from: bytes[start..<start + 8]) }
                    words.append(word)
                }
            case .pointer(let bytes): words.append(address(of: bytes.isEmpty ? nil : copy(bytes)))
            case .structure(let nested): words.append(address(of: nested.isEmpty ? nil : place(nested)))
            }
        }
        return words.withUnsafeBytes { copy($0) }
    }

    private func copy(_ bytes: [UInt8]) -> UnsafeMutableRawBufferPointer {
        bytes.withUnsafeBytes { copy($0) }
    }

    private func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawBufferPointer {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
        block.copyMemory(from: bytes)
        blocks.append(block)
        return block
    }

    private func address(of block: UnsafeMutableRawBufferPointer?) -> UInt {
        block?.baseAddress.map { UInt(bitPattern: $0) } ?? 0
    }
}
