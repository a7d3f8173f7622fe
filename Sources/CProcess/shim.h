// Swift sees the C library without its GNU extensions and without variadic functions. These few are needed to
// start a token host cleanly, to harden it and to know its peers: posix_spawn(3) of glibc 2.34 and later,
// prctl(2), accept4(2), pipe2(2), unix(7).
#ifndef HSMCLUSTER_CPROCESS_SHIM_H
#define HSMCLUSTER_CPROCESS_SHIM_H

#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

// glibc declares these only under _GNU_SOURCE.
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
extern int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
extern int pipe2(int descriptors[2], int flags);

// struct ucred of unix(7), as SO_PEERCRED fills it.
struct CProcess_credentials {
    pid_t process;
    uid_t user;
    gid_t group;
};

// POSIX_SPAWN_SETSID of glibc's spawn.h: the child begins a session of its own.
static const short CProcess_spawn_setsid = 0x80;

// No core dumps, no ptrace by other processes of the same user, /proc/PID owned by root. Returns 0 on success.
static inline int CProcess_forbid_dumps(void) {
    struct rlimit none = {0, 0};
    int limited = setrlimit(RLIMIT_CORE, &none);
    int forbidden = prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
    return limited == 0 && forbidden == 0 ? 0 : -1;
}

#endif
