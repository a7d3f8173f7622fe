// What two processes need to talk through memory, as functions that Swift can import: atomic access to words in a
// mapping (the standard library's atomics can't be placed there), futex(2), memfd_create(2), eventfd(2), epoll(7),
// pidfd_open(2), and descriptors passed over a Unix socket (unix(7), SCM_RIGHTS).
#ifndef HSMCLUSTER_CSHAREDMEMORY_SHIM_H
#define HSMCLUSTER_CSHAREDMEMORY_SHIM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// glibc declares these only under _GNU_SOURCE.
extern long syscall(long number, ...);
extern int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);

// Struct ucred of unix(7), as SO_PEERCRED fills it.
struct CSharedMemory_credentials {
    int32_t process;
    uint32_t user;
    uint32_t group;
};

// The order of all these is sequentially consistent: a sleeper announces itself and then looks once more, the
// other side writes and then looks for sleepers; neither may be reordered.
static inline uint32_t CSharedMemory_load32(const void *word) {
    return __atomic_load_n((const uint32_t *)word, __ATOMIC_SEQ_CST);
}
static inline void CSharedMemory_store32(void *word, uint32_t value) {
    __atomic_store_n((uint32_t *)word, value, __ATOMIC_SEQ_CST);
}
static inline uint32_t CSharedMemory_exchange32(void *word, uint32_t value) {
    return __atomic_exchange_n((uint32_t *)word, value, __ATOMIC_SEQ_CST);
}
static inline int CSharedMemory_swap32(void *word, uint32_t expected, uint32_t desired) {
    return __atomic_compare_exchange_n(
        (uint32_t *)word, &expected, desired, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
static inline uint64_t CSharedMemory_load64(const void *word) {
    return __atomic_load_n((const uint64_t *)word, __ATOMIC_SEQ_CST);
}
static inline void CSharedMemory_store64(void *word, uint64_t value) {
    __atomic_store_n((uint64_t *)word, value, __ATOMIC_SEQ_CST);
}
static inline uint64_t CSharedMemory_or64(void *word, uint64_t bits) {
    return __atomic_fetch_or((uint64_t *)word, bits, __ATOMIC_SEQ_CST);
}
static inline uint64_t CSharedMemory_and64(void *word, uint64_t bits) {
    return __atomic_fetch_and((uint64_t *)word, bits, __ATOMIC_SEQ_CST);
}

// Tells the processor that this is a loop of waiting.
static inline void CSharedMemory_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

// Sleeps while *word is `expected`, at most so many nanoseconds. May return early.
static inline void CSharedMemory_futex_wait(void *word, uint32_t expected, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, 0, 0);
}
static inline void CSharedMemory_futex_wake(void *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, 0x7FFFFFFF, 0, 0, 0);
}

// Memory with a name for /proc only, which can be sealed: MFD_CLOEXEC | MFD_ALLOW_SEALING.
static inline int CSharedMemory_memfd(const char *name) {
    return (int)syscall(SYS_memfd_create, name, 3U);
}
// F_ADD_SEALS and F_GET_SEALS of linux/fcntl.h, which glibc shows only under _GNU_SOURCE.
static const int CSharedMemory_seal_seal = 1;
static const int CSharedMemory_seal_shrink = 2;
static const int CSharedMemory_seal_grow = 4;
// Nobody may map it for writing or write to it from now on; mappings that exist stay as they are.
static const int CSharedMemory_seal_future_write = 16;
static inline int CSharedMemory_add_seals(int descriptor, int seals) {
    return fcntl(descriptor, 1024 + 9, seals);
}
static inline int CSharedMemory_get_seals(int descriptor) { return fcntl(descriptor, 1024 + 10); }
// The page reads as zeros in a child after fork(2).
static inline int CSharedMemory_wipe_on_fork(void *page, size_t length) { return madvise(page, length, 18); }

static inline int CSharedMemory_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline int CSharedMemory_pidfd(int32_t process) { return (int)syscall(SYS_pidfd_open, process, 0U); }

// Every write to `descriptor` wakes one thread that waits.
static inline int CSharedMemory_epoll_add(int set, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
}
static inline int CSharedMemory_epoll_remove(int set, int descriptor) {
    struct epoll_event event = {0};
    return epoll_ctl(set, EPOLL_CTL_DEL, descriptor, &event);
}
static inline int CSharedMemory_epoll_make(void) { return epoll_create1(EPOLL_CLOEXEC); }
// Waits for one ring; which one doesn't matter.
static inline int CSharedMemory_epoll_wait(int set, int milliseconds) {
    struct epoll_event event;
    return epoll_wait(set, &event, 1, milliseconds);
}

enum { CSharedMemory_most_descriptors = 3 };

// Sends bytes and descriptors in one message. Returns what sendmsg(2) does.
static inline ssize_t CSharedMemory_send(
    int socket, const void *bytes, size_t length, const int *descriptors, int count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * CSharedMemory_most_descriptors)];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > CSharedMemory_most_descriptors) count = CSharedMemory_most_descriptors;
    if (count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Receives bytes and up to three descriptors, closing any beyond. Returns what recvmsg(2) does.
static inline ssize_t CSharedMemory_receive(
    int socket, void *bytes, size_t length, int *descriptors, int *count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * CSharedMemory_most_descriptors)];
    } control;
    struct iovec part = {bytes, length};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    *count = 0;
    ssize_t result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (result < 0) return result;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        int present = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < present; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(h) + sizeof(int) * i, sizeof(int));
            if (*count < CSharedMemory_most_descriptors)
                descriptors[(*count)++] = descriptor;
            else
                close(descriptor);
        }
    }
    return result;
}

#endif
