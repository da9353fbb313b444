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
if(NOT TARGET keyedpool-testkit-static)
  list(APPEND headers PATTERN "keyedpool_test.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-sqlite-static)
  list(APPEND headers PATTERN "keyedpool_sqlite.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-apr-static)
  list(APPEND headers PATTERN "keyedpool_apr.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-postgres-static)
  list(APPEND headers PATTERN "keyedpool_postgres.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-socket-static)
  list(APPEND headers PATTERN "keyedpool_socket.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-redis-static)
  list(APPEND headers PATTERN "keyedpool_redis.h" EXCLUDE)
endif()
if(NOT TARGET keyedpool-http-static)
  list(APPEND headers PATTERN "keyedpool_http.h" EXCLUDE)
endif()
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
# The man page, if scdoc is installed.
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
# The headers refer to docs/*.md; the decisions are for who changes keyedpool.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
  ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR}
  PATTERN man EXCLUDE PATTERN decisions EXCLUDE)
