// Loading modules: each way in which it can go wrong has a name of its own.

import Foundation
import PKCS11
import SoftHSMFixture
import Testing

@Suite struct ModuleTests {
    private func reason(of path: String) -> ModuleLoadError.Reason? {
        do {
            _ = try Module(path: path)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func relativePathIsRefused() {
        #expect(reason(of: "libsofthsm2.so") == .pathNotAbsolute)
    }

    @Test func unreachablePathIsNamed() {
        #expect(reason(of: "/nonexistent/module.so") == .fileNotReadable)
        #expect(reason(of: "/tmp/with\u{0}zero") == .pathNotAbsolute)
    }

    @Test func textFileIsNoModule() {
        #expect(reason(of: "/etc/passwd") == .notAModule)
    }

    @Test func folderIsNoModule() {
        #expect(reason(of: "/tmp") == .notAModule)
    }

    @Test func libraryWithoutEntryPointIsNoModule() throws {
        let candidates = [
            "/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6",
        ]
        let library = try #require(candidates.first(where: FileManager.default.fileExists(atPath:)))
        do {
            _ = try Module(path: library)
            Issue.record("libm is no PKCS#11 module")
        } catch {
            #expect(error.reason == .notAModule)
            #expect(error.description.contains("C_GetFunctionList"))
        }
    }

    @Test func moduleTellsWhatItIs() throws {
        let info = try SoftHSMFixture.shared().module.info()
        #expect(info.cryptokiVersion.hasPrefix("2."))
        #expect(info.manufacturer == "SoftHSM")
        #expect(!info.libraryDescription.hasSuffix(" "))
    }

    @Test func secondLoadOfTheSameLibraryLeavesTheFirstUsable() throws {
        let fixture = try SoftHSMFixture.shared()
        let token = try fixture.takeToken()
        var session = try token.openSession(readWrite: false)
        do {
            let second = try Module(path: fixture.modulePath)
            #expect(try second.slots(withToken: true).count == fixture.module.slots(withToken: true).count)
        }
        #expect(try session.randomBytes(16).count == 16)
    }
}
