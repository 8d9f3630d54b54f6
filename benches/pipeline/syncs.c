/* Counts what is waited for on the disk, in SQLite's process as in PostgreSQL's. Loaded before libc; the file named by SYNCS
 * holds the count, and whatever a process forks goes on counting in it. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_ulong *count;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SYNCS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(0, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) count = shared;
    close(file);
}

int fsync(int fd) {
    if (count) atomic_fetch_add(count, 1);
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    if (count) atomic_fetch_add(count, 1);
    return syscall(SYS_fdatasync, fd);
}
