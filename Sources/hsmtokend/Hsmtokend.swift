import Glibc
import TokenHost
import TokenHostLink

// hsmtokend serves one endpoint for one node: `hsmtokend --configuration FILE`. The file is written by
// hsmclusterd and names everything else; nothing secret is ever on the command line.

@main
enum Hsmtokend {
    private enum ExitStatus {
        static let usage: Int32 = 64
        static let configuration: Int32 = 78
        static let system: Int32 = 71
    }

    static func main() {
        guard CommandLine.arguments.count == 3, CommandLine.arguments[1] == "--configuration" else {
            leave(ExitStatus.usage, "usage: hsmtokend --configuration FILE (written by hsmclusterd)")
        }
        guard ProcessGuard.harden() else {
            leave(ExitStatus.system, "the kernel doesn't let this process forbid core dumps")
        }
        let server: TokenHostServer
        do {
            let configuration = try TokenHostConfiguration(readingFile: CommandLine.arguments[2])
            let backend = PKCS11Backend(
                modulePath: configuration.modulePath, tokenURI: configuration.tokenURI)
            server = try TokenHostServer(configuration: configuration, backend: backend)
        } catch {
            leave(ExitStatus.configuration, "\(error)")
        }
        do {
            try ProcessGuard.onTermination(server.stopper)
        } catch {
            leave(ExitStatus.system, "\(error)")
        }
        // Not exit(): a vendor module may have left threads and exit handlers behind that hang or crash.
        _exit(server.run())
    }

    private static func leave(_ status: Int32, _ reason: String) -> Never {
        let line = Array("hsmtokend: \(reason)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        _exit(status)
    }
}
