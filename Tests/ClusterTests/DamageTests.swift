import Foundation
import Testing

// The files of a stopped node are damaged; started again, it is repaired from its catalog, its log or its peers, and
// counts like the others.

extension ClusterScenarios {
    @Suite struct DamageTests {
        @Test func aNodeWithDamagedFilesIsRepairedAndCountsAgain() async throws {
            try await withCluster { cluster in
                let victim = 2
                #expect(try await cluster.generate().isUsable)
                for files in [["raft.sqlite"], ["catalog.sqlite"], ["raft.sqlite", "catalog.sqlite"]] {
                    // In order, so that everything is in the databases and nothing in their write-ahead logs.
                    try await cluster.script("down", [])
                    for name in files {
                        try flipABit(in: cluster.folder(ofNode: victim).appending(path: name))
                    }
                    _ = try await cluster.up()
                    #expect(cluster.log(ofNode: victim).contains("damaged"))
                    for name in files {
                        let kept = cluster.folder(ofNode: victim).appending(path: name + ".damaged")
                        #expect(FileManager.default.fileExists(atPath: kept.path))
                        try FileManager.default.removeItem(at: kept)
                    }
                    let key = try await cluster.generate()
                    try await eventually("node \(victim) has caught up") {
                        try await cluster.masterKeys(at: victim).map(\.label).contains(key.label) ? true : nil
                    }
                }
                // With it, and without one of the others, there is a majority.
                try await cluster.kill("node", "3")
                #expect(try await cluster.generate(at: victim).isUsable)
            }
        }

        /// Damages the first thing in a database that names an endpoint.
        private func flipABit(in file: URL) throws {
            var bytes = try Data(contentsOf: file)
            let range = try #require(bytes.range(of: Data("hsm-a".utf8)))
            bytes[range.lowerBound] ^= 1
            try bytes.write(to: file)
        }
    }
}
