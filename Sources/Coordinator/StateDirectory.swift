import ClusterConfiguration
import ClusterModel
import Glibc
import TokenHostLink

// Where a node keeps what must survive it, and where its token hosts find their configuration and socket.

enum StateDirectory {
    /// Makes `path` and what is missing above it; the last one with mode 0700.
    static func make(_ path: String) throws(CoordinatorError) {
        var made = path.hasPrefix("/") ? "/" : ""
        let parts = path.split(separator: "/")
        for (position, part) in parts.enumerated() {
            made += (made.isEmpty || made.hasSuffix("/") ? "" : "/") + part
            let mode: mode_t = position == parts.count - 1 ? 0o700 : 0o755
            guard mkdir(made, mode) != 0, errno != EEXIST else { continue }
            throw CoordinatorError(
                "the directory \(made) cannot be made: \(String(cString: strerror(errno))). "
                    + "Check stateDirectory and its permissions.")
        }
        guard access(path, R_OK | W_OK | X_OK) == 0 else {
            throw CoordinatorError(
                "the directory \(path) cannot be written: \(String(cString: strerror(errno))). "
                    + "Check stateDirectory and its permissions.")
        }
    }

    /// Where the token host of `endpoint` listens for applications.
    static func dataSocket(_ endpoint: EndpointName, in state: String) -> String {
        "\(state)/endpoints/\(endpoint)/socket" + TokenHostConfiguration.dataSocketSuffix
    }

    /// What the token host of `endpoint` is told.
    static func tokenHost(
        _ endpoint: NodeConfiguration.Endpoint, users: [NodeConfiguration.User], in state: String
    ) throws(CoordinatorError) -> (configuration: TokenHostConfiguration, path: String) {
        let directory = "\(state)/endpoints/\(endpoint.name)"
        try make(directory)
        let pin: TokenHostLink.PINSource =
            switch endpoint.pin {
            case .file(let path): .file(path: path)
            case .environment(let name): .environment(name: name)
            case .credential(let name): .credential(name: name)
            }
        let configuration = TokenHostConfiguration(
            endpoint: endpoint.name, modulePath: endpoint.module, tokenURI: endpoint.token, pinSource: pin,
            environment: endpoint.environment, socketPath: "\(directory)/socket",
            credentialRecordPath: "\(directory)/credential",
            users: users.map { user in
                let role: ApplicationUser.Role =
                    switch user.role {
                    case .user: .user
                    case .observer: .observer
                    }
                return ApplicationUser(name: user.name, role: role, passwordHash: user.passwordHash)
            })
        return (configuration, "\(directory)/configuration.cbor")
    }
}

/// Why a coordinator cannot start or go on. One or two sentences for people.
public struct CoordinatorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong and what to do.
    public var description: String
    init(_ description: String) { self.description = description }
}
