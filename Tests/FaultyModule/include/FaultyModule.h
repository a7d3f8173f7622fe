// A PKCS#11 module for tests: passes every call on to a real module, except where a control file orders a
// fault. See FaultyModule.c.
#ifndef HSMCLUSTER_FAULTY_MODULE_H
#define HSMCLUSTER_FAULTY_MODULE_H
#endif
