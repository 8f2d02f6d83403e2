/* Compiled twice: against glibc's headers, as every object of fairlead-cni is, and against those of musl, which it is
 * linked with. FACTS is the name of the array. What fairlead-cni calls (symbols.txt) takes structures and constants
 * that are listed here, unless they are the kernel's. */
#define _GNU_SOURCE
#include "cni-plugin/libc/facts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <netinet/in.h>
#include <poll.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A table, not a column. */
/* clang-format off */
#define SIZE(type) {"sizeof " #type, sizeof(type)}
#define AT(type, member) {#type "." #member, offsetof(type, member)}
#define IS(constant) {#constant, constant}

const struct fairlead_libc_fact FACTS[] = {
    /* stat, fstat; mkdir */
    SIZE(struct stat), AT(struct stat, st_dev), AT(struct stat, st_ino), AT(struct stat, st_nlink),
    AT(struct stat, st_mode), AT(struct stat, st_uid), AT(struct stat, st_size), AT(struct stat, st_atim),
    AT(struct stat, st_mtim), AT(struct stat, st_ctim), IS(S_IFMT), IS(S_IFREG), IS(S_IFDIR),
    /* fstatfs, statvfs */
    SIZE(struct statfs), AT(struct statfs, f_type), SIZE(struct statvfs), AT(struct statvfs, f_bsize),
    AT(struct statvfs, f_frsize), AT(struct statvfs, f_blocks), AT(struct statvfs, f_bavail),
    AT(struct statvfs, f_files), AT(struct statvfs, f_ffree), AT(struct statvfs, f_favail), AT(struct statvfs, f_flag),
    IS(ST_RDONLY),
    /* readdir */
    AT(struct dirent, d_ino), AT(struct dirent, d_reclen), AT(struct dirent, d_type), AT(struct dirent, d_name),
    IS(DT_DIR), IS(DT_REG),
    /* clock_gettime, nanosleep, futimens */
    SIZE(struct timespec), AT(struct timespec, tv_sec), AT(struct timespec, tv_nsec), SIZE(clockid_t),
    IS(CLOCK_REALTIME), IS(CLOCK_MONOTONIC), IS(CLOCK_BOOTTIME), IS(UTIME_NOW), IS(UTIME_OMIT),
    /* poll */
    SIZE(struct pollfd), AT(struct pollfd, fd), AT(struct pollfd, events), AT(struct pollfd, revents), SIZE(nfds_t),
    IS(POLLIN), IS(POLLOUT), IS(POLLHUP), IS(POLLERR),
    /* open, openat, faccessat, unlinkat, linkat, fcntl, flock, access */
    IS(O_RDONLY), IS(O_WRONLY), IS(O_RDWR), IS(O_CREAT), IS(O_EXCL), IS(O_TRUNC), IS(O_CLOEXEC), IS(O_NOFOLLOW),
    IS(O_NONBLOCK), IS(O_NOCTTY), IS(O_DIRECTORY), IS(O_PATH), IS(O_TMPFILE), IS(O_APPEND), IS(AT_FDCWD),
    IS(AT_SYMLINK_FOLLOW), IS(AT_SYMLINK_NOFOLLOW), IS(AT_REMOVEDIR), IS(AT_EACCESS), IS(F_DUPFD_CLOEXEC), IS(F_GETFD),
    IS(F_SETFD), IS(F_GETFL), IS(F_SETFL), IS(FD_CLOEXEC), IS(LOCK_SH), IS(LOCK_EX), IS(LOCK_NB), IS(LOCK_UN), IS(R_OK),
    IS(W_OK), IS(X_OK), IS(F_OK), SIZE(off_t), SIZE(mode_t), SIZE(ssize_t), SIZE(pid_t),
    /* mmap */
    IS(PROT_READ), IS(PROT_WRITE), IS(MAP_SHARED), IS(MAP_PRIVATE), IS(MAP_ANONYMOUS), IS(MAP_STACK), IS(MAP_NORESERVE),
    /* socket, bind, connect, send, recv, setsockopt, getsockopt */
    SIZE(socklen_t), SIZE(struct sockaddr_un), AT(struct sockaddr_un, sun_path), SIZE(struct sockaddr_in),
    AT(struct sockaddr_in, sin_port), AT(struct sockaddr_in, sin_addr), SIZE(struct in_addr), SIZE(struct in6_addr),
    IS(AF_UNSPEC), IS(AF_UNIX), IS(AF_INET), IS(AF_INET6), IS(AF_NETLINK), IS(AF_BRIDGE), IS(SOCK_STREAM),
    IS(SOCK_RAW), IS(SOCK_DGRAM), IS(SOCK_CLOEXEC), IS(SOCK_NONBLOCK), IS(SOL_SOCKET), IS(SO_RCVBUF), IS(SO_SNDBUF),
    IS(SO_RCVTIMEO), IS(SO_SNDTIMEO), IS(MSG_DONTWAIT), IS(MSG_NOSIGNAL), IS(MSG_TRUNC), IS(MSG_PEEK), IS(IPPROTO_IP),
    IS(IPPROTO_IPV6), IS(IPPROTO_RAW), IS(IPPROTO_TCP), IS(IPPROTO_UDP), IS(IPPROTO_SCTP),
    /* clone, setns; posix_spawn, waitpid, kill, signal */
    IS(CLONE_NEWNET), IS(CLONE_VM), IS(CLONE_FS), IS(CLONE_FILES), IS(CLONE_VFORK), SIZE(posix_spawn_file_actions_t),
    SIZE(posix_spawnattr_t), IS(POSIX_SPAWN_SETSIGDEF), IS(POSIX_SPAWN_SETSIGMASK), IS(POSIX_SPAWN_SETPGROUP),
    SIZE(sigset_t), IS(SIGCHLD), IS(SIGKILL), IS(SIGTERM), IS(SIGPIPE), IS(WNOHANG),
    /* regcomp, regexec, whose structure only the library looks into */
    SIZE(regex_t), IS(REG_EXTENDED), IS(REG_NOSUB), IS(REG_ICASE),
    /* localeconv, of which std::to_string and JSON numbers want the point */
    AT(struct lconv, decimal_point),
    /* errno */
    IS(EPERM), IS(ENOENT), IS(ESRCH), IS(EINTR), IS(EIO), IS(ENXIO), IS(E2BIG), IS(EBADF), IS(ECHILD), IS(EAGAIN),
    IS(ENOMEM), IS(EACCES), IS(EBUSY), IS(EEXIST), IS(EXDEV), IS(ENODEV), IS(ENOTDIR), IS(EISDIR), IS(EINVAL),
    IS(ENFILE), IS(EMFILE), IS(ETXTBSY), IS(EFBIG), IS(ENOSPC), IS(EROFS), IS(EPIPE), IS(ERANGE), IS(EDEADLK),
    IS(ENAMETOOLONG), IS(ENOSYS), IS(ELOOP), IS(ENODATA), IS(ETIME), IS(EPROTO), IS(EBADMSG), IS(EOVERFLOW),
    IS(ENOTSOCK), IS(EMSGSIZE), IS(EPROTONOSUPPORT), IS(EOPNOTSUPP), IS(EAFNOSUPPORT), IS(EADDRINUSE),
    IS(EADDRNOTAVAIL), IS(ENETDOWN), IS(ENETUNREACH), IS(ECONNREFUSED), IS(ECONNRESET), IS(ENOBUFS), IS(ENOTCONN),
    IS(ETIMEDOUT), IS(EHOSTUNREACH), IS(EALREADY), IS(EINPROGRESS), IS(ESTALE), IS(ERESTART), IS(EDQUOT),
    {0, 0}};
