// SIM_CHECK states a property and ends the process when it does not hold: what it guards is broken
// beyond what a test could report.
#pragma once

#include <cstdio>
#include <cstdlib>

#define SIM_CHECK(condition)                                                                    \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                       \
        }                                                                                       \
    } while (false)
