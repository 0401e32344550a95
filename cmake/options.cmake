# Flags of every target of the project: warnings, hardening, sanitizers. Warnings are errors only in the
# developers' presets (CMAKE_COMPILE_WARNING_AS_ERROR): a compiler newer than the code has new warnings.
add_library(s3gate_options INTERFACE)
target_include_directories(s3gate_options INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(s3gate_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
# Asio: no deprecated names, no stackful coroutines. Debian's spdlog is compiled with an external fmt.
target_compile_definitions(s3gate_options INTERFACE
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE S3GATE_VERSION="${PROJECT_VERSION}")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(s3gate_options INTERFACE -fcoroutines)
endif()

if(S3GATE_SANITIZE STREQUAL "address")
    # Without the vptr check: it opens a pipe to probe memory, and reports falsely when the daemon has no descriptors.
    target_compile_options(s3gate_options INTERFACE -fsanitize=address,undefined
        -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # GCC 12's own instrumentation of std::regex causes false warnings about uninitialized members.
        target_compile_options(s3gate_options INTERFACE -Wno-maybe-uninitialized)
    endif()
    target_link_options(s3gate_options INTERFACE -fsanitize=address,undefined)
elseif(S3GATE_SANITIZE STREQUAL "thread")
    # GCC warns that Asio's fences are not instrumented; the code itself does not use fences.
    target_compile_options(s3gate_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(s3gate_options INTERFACE -Wno-tsan)
    endif()
    target_link_options(s3gate_options INTERFACE -fsanitize=thread)
elseif(S3GATE_HARDENING)
    target_compile_options(s3gate_options INTERFACE -fstack-protector-strong -fPIE -fcf-protection)
    target_compile_definitions(s3gate_options INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:_FORTIFY_SOURCE=3>)
    target_link_options(s3gate_options INTERFACE -pie -Wl,-z,relro,-z,now)
endif()

# One static library per module, so a wrong include direction is a build error.
#   s3gate_module(NAME [DEPS other modules and libraries])
function(s3gate_module name)
    cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    add_library(s3gate_${name} STATIC ${sources})
    target_link_libraries(s3gate_${name} PUBLIC s3gate_options ${ARG_DEPS})
    target_include_directories(s3gate_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()
