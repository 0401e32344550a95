# First step of cmake --install: makes the missing folders, open to every user whatever the umask, because the daemon's user must
# reach the program. Existing folders stay unchanged.
get_filename_component(s3gate_prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
get_filename_component(s3gate_bindir "${s3gate_bindir}" ABSOLUTE BASE_DIR "${s3gate_prefix}")
get_filename_component(s3gate_docdir "${s3gate_docdir}" ABSOLUTE BASE_DIR "${s3gate_prefix}")
set(s3gate_unitdir "${s3gate_prefix}/lib/systemd/system")

function(make_open folder)
    if(EXISTS "${folder}")
        return()
    endif()
    get_filename_component(parent "${folder}" DIRECTORY)
    make_open("${parent}")
    file(MAKE_DIRECTORY "${folder}")
    file(CHMOD "${folder}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()

foreach(folder "${s3gate_bindir}" "${s3gate_docdir}" "${s3gate_unitdir}")
    make_open("$ENV{DESTDIR}${folder}")
endforeach()
