# cmake --install BUILD --prefix ANY: the program, its unit, the pages and samples. The prefix is known only at the installation,
# so the unit's paths are written then. DESTDIR is the packagers' prefix before it.
include(GNUInstallDirs)
install(CODE "set(s3gate_source [[${PROJECT_SOURCE_DIR}]])\nset(s3gate_build [[${PROJECT_BINARY_DIR}]])\n\
set(s3gate_bindir [[${CMAKE_INSTALL_BINDIR}]])\nset(s3gate_docdir [[${CMAKE_INSTALL_DOCDIR}]])")
install(SCRIPT cmake/install_folders.cmake)

install(TARGETS s3gate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Same layout as in the checkout, so the pages' links work.
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs config DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(SCRIPT cmake/install_unit.cmake)
