// SIM_CHECK asserts a property and ends the process if it does not hold: after such a fault no test
// can report.
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
