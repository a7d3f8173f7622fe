// libsystemd's headers for service notification and the journal. The journal's functions are covered by
// macros that would record this header as the place of the log statement; they are switched off, since
// the caller's place is known in Swift. Source: sd_notify(3), sd_journal_send(3).
#ifndef HSMCLUSTER_CSYSTEMD_SHIM_H
#define HSMCLUSTER_CSYSTEMD_SHIM_H

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <sys/uio.h>

#endif
