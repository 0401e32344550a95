# Last step of cmake --install: writes systemd/s3gate.service with the paths of this prefix
# (install_folders.cmake) instead of /usr's.
file(READ "${s3gate_source}/systemd/s3gate.service" unit)

# put OLD NEW: replaces OLD in the unit. Fails without OLD: the unit would be installed with a wrong path.
macro(put old new)
    string(FIND "${unit}" "${old}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "systemd/s3gate.service has no ${old}")
    endif()
    string(REPLACE "${old}" "${new}" unit "${unit}")
endmacro()

# In systemd % starts a specifier, and unquoted spaces split a command.
string(REPLACE "%" "%%" program "${s3gate_bindir}/s3gate")
if(program MATCHES "[ \t]")
    set(program "\"${program}\"")
endif()
string(REPLACE "%" "%%25" pages "${s3gate_docdir}")
string(REPLACE " " "%%20" pages "${pages}")
put("ExecStart=/usr/bin/s3gate " "ExecStart=${program} ")
put("ExecReload=/usr/bin/s3gate " "ExecReload=${program} ")
put("Documentation=file:///usr/share/doc/s3gate" "Documentation=file://${pages}")

# Written directly to its place: a file that sudo leaves in the build folder could not be overwritten by its owner.
set(unit_file "${s3gate_unitdir}/s3gate.service")
message(STATUS "Installing: $ENV{DESTDIR}${unit_file}")
file(WRITE "$ENV{DESTDIR}${unit_file}" "${unit}")
file(CHMOD "$ENV{DESTDIR}${unit_file}" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${unit_file}")
