// Vendor modules crash, hang, leak and fail, but not when a test needs it. This module stands before a real
// one (SoftHSM) and misbehaves on demand. It is told by its environment:
//   FAULTY_MODULE_TARGET   the real module
//   FAULTY_MODULE_CONTROL  a file of lines `FUNCTION ACTION`, read at every call: ACTION is `hang`, `crash`,
//                          `leak`, `logout` (before the call, where it has a session) or a number to return instead of calling the real module
//   FAULTY_MODULE_LOG      a file that gets one line `FUNCTION` for every call, for tests that count

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST real, faulty;

static void note(const char *function) {
    const char *path = getenv("FAULTY_MODULE_LOG");
    int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    dprintf(file, "%s\n", function);
    close(file);
}

// Carries out what the control file orders for `function`. True when `result` is to be returned.
static int misbehave(const char *function, CK_SESSION_HANDLE session, CK_RV *result) {
    note(function);
    const char *path = getenv("FAULTY_MODULE_CONTROL");
    FILE *control = path == NULL ? NULL : fopen(path, "re");
    if (control == NULL) return 0;
    char name[64], action[64];
    int ordered = 0;
    while (!ordered && fscanf(control, "%63s %63s", name, action) == 2) {
        ordered = strcmp(name, function) == 0;
    }
    fclose(control);
    if (!ordered) return 0;
    if (strcmp(action, "hang") == 0) {
        for (;;) pause();
    }
    if (strcmp(action, "crash") == 0) abort();
    if (strcmp(action, "leak") == 0) {
        char *lost = malloc(64 << 20);
        if (lost != NULL) memset(lost, 1, 64 << 20);
        // The compiler must not prove that nobody needs it.
        __asm__ volatile("" : : "r"(lost) : "memory");
        return 0;
    }
    if (strcmp(action, "logout") == 0) {
        real.C_Logout(session);
        return 0;
    }
    *result = strtoul(action, NULL, 0);
    return 1;
}

#define FAULTY(NAME, SESSION, PARAMETERS, ARGUMENTS) \
    static CK_RV faulty_##NAME PARAMETERS { \
        CK_RV result; \
        return misbehave(#NAME, SESSION, &result) ? result : real.NAME ARGUMENTS; \
    }

FAULTY(C_Initialize, 0, (void *arguments), (arguments))
FAULTY(C_Finalize, 0, (void *reserved), (reserved))
FAULTY(C_GetSlotList, 0, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count), (present, slots, count))
FAULTY(C_GetTokenInfo, 0, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
FAULTY(C_OpenSession, 0,
       (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session),
       (slot, flags, application, notify, session))
FAULTY(C_GetSessionInfo, session, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
FAULTY(C_Login, session, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG length),
       (session, user, pin, length))
FAULTY(C_FindObjectsInit, session, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count),
       (session, template, count))
FAULTY(C_GenerateKey, session,
       (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count,
        CK_OBJECT_HANDLE *key),
       (session, mechanism, template, count, key))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    const char *path = getenv("FAULTY_MODULE_TARGET");
    void *library = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return CKR_GENERAL_ERROR;
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *found = NULL;
    if (get == NULL || get(&found) != CKR_OK || found == NULL) return CKR_GENERAL_ERROR;
    real = *found;
    faulty = *found;
    faulty.C_GetFunctionList = C_GetFunctionList;
    faulty.C_Initialize = faulty_C_Initialize;
    faulty.C_Finalize = faulty_C_Finalize;
    faulty.C_GetSlotList = faulty_C_GetSlotList;
    faulty.C_GetTokenInfo = faulty_C_GetTokenInfo;
    faulty.C_OpenSession = faulty_C_OpenSession;
    faulty.C_GetSessionInfo = faulty_C_GetSessionInfo;
    faulty.C_Login = faulty_C_Login;
    faulty.C_FindObjectsInit = faulty_C_FindObjectsInit;
    faulty.C_GenerateKey = faulty_C_GenerateKey;
    *list = &faulty;
    return CKR_OK;
}
