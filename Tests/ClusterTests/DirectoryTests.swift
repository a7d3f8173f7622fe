import Foundation
import OperationWire
import Testing

// What the applications of a machine read of the cluster, with and without a running node.

extension ClusterScenarios {
    @Suite struct DirectoryTests {
        @Test func applicationsFindKeysInTheDirectoryAlsoWhenTheNodeIsGone() async throws {
            try await withCluster(nodes: 1, endpoints: ["hsm-a", "hsm-b"]) { cluster in
                _ = try await cluster.replicas(of: "CMS MK 4099")
                let run = try #require(Self.runDirectory(of: cluster))
                let directory = try await eventually("the key is published with both replicas") {
                    let directory = try Self.read(run)
                    let key = directory.keys.first { $0.label == "CMS MK 4099" }
                    return key?.replicas.count == 2 ? directory : nil
                }
                #expect(directory.endpoints.map(\.name) == ["hsm-a", "hsm-b"])
                #expect(directory.endpoints.allSatisfy { $0.service == .inService })
                for endpoint in directory.endpoints {
                    #expect(endpoint.socketPath.hasPrefix("/"))
                    #expect(FileManager.default.fileExists(atPath: endpoint.socketPath))
                }
                // CKM_AES_CMAC can sign (CKF_SIGN).
                let cmac = try #require(directory.mechanisms.first { $0.type == 0x108A })
                #expect(cmac.flags & 0x800 != 0)
                #expect(directory.tokenSerialNumber.utf8.count == 16)
                #expect(try Self.pulse(run) == directory.epoch)

                try await cluster.kill("node", "1")
                #expect(try Self.read(run) == directory)
                try await cluster.start("node", "1")
                _ = try await cluster.replicas(of: "CMS MK 4099")
                try await cluster.generate()
                try await eventually("another key is published under a later epoch") {
                    let later = try Self.read(run)
                    return later.keys.count == 2 && later.epoch > directory.epoch ? true : nil
                }
            }
        }

        private static func runDirectory(of cluster: LocalCluster) -> URL? {
            let files = FileManager.default.enumerator(
                at: cluster.folder(ofNode: 1), includingPropertiesForKeys: nil)
            while let file = files?.nextObject() as? URL {
                if file.lastPathComponent == PulsePage.fileName { return file.deletingLastPathComponent() }
            }
            return nil
        }

        private static func read(_ run: URL) throws -> OperationWire.Directory {
            let data = try Data(contentsOf: run.appending(path: PulsePage.directoryFileName))
            return try OperationWire.Directory(decoding: [UInt8](data))
        }

        private static func pulse(_ run: URL) throws -> UInt64 {
            let data = [UInt8](try Data(contentsOf: run.appending(path: PulsePage.fileName)))
            return data[PulsePage.epochOffset..<PulsePage.epochOffset + 8].reversed().reduce(0) {
                $0 << 8 | UInt64($1)
            }
        }
    }
}
