/* A machine whose clock is wrong by WRONG_CLOCK seconds. Loaded before libc. What only moves forward (CLOCK_MONOTONIC) is
 * right, as on such a machine. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(void) {
    const char *seconds = getenv("WRONG_CLOCK");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int end = syscall(SYS_clock_gettime, clock, now);
    if (end == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += wrong_by();
    return end;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int end = syscall(SYS_gettimeofday, now, zone);
    if (end == 0 && now) now->tv_sec += wrong_by();
    return end;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
