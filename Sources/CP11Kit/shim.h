// The C side of the PKCS11 target: p11-kit's headers (Cryptoki 2.40), and the macros that Swift can't import
// because they contain a cast.

#ifndef HSMCLUSTER_CP11KIT_SHIM_H
#define HSMCLUSTER_CP11KIT_SHIM_H

#include <p11-kit/pkcs11.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

/// CKR_VENDOR_DEFINED.
static const CK_RV hsmcluster_return_value_vendor_defined = CKR_VENDOR_DEFINED;
/// CKM_VENDOR_DEFINED.
static const CK_MECHANISM_TYPE hsmcluster_mechanism_vendor_defined = CKM_VENDOR_DEFINED;
/// CKA_VENDOR_DEFINED.
static const CK_ATTRIBUTE_TYPE hsmcluster_attribute_vendor_defined = CKA_VENDOR_DEFINED;
/// CK_UNAVAILABLE_INFORMATION: what a module writes as a length or a count that it doesn't tell.
static const CK_ULONG hsmcluster_unavailable_information = CK_UNAVAILABLE_INFORMATION;

#endif
