// All tests that make certificates or sockets run one after the other: they start programs and crowd a
// port on purpose, and two cores are soon busy.

import Testing

@Suite(.serialized) struct SocketAndCertificateTests {}
