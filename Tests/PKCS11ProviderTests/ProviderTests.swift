// The C functions, called in this process against token hosts that are played by SoftHSM. One library per process: the
// tests run one after the other.

import CCryptoki
import Foundation
import OperationWire
import Testing

@testable import PKCS11Provider

/// All tests that use the one library of this process.
@Suite(.serialized) enum ProviderTests {}

extension ProviderTests {
    @Suite(.serialized) struct Life {
        @Test func nothingWorksBeforeInitialize() throws {
            _ = cFinalize(nil)
            var count: CK_ULONG = 0
            #expect(cGetSlotList(1, nil, &count) == CKR_CRYPTOKI_NOT_INITIALIZED)
            #expect(cFinalize(nil) == CKR_CRYPTOKI_NOT_INITIALIZED)
            #expect(cOpenSession(1, 4, nil, nil, nil) == CKR_CRYPTOKI_NOT_INITIALIZED)
        }

        @Test func initializeTwiceIsRefusedAndFinalizeAllowsItAgain() throws {
            let application = try Application()
            #expect(throws: Refusal(CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
                try Library.start(LibrarySettings()) { () throws(Refusal) in application.network }
            }
            #expect(cFinalize(nil) == CKR_OK)
            #expect(application.network.closes.load(ordering: .relaxed) == 1)
            let again = try Application()
            // Handles of the first life mean nothing in the second.
            #expect(try again.mac([1]) != [])
            #expect(cFinalize(nil) == CKR_OK)
        }

        /// Applications that load, use and unload the library again and again do not grow.
        @Test func anEarlierLifeIsFreed() throws {
            weak var earlier: FakeNetwork?
            do {
                let application = try Application()
                earlier = application.network
                #expect(cFinalize(nil) == CKR_OK)
            }
            #expect(earlier != nil)
            _ = try Application()
            #expect(earlier == nil)
        }

        @Test func initializeArgumentsAreCheckedAsTheStandardSays() throws {
            typealias Create = @convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>?) -> CK_RV
            typealias Other = @convention(c) (UnsafeMutableRawPointer?) -> CK_RV
            let create: Create = { _ in CKR_OK }
            let other: Other = { _ in CKR_OK }
            var arguments = CK_C_INITIALIZE_ARGS()
            func outcome() -> CK_RV {
                do throws(Refusal) {
                    try checkInitializeArguments(&arguments)
                    return CKR_OK
                } catch { return error.code }
            }
            #expect(outcome() == CKR_OK)
            arguments.CreateMutex = create
            #expect(outcome() == CKR_ARGUMENTS_BAD)
            arguments.DestroyMutex = other
            arguments.LockMutex = other
            arguments.UnlockMutex = other
            #expect(outcome() == CKR_CANT_LOCK)
            arguments.flags = CK_FLAGS(CKF_OS_LOCKING_OK)
            #expect(outcome() == CKR_OK)
            var something = 0
            withUnsafeMutablePointer(to: &something) { arguments.pReserved = UnsafeMutableRawPointer($0) }
            #expect(outcome() == CKR_ARGUMENTS_BAD)
        }

        @Test func tokenIdentityComesFromTheClusterAndStays() throws {
            let application = try Application()
            var info = CK_TOKEN_INFO()
            #expect(cGetTokenInfo(1, &info) == CKR_OK)
            let before = withUnsafeBytes(of: info) { Array($0.prefix(96)) }
            application.network.change { directory in
                directory.endpoints.removeLast()
                directory.keys = []
            }
            #expect(cGetTokenInfo(1, &info) == CKR_OK)
            #expect(withUnsafeBytes(of: info) { Array($0.prefix(96)) } == before)
            #expect(
                String(decoding: before.prefix(32), as: UTF8.self) == "cms"
                    + String(repeating: " ", count: 29))
            #expect(cGetTokenInfo(2, &info) == CKR_SLOT_ID_INVALID)
        }

        @Test func listsFollowTheTwoCallConvention() throws {
            _ = try Application()
            var count: CK_ULONG = 0
            #expect(cGetMechanismList(1, nil, &count) == CKR_OK)
            #expect(count == 10)
            var types = [CK_MECHANISM_TYPE](repeating: 0, count: 10)
            var little: CK_ULONG = 9
            #expect(cGetMechanismList(1, &types, &little) == CKR_BUFFER_TOO_SMALL)
            #expect(little == 10)
            #expect(cGetMechanismList(1, &types, &little) == CKR_OK)
            var info = CK_MECHANISM_INFO()
            #expect(cGetMechanismInfo(1, 0x108A, &info) == CKR_OK)
            #expect(cGetMechanismInfo(1, 0x999, &info) == CKR_MECHANISM_INVALID)
        }

        /// The child is not initialized, may become so, and the parent goes on.
        @Test func aChildProcessHasToInitializeAnew() throws {
            let application = try Application()
            let child = forked {
                var count: CK_ULONG = 0
                guard cGetSlotList(1, nil, &count) == CKR_CRYPTOKI_NOT_INITIALIZED else { return 1 }
                guard cFinalize(nil) == CKR_CRYPTOKI_NOT_INITIALIZED else { return 2 }
                let network = application.network
                guard (try? Library.start(LibrarySettings()) { () throws(Refusal) in network }) != nil else {
                    return 3
                }
                guard cGetSlotList(1, nil, &count) == CKR_OK, count == 1 else { return 4 }
                return cFinalize(nil) == CKR_OK ? 0 : 5
            }
            #expect(child == 0)
            #expect(try application.mac([1, 2, 3]).count == 16)
        }
    }
}

/// Runs `body` in a forked child and returns its exit status.
private func forked(_ body: () -> Int32) -> Int32 {
    typealias Fork = @convention(c) () -> pid_t
    // fork() is hidden from Swift; a child that only calls into the provider and exits is what it is for.
    guard let symbol = dlsym(nil, "fork") else { return -1 }
    let process = unsafeBitCast(symbol, to: Fork.self)()
    if process == 0 { _exit(body()) }
    var status: Int32 = 0
    waitpid(process, &status, 0)
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : -status
}
