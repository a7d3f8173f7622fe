import Foundation

// A folder for one test, gone when the test is.

final class Scratch {
    let path: String

    init() throws {
        var template = Array((NSTemporaryDirectory() + "/hsmcluster-link-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        path = template.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A file that the shell or the kernel can execute.
    func script(_ lines: String) throws -> String {
        let file = path + "/script"
        try ("#!/bin/sh\n" + lines + "\n").write(toFile: file, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: file)
        return file
    }
}
