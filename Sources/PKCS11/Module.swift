// One loaded PKCS#11 module: the vendor's shared library, opened and initialized through p11-kit
// (PKCS#11 v2.40 §5.4). p11-kit is used in its managed mode: it calls C_Initialize with CKF_OS_LOCKING_OK, counts
// how often the same library is in use in this process, gives each caller a function table of its own that
// closes only that caller's sessions in C_Finalize, and marks the module as needing a new C_Initialize after fork.

internal import CP11Kit
import Glibc

/// A loaded and initialized module. It may be used from any thread; it is finalized and unloaded when the last
/// reference (every `Slot`, `Token` and `Session` holds one) goes away.
public final class Module: Sendable {
    /// Where the library was loaded from.
    public let path: String

    // nonisolated(unsafe) is safe: the pointer is set once, p11-kit leaves the table unchanged until
    // p11_kit_module_release (called in deinit, when no reference is left), and a module initialized with
    // CKF_OS_LOCKING_OK allows its functions to be called from several threads at once.
    nonisolated(unsafe) let functions: UnsafeMutablePointer<CK_FUNCTION_LIST>

    /// Loads the library at the absolute path `path` and initializes it. This runs vendor code and may take
    /// long or crash: do it in a process that may die. Initialize modules one after another, not in parallel.
    public init(path: String) throws(ModuleLoadError) {
        // p11-kit also prints what it reports; the error carries it, and stderr is the log's.
        p11_kit_be_quiet()
        guard path.hasPrefix("/"), !path.utf8.contains(0) else {
            throw ModuleLoadError(path: path, reason: .pathNotAbsolute, detail: "give an absolute path")
        }
        guard access(path, R_OK) == 0 else {
            let problem = String(cString: strerror(errno))
            throw ModuleLoadError(path: path, reason: .fileNotReadable, detail: problem)
        }
        guard let functions = p11_kit_module_load(path, 0) else {
            throw ModuleLoadError(path: path, reason: .notAModule, detail: Self.lastMessage())
        }
        let result = ReturnValue(p11_kit_module_initialize(functions))
        guard result == .ok else {
            let detail = Self.lastMessage()
            p11_kit_module_release(functions)
            throw ModuleLoadError(path: path, reason: .initializeFailed(result), detail: detail)
        }
        self.path = path
        self.functions = functions
    }

    deinit {
        _ = p11_kit_module_finalize(functions)
        p11_kit_module_release(functions)
    }

    // p11-kit keeps the message per thread, so it is the one of the call just made.
    private static func lastMessage() -> String {
        p11_kit_message().map { String(cString: $0) } ?? "no message"
    }

    /// What the library says of itself (C_GetInfo).
    public func info() throws(PKCS11Error) -> ModuleInfo {
        var info = CK_INFO()
        try call(.getInfo, functions.pointee.C_GetInfo) { $0(&info) }
        return ModuleInfo(info)
    }

    /// Calls one function of the module and turns anything but CKR_OK into an error. A function that the module
    /// leaves out counts as CKR_FUNCTION_NOT_SUPPORTED.
    @inline(__always)
    func call<Entry>(_ function: Function, _ entry: Entry?, _ body: (Entry) -> CK_RV) throws(PKCS11Error) {
        guard let entry else { throw PKCS11Error(function, .functionNotSupported) }
        let result = body(entry)
        guard result == CKR_OK else { throw PKCS11Error(function, ReturnValue(result)) }
    }
}

/// What a module says of itself (PKCS#11 v2.40 §3.1, CK_INFO).
public struct ModuleInfo: Hashable, Sendable {
    /// The Cryptoki version, such as `2.40`.
    public var cryptokiVersion: String
    /// Who made the library.
    public var manufacturer: String
    /// What the library is.
    public var libraryDescription: String
    /// The library's own version.
    public var libraryVersion: String

    init(_ info: CK_INFO) {
        cryptokiVersion = versionText(info.cryptokiVersion)
        manufacturer = paddedText(of: info.manufacturerID)
        libraryDescription = paddedText(of: info.libraryDescription)
        libraryVersion = versionText(info.libraryVersion)
    }
}

/// Why a module is not usable.
public struct ModuleLoadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of failure.
    public enum Reason: Hashable, Sendable {
        /// The path does not start with `/`. Relative paths would be looked up in a folder of p11-kit's choice.
        case pathNotAbsolute
        /// There is no such file, or this process may not read it.
        case fileNotReadable
        /// The file is no shared library, lacks one that it needs, or has no C_GetFunctionList.
        case notAModule
        /// C_Initialize failed: often the module's own configuration file.
        case initializeFailed(ReturnValue)
    }

    /// The path as given.
    public var path: String
    /// What went wrong.
    public var reason: Reason
    /// What the system or p11-kit says about it.
    public var detail: String

    /// One sentence for people.
    public var description: String {
        switch reason {
        case .pathNotAbsolute: "the PKCS#11 module path '\(path)' is not absolute: \(detail)"
        case .fileNotReadable: "the PKCS#11 module '\(path)' can't be read: \(detail)"
        case .notAModule: "'\(path)' is not a usable PKCS#11 module: \(detail)"
        case .initializeFailed(let result):
            "the PKCS#11 module '\(path)' failed in C_Initialize with \(result): check the module's own "
                + "configuration (\(detail))"
        }
    }
}

/// `major.minor` as Cryptoki prints versions.
func versionText(_ version: CK_VERSION) -> String { "\(version.major).\(version.minor)" }

/// The text of a fixed-size field padded with blanks (PKCS#11 v2.40 §3), given as an imported tuple of bytes.
func paddedText<Field>(of field: Field) -> String {
    withUnsafeBytes(of: field) { bytes in
        let text = bytes.prefix { $0 != 0 }
        let end = text.lastIndex { $0 != UInt8(ascii: " ") }.map { $0 + 1 } ?? text.startIndex
        return String(decoding: text[..<end], as: UTF8.self)
    }
}
