// p11-kit's header, and nothing of its library; and one function of the C library. Named by its folder, so that no pkg-config file brings in -lp11-kit:
// the provider may depend on nothing that an application's machine might lack.

#ifndef HSMCLUSTER_CCRYPTOKI_SHIM_H
#define HSMCLUSTER_CCRYPTOKI_SHIM_H

#include <p11-kit-1/p11-kit/pkcs11.h>

/// getenv(3), but NULL in a process that runs with raised privileges. The C library declares it for GNU programs only.
extern char *secure_getenv(const char *name);

#endif
