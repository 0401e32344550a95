# Run by cmake --install, last: systemd/s3gate.service with the paths of this prefix (install_folders.cmake)
# in the place of /usr's.
file(READ "${s3gate_source}/systemd/s3gate.service" unit)

# put OLD NEW: in the unit; a unit that has no OLD any more must not be installed with a wrong path.
macro(put old new)
    string(FIND "${unit}" "${old}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "systemd/s3gate.service has no ${old}")
    endif()
    string(REPLACE "${old}" "${new}" unit "${unit}")
endmacro()

# systemd reads % as the start of a specifier and splits a command at spaces that stand in no quotes.
string(REPLACE "%" "%%" program "${s3gate_bindir}/s3gate")
if(program MATCHES "[ \t]")
    set(program "\"${program}\"")
endif()
string(REPLACE "%" "%%25" pages "${s3gate_docdir}")
string(REPLACE " " "%%20" pages "${pages}")
put("ExecStart=/usr/bin/s3gate " "ExecStart=${program} ")
put("Documentation=file:///usr/share/doc/s3gate" "Documentation=file://${pages}")

# Written where it belongs: what sudo leaves in the build folder, its owner could not overwrite.
set(unit_file "${s3gate_unitdir}/s3gate.service")
message(STATUS "Installing: $ENV{DESTDIR}${unit_file}")
file(WRITE "$ENV{DESTDIR}${unit_file}" "${unit}")
file(CHMOD "$ENV{DESTDIR}${unit_file}" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${unit_file}")
