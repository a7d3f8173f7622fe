// The C side of the token host's credential record: crypt_gensalt_rn(3) and crypt_rn(3) of libxcrypt, which
// Debian calls libcrypt.
#ifndef HSMCLUSTER_CCRYPT_SHIM_H
#define HSMCLUSTER_CCRYPT_SHIM_H

#include <crypt.h>

#endif
