// curl as an independent client: it knows nothing of this project and speaks TLS through another library.

import Foundation
import ManagementFixture
import ManagementModel
import Testing

/// An answer as curl saw it.
struct CurlAnswer {
    /// curl's exit status; 0 when there was an answer.
    var exitStatus: Int32
    var status: Int
    var headers: [String: String]
    var body: String

    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body.utf8))
    }

    var problem: ManagementError? { try? decoded(ManagementError.self) }
}

enum Curl {
    static func call(
        _ url: String, _ certificate: TestCertificate?, _ arguments: String..., authority: String? = nil,
        input: String? = nil
    ) async throws -> CurlAnswer {
        var all = ["--silent", "--show-error", "--include", "--max-time", "30", "--http1.1"]
        if let authority = authority ?? certificate?.authority { all += ["--cacert", authority] }
        if let certificate { all += ["--cert", certificate.certificate, "--key", certificate.key] }
        all += arguments + [url]
        let result = try await Command.run("/usr/bin/curl", all, input: input)
        var head = result.standardOutput.replacing("\r\n", with: "\n")
        while head.hasPrefix("HTTP/1.1 100") {
            guard let end = head.firstRange(of: "\n\n") else { break }
            head = String(head[end.upperBound...])
        }
        let parts = head.split(separator: "\n\n", maxSplits: 1, omittingEmptySubsequences: false)
        var lines = (parts.first ?? "").split(separator: "\n").map(String.init)
        let status = lines.isEmpty ? 0 : Int(lines.removeFirst().split(separator: " ")[1]) ?? 0
        var headers: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] =
                line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return CurlAnswer(
            exitStatus: result.status, status: status, headers: headers,
            body: parts.count > 1 ? String(parts[1]) : "")
    }

    static func post(
        _ url: String, _ certificate: TestCertificate, _ json: String, key: String? = nil
    ) async throws -> CurlAnswer {
        let header = key.map { "Idempotency-Key: \($0)" } ?? "X-None: 1"
        return try await call(
            url, certificate, "--header", "Content-Type: application/json", "--header", header,
            "--data-binary",
            "@-", input: json)
    }
}
