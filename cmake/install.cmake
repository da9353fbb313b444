# SPDX-License-Identifier: MIT
#
# What `cmake --install` installs: headers, libraries, the command, relocatable pkg-config files,
# and a CMake package with a component for each library of the family.
include(CMakePackageConfigHelpers)

set(KP_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/keyedpool)

# A .pc file finds the prefix from its own folder, however deep that is, so that all may be moved; a
# folder that is not below the prefix is named as it is.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(KP_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH KP_PC_PREFIX /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
  string(REGEX REPLACE "/$" "" KP_PC_PREFIX "\${pcfiledir}/${KP_PC_PREFIX}")
endif()
foreach(folder LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
    set(KP_PC_${folder} "${CMAKE_INSTALL_${folder}}")
  else()
    set(KP_PC_${folder} "\${prefix}/${CMAKE_INSTALL_${folder}}")
  endif()
endforeach()

function(kp_install name description)
  set(library keyedpool-${name})
  if(name STREQUAL keyedpool)
    set(library keyedpool)
  endif()
  if(NOT TARGET ${library}-static)
    return()
  endif()
  install(TARGETS ${library}-static ${library}-shared EXPORT keyedpool-${name}-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT keyedpool-${name}-targets NAMESPACE keyedpool:: DESTINATION ${KP_PACKAGE_DIR})

  cmake_parse_arguments(PC "" "REQUIRES;LIBS_PRIVATE" "" ${ARGN})
  set(PC_NAME ${library})
  set(PC_DESCRIPTION "${description}")
  configure_file(${PROJECT_SOURCE_DIR}/cmake/library.pc.in
    ${PROJECT_BINARY_DIR}/${library}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${library}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

kp_install(keyedpool "Lends expensive, reusable resources by key" LIBS_PRIVATE -pthread)
kp_install(testkit "Virtual clock, failing memory and a scripted driver for users of keyedpool"
  REQUIRES "keyedpool = ${PROJECT_VERSION}" LIBS_PRIVATE -pthread)
# A program passes what it was lent to the vendor's functions: it links the vendor's library, too.
kp_install(sqlite "SQLite connections for keyedpool: many readers, one fair writer"
  REQUIRES "keyedpool = ${PROJECT_VERSION} sqlite3" LIBS_PRIVATE -pthread)

kp_install(apr "A drop-in for apr_reslist on keyedpool"
  REQUIRES "keyedpool = ${PROJECT_VERSION} apr-1 apr-util-1")

kp_install(postgres "PostgreSQL connections for keyedpool: by database, clean for the next one"
  REQUIRES "keyedpool = ${PROJECT_VERSION} libpq")
kp_install(socket "TCP and Unix stream sockets for keyedpool"
  REQUIRES "keyedpool = ${PROJECT_VERSION}" LIBS_PRIVATE -pthread)
kp_install(redis "Redis connections for keyedpool"
  REQUIRES "keyedpool = ${PROJECT_VERSION} hiredis" LIBS_PRIVATE -pthread)
kp_install(http "HTTP clients for keyedpool: a connection each, by origin"
  REQUIRES "keyedpool = ${PROJECT_VERSION} libcurl" LIBS_PRIVATE -pthread)

set(headers PATTERN "*.h" PATTERN "*.hpp")
file(GLOB KP_MAN3_SOURCES CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/*.h ${PROJECT_SOURCE_DIR}/include/keyedpool/*.h)
foreach(name testkit sqlite apr postgres socket redis http)
  if(NOT TARGET keyedpool-${name}-static)
    string(REPLACE testkit test name ${name})
    list(APPEND headers PATTERN "keyedpool_${name}.h" EXCLUDE)
    list(REMOVE_ITEM KP_MAN3_SOURCES ${PROJECT_SOURCE_DIR}/include/keyedpool_${name}.h)
  endif()
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING ${headers})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/keyedpool-config.cmake.in
  ${PROJECT_BINARY_DIR}/keyedpool-config.cmake INSTALL_DESTINATION ${KP_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/keyedpool-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/keyedpool-config.cmake
  ${PROJECT_BINARY_DIR}/keyedpool-config-version.cmake DESTINATION ${KP_PACKAGE_DIR})

if(TARGET keyedpool-cli)
  install(TARGETS keyedpool-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
# The man page of the command, if scdoc is installed.
find_program(SCDOC scdoc)
set(KP_MAN_SOURCE ${PROJECT_SOURCE_DIR}/docs/man/keyedpool.1.scd)
if(TARGET keyedpool-cli AND SCDOC)
  set(KP_MAN ${PROJECT_BINARY_DIR}/keyedpool.1)
  add_custom_command(OUTPUT ${KP_MAN} DEPENDS ${KP_MAN_SOURCE} VERBATIM
    COMMAND sh -c "\"${SCDOC}\" < \"${KP_MAN_SOURCE}\" > \"${KP_MAN}\"")
  add_custom_target(keyedpool-man ALL DEPENDS ${KP_MAN})
  add_dependencies(keyedpool-cli keyedpool-man)
  install(FILES ${KP_MAN} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
# Those of the functions in the headers that are installed, if Python 3 is.
find_program(KP_PYTHON NAMES python3)
if(KP_PYTHON)
  set(KP_MAN3 ${PROJECT_BINARY_DIR}/man/man3)
  add_custom_command(OUTPUT ${KP_MAN3}/keyedpool.3 VERBATIM
    DEPENDS ${KP_MAN3_SOURCES} ${PROJECT_SOURCE_DIR}/tools/man.py
      ${PROJECT_SOURCE_DIR}/tools/man_headers.py ${PROJECT_SOURCE_DIR}/tools/lint_contracts.py
    COMMAND ${KP_PYTHON} ${PROJECT_SOURCE_DIR}/tools/man.py --out ${KP_MAN3} ${KP_MAN3_SOURCES})
  add_custom_target(keyedpool-man3 ALL DEPENDS ${KP_MAN3}/keyedpool.3)
  add_dependencies(keyedpool-libraries keyedpool-man3)
  install(DIRECTORY ${KP_MAN3} DESTINATION ${CMAKE_INSTALL_MANDIR} FILES_MATCHING PATTERN "*.3")
else()
  message(STATUS "keyedpool: no python3, so no man pages of functions")
endif()
# The headers refer to docs/*.md; the decisions are for who changes keyedpool.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
  ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR}
  PATTERN man EXCLUDE PATTERN decisions EXCLUDE)
# These refer to the examples, each of which is a program by itself.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
  FILES_MATCHING PATTERN "*.c" PATTERN "*.cpp")
