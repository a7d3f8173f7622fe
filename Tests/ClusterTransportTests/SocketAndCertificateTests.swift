// All tests that make certificates or sockets run one after the other: one of them counts the sockets of
// the whole process, and two cores are soon busy.

import Testing

@Suite(.serialized) struct SocketAndCertificateTests {}
