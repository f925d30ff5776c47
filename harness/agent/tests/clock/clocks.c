/* Answers each line with what the C library's clocks show; names as in clock.rs. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

static long long ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        struct timeval tv;
        gettimeofday(&tv, NULL);
        time_t into, seconds = time(&into);
        printf("@r=%lld r/1000=%lld R/1000000000=%lld R/1000000000=%lld R=%lld m=%lld M=%lld\n",
               ns(CLOCK_REALTIME), tv.tv_sec * 1000000000LL + tv.tv_usec * 1000LL,
               seconds * 1000000000LL, into * 1000000000LL,
               ns(CLOCK_REALTIME_COARSE), ns(CLOCK_MONOTONIC), ns(CLOCK_MONOTONIC_COARSE));
        fflush(stdout);
    }
    return 0;
}
