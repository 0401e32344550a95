// Common to all fuzz targets: FUZZ_TARGET(input) { … } defines the entry point that libFuzzer, or
// replay_main.cpp with any compiler, calls with one input. FUZZ_CHECK asserts a property and ends
// the process if it does not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../sim/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

#define FUZZ_TARGET(input)                                                              \
    static void run_one_input(std::string_view input);                                  \
    extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
        run_one_input(std::string_view(reinterpret_cast<const char*>(data), size));     \
        return 0;                                                                       \
    }                                                                                   \
    static void run_one_input([[maybe_unused]] std::string_view input)

#define FUZZ_CHECK(condition) SIM_CHECK(condition)
