// Hummingbird makes one of these for each request. It keeps the connection, from which the caller's
// certificate is read, and the caller once it is known.

import Hummingbird
import NIOCore

struct ManagementContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    var caller: CallerIdentity?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}
