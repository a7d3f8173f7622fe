// Rules for the list of endpoints. A PIN in the file is refused whatever form it takes, because the file is
// copied to every node, put under version control and shown to colleagues.

import ClusterModel

enum EndpointRules {
    static func endpoints(
        _ root: inout MappingReader, _ paths: PathResolver
    ) throws(ConfigurationError) -> [NodeConfiguration.Endpoint] {
        let elements = try root.list(
            "endpoints", upTo: ConfigurationLimits.endpoints,
            example: "[{ name: hsm-a, module: …, token: …, pin: … }]")
        var endpoints: [NodeConfiguration.Endpoint] = []
        for (position, element) in elements.enumerated() {
            let key = "endpoints[\(position)]"
            var members = try MappingReader(
                element, file: root.file, key: key, expected: "'- name: hsm-a' and the endpoint's other keys")
            let endpoint = try endpoint(&members, paths)
            guard !endpoints.contains(where: { $0.name == endpoint.name }) else {
                throw members.failure(
                    "name", at: element.line, "two endpoints have this name",
                    "Give every endpoint a name of its own.")
            }
            endpoints.append(endpoint)
        }
        return endpoints
    }

    private static func endpoint(
        _ members: inout MappingReader, _ paths: PathResolver
    ) throws(ConfigurationError) -> NodeConfiguration.Endpoint {
        let endpoint = NodeConfiguration.Endpoint(
            name: try name(&members),
            module: paths.absolute(try members.text("module", example: "/usr/lib/softhsm/libsofthsm2.so")),
            token: try token(&members), pin: try pin(&members, paths),
            environment: try environment(&members, paths),
            weight: try members.optionalNumber("weight", in: 1...1_000, example: "1") ?? 1,
            priority: try members.optionalNumber("priority", in: 0...127, example: "0") ?? 0)
        try members.finish()
        return endpoint
    }

    private static func name(_ members: inout MappingReader) throws(ConfigurationError) -> EndpointName {
        let value = try members.required("name", example: "hsm-a")
        let text = try members.text(of: value, "name", example: "hsm-a")
        let isValid = text.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
        }
        guard isValid, text.utf8.count <= 32 else {
            throw members.failure(
                "name", at: value.line, "this cannot be an endpoint's name",
                "Use 1 to 32 lower-case letters, digits and '-', such as hsm-a.")
        }
        return EndpointName(text)
    }

    /// RFC 7512's characters and attributes, without those that carry a PIN or load a module.
    private static func token(_ members: inout MappingReader) throws(ConfigurationError) -> String {
        let example = "\"pkcs11:token=hsm-a\""
        let value = try members.required("token", example: example)
        let text = try members.text(of: value, "token", example: example)
        guard text.hasPrefix("pkcs11:"), text.utf8.count > "pkcs11:".utf8.count,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw members.failure(
                "token", at: value.line, "this is not a PKCS#11 URI",
                "Write \(example); other characters are written as %20 and so on (RFC 7512).")
        }
        let attributes = text.dropFirst("pkcs11:".count).split { ";?&".contains($0) }
        for attribute in attributes {
            let name = attribute.prefix { $0 != "=" }
            guard !["pin-value", "pin-source"].contains(name) else {
                throw members.failure(
                    "token", at: value.line, "the URI holds a PIN or where to find it",
                    "Remove that part and write 'pin: { file: hsm-a.pin }'.")
            }
            guard !["module-name", "module-path"].contains(name) else {
                throw members.failure(
                    "token", at: value.line, "the URI names a module", "Remove that part and use 'module'.")
            }
        }
        return text
    }

    private static func pin(
        _ members: inout MappingReader, _ paths: PathResolver
    ) throws(ConfigurationError) -> NodeConfiguration.PINSource {
        let example = "{ file: hsm-a.pin }"
        let value = try members.required("pin", example: example)
        guard case .mapping = value.content else {
            throw members.failure(
                "pin", at: value.line, "a PIN must not stand in the configuration",
                "Put it into a file that only the node can read and write 'pin: \(example)', or use "
                    + "'{ environment: NAME }' or '{ credential: NAME }' (systemd). Change the PIN, since it "
                    + "has been written here.")
        }
        var source = try MappingReader(
            value, file: members.file, key: "\(members.key).pin", expected: "'pin: \(example)'")
        let file = try source.optionalText("file", example: "hsm-a.pin")
        let environment = try source.optionalText("environment", example: "HSM_A_PIN")
        let credential = try source.optionalText("credential", example: "hsm-a-pin")
        try source.finish()
        switch (file, environment, credential) {
        case (let file?, nil, nil):
            return .file(paths.absolute(file))
        case (nil, let variable?, nil):
            guard isVariableName(variable) else {
                throw source.failure(
                    "environment", at: value.line, "this is not the name of an environment variable",
                    "Write a name such as HSM_A_PIN, not the PIN itself.")
            }
            return .environment(variable)
        case (nil, nil, let credential?):
            guard credential.utf8.allSatisfy(SharedRules.isNameByte), !credential.hasPrefix(".") else {
                throw source.failure(
                    "credential", at: value.line, "this is not the name of a systemd credential",
                    "Write the name that LoadCredential= gives, such as hsm-a-pin.")
            }
            return .credential(credential)
        default:
            throw members.failure(
                "pin", at: value.line, "there is not exactly one source of the PIN",
                "Write one of file, environment and credential.")
        }
    }

    /// Values are taken literally, except paths that start with `./` or `../`.
    private static func environment(
        _ members: inout MappingReader, _ paths: PathResolver
    ) throws(ConfigurationError) -> [String: String] {
        guard let value = members.optional("environment") else { return [:] }
        var variables = try MappingReader(
            value, file: members.file, key: "\(members.key).environment",
            expected: "'environment: { SOFTHSM2_CONF: ../hsm-a/softhsm2.conf }'")
        var environment: [String: String] = [:]
        for variable in variables.allMembers() {
            guard isVariableName(variable.name) else {
                throw members.failure(
                    "environment", at: variable.line, "a key is not the name of an environment variable",
                    "Use letters, digits and '_', such as SOFTHSM2_CONF.")
            }
            let text = try variables.text(of: variable.value, variable.name, example: "value")
            let isRelative = text.hasPrefix("./") || text.hasPrefix("../")
            environment[variable.name] = isRelative ? paths.absolute(text) : text
        }
        return environment
    }

    private static func isVariableName(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, bytes.count <= 128, !(0x30...0x39).contains(first) else {
            return false
        }
        return bytes.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
                || byte == UInt8(ascii: "_")
        }
    }
}
