// Failures as the command line shows them: one line for people, with `--output json` one more line for
// scripts, and an exit status from the documented list.

import ArgumentParser
import ClusterConfiguration
import Foundation
import ManagementClient
import ManagementModel

/// The documented exit statuses.
enum ExitStatus {
    static let failed: Int32 = 1
    static let refused: Int32 = 2
    static let unavailable: Int32 = 3
    static let pending: Int32 = 4
    static let usage: Int32 = 64
    static let notAuthorized: Int32 = 77
}

/// A failed command.
struct CommandFailure: Error, Encodable {
    /// A stable name of the kind of failure.
    var code: String
    var title: String
    var detail: String
    var whatToDo: String
    /// True when the same command, with the same request id, may succeed later.
    var retryable: Bool
    /// The HTTP status, when the cluster answered.
    var status: Int?
    var requestID: String?
    var exitStatus: Int32

    /// A mistake on the command line.
    static func usage(_ detail: String, whatToDo: String = "") -> CommandFailure {
        CommandFailure(
            code: "usage", title: detail, detail: detail, whatToDo: whatToDo, retryable: false,
            exitStatus: ExitStatus.usage)
    }

    static let noConfiguration = CommandFailure(
        code: "configuration", title: "There is no client configuration",
        detail: "Neither --config nor $HSMCLUSTER_CONFIG names one, and none is in the usual places.",
        whatToDo: "Write ~/.config/hsmcluster/client.yaml, or give --node, --ca, --cert and --key.",
        retryable: false, exitStatus: ExitStatus.usage)

    /// Answered 'no' at the question.
    static let declined = CommandFailure(
        code: "declined", title: "Nothing was done", detail: "The question was not answered with yes.",
        whatToDo: "", retryable: false, exitStatus: ExitStatus.failed)

    init(configuration error: ConfigurationError) {
        var place = error.file
        if let line = error.line { place += ":\(line)" }
        if !error.key.isEmpty { place += ": \(error.key)" }
        self.init(
            code: "configuration", title: "The client configuration is wrong",
            detail: "\(place): \(error.problem).", whatToDo: error.whatToDo, retryable: false,
            exitStatus: ExitStatus.usage)
    }

    init(_ error: ManagementClientError) {
        self.init(
            code: "", title: error.title, detail: error.detail, whatToDo: error.whatToDo, retryable: true,
            requestID: error.requestID?.description, exitStatus: ExitStatus.failed)
        let isUndecided = error.mayHaveArrived && error.requestID != nil
        switch error.kind {
        case .problem(let problem):
            code = problem.code.rawValue
            retryable = problem.retryable
            status = problem.httpStatus
            exitStatus = Self.exitStatus(of: problem)
        case .unreachable:
            code = "unreachable"
            exitStatus = isUndecided ? ExitStatus.pending : ExitStatus.unavailable
        case .timeout:
            code = "timeout"
            exitStatus = isUndecided ? ExitStatus.pending : ExitStatus.unavailable
        case .certificate:
            (code, retryable, exitStatus) = ("certificate", false, ExitStatus.notAuthorized)
        case .configuration:
            (code, retryable, exitStatus) = ("configuration", false, ExitStatus.usage)
        case .unexpectedAnswer:
            (code, retryable, exitStatus) = ("unexpected-answer", false, ExitStatus.failed)
        }
    }

    private init(
        code: String, title: String, detail: String, whatToDo: String, retryable: Bool,
        requestID: String? = nil, exitStatus: Int32
    ) {
        self.code = code
        self.title = title
        self.detail = detail
        self.whatToDo = whatToDo
        self.retryable = retryable
        self.requestID = requestID
        self.exitStatus = exitStatus
    }

    private static func exitStatus(of problem: ManagementError) -> Int32 {
        switch problem.httpStatus {
        case 401, 403: ExitStatus.notAuthorized
        case 503: ExitStatus.unavailable
        case 202, 504: ExitStatus.pending
        case 400..<500: ExitStatus.refused
        default: ExitStatus.failed
        }
    }

    /// `error: <title>. <detail> <what to do>` on standard error; for scripts a line of JSON after it.
    func report(_ format: OutputFormat) {
        var sentences = [title.hasSuffix(".") ? title : "\(title)."]
        if detail != title { sentences.append(detail) }
        sentences.append(whatToDo)
        if exitStatus == ExitStatus.pending, let requestID {
            sentences.append("The request id is \(requestID).")
        }
        let text = sentences.filter { !$0.isEmpty }.joined(separator: " ")
        Terminal.note("error: \(text.printable)")
        guard format == .json else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if let data = try? encoder.encode(self) { Terminal.note(String(decoding: data, as: UTF8.self)) }
    }
}

extension GlobalOptions {
    /// Runs `body` with a client; reports a failure and exits with its status.
    func perform(
        _ body: (ManagementClient) async throws(ManagementClientError) -> Void
    ) async throws {
        try await perform(access: try resolved(), body)
    }

    /// Like `perform(_:)`, for an access that has been resolved before.
    func perform(
        access: ManagementClientConfiguration,
        _ body: (ManagementClient) async throws(ManagementClientError) -> Void
    ) async throws {
        do throws(ManagementClientError) {
            try await ManagementClient.with(access, body)
        } catch {
            try fail(CommandFailure(error))
        }
    }

    /// Whom to call; reports a mistake in the configuration and exits with its status.
    func resolved() throws -> ManagementClientConfiguration {
        do throws(CommandFailure) {
            return try access().client
        } catch {
            error.report(output)
            throw ExitCode(error.exitStatus)
        }
    }

    /// Reports a failure and exits with its status.
    func fail(_ failure: CommandFailure) throws {
        failure.report(output)
        throw ExitCode(failure.exitStatus)
    }
}
