/* A disk that fails on command. Loaded before libc; while the file named by FAULTY_DISK holds an errno, every write to
 * the store fails with it. Readable without root, and as real to SQLite as the kernel's own answer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fault(int fd) {
    char link[64], path[4096], text[16];
    const char *order = getenv("FAULTY_DISK");
    if (!order) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    if (!strstr(path, "campanile.db")) return 0;
    int file = open(order, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    n = syscall(SYS_read, file, text, sizeof text - 1);
    close(file);
    if (n <= 0) return 0;
    text[n] = 0;
    return atoi(text);
}

#define FAILS(fd)                      \
    int error = fault(fd);             \
    if (error) {                       \
        errno = error;                 \
        return -1;                     \
    }

ssize_t write(int fd, const void *bytes, size_t size) {
    FAILS(fd)
    return syscall(SYS_write, fd, bytes, size);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    FAILS(fd)
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    FAILS(fd)
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}
int fsync(int fd) {
    FAILS(fd)
    return syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    FAILS(fd)
    return syscall(SYS_fdatasync, fd);
}
int ftruncate(int fd, off_t size) {
    FAILS(fd)
    return syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) {
    FAILS(fd)
    return syscall(SYS_ftruncate, fd, size);
}
