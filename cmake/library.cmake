# SPDX-License-Identifier: MIT
#
# kp_library: one library of the family, static and shared from the same objects. Only what
# tools/exports.txt names is exported. The targets of `keyedpool` are keyedpool-static and
# keyedpool-shared; those of any other NAME are keyedpool-NAME-static and keyedpool-NAME-shared.
#
#   kp_library(NAME SOURCES file... [PRIVATE_INCLUDES folder...] [NEEDS name...] [LINKS target...])

# The linker's version script, made from the section [library] of tools/exports.txt.
function(kp_version_script library out)
  set(list ${PROJECT_SOURCE_DIR}/tools/exports.txt)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  file(STRINGS ${list} lines REGEX "^[^#]")
  set(script "")
  set(inside OFF)
  set(previous "")
  set(local "local: *; ")
  foreach(line IN LISTS lines)
    if(line MATCHES "^\\[([^ ]+) ([^ ]+)\\]$")
      if(inside)
        string(APPEND script "${local}}${previous};\n")
        set(previous " ${node}")
        set(local "")
      endif()
      set(inside OFF)
      if(CMAKE_MATCH_1 STREQUAL library)
        set(inside ON)
        set(node ${CMAKE_MATCH_2})
        string(APPEND script "${node} { global: ")
      endif()
    elseif(inside)
      string(APPEND script "${line}; ")
    endif()
  endforeach()
  if(inside)
    string(APPEND script "${local}}${previous};\n")
  endif()
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/exports/${library}.map CONTENT "${script}")
  if(script)
    set(${out} ${PROJECT_BINARY_DIR}/exports/${library}.map PARENT_SCOPE)
  else()
    set(${out} "" PARENT_SCOPE)
  endif()
endfunction()

function(kp_library name)
  cmake_parse_arguments(LIB "" "" "SOURCES;PRIVATE_INCLUDES;NEEDS;LINKS" ${ARGN})
  set(library keyedpool-${name})
  if(name STREQUAL keyedpool)
    set(library keyedpool)
  endif()

  add_library(${library}-objects OBJECT ${LIB_SOURCES})
  kp_flags(${library}-objects)
  set_target_properties(${library}-objects PROPERTIES
    POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
  target_compile_definitions(${library}-objects PRIVATE KP_BUILD
    $<$<BOOL:${KP_VERIFY}>:KP_VERIFY=1> $<$<BOOL:${KP_NO_FUTEX}>:KP_NO_FUTEX=1>)
  target_include_directories(${library}-objects PRIVATE include adapters ${LIB_PRIVATE_INCLUDES})
  target_link_libraries(${library}-objects PRIVATE ${LIB_LINKS})
  if(KP_COVERAGE)
    target_compile_options(${library}-objects PRIVATE ${KP_COVERAGE_FLAGS})
  endif()

  foreach(kind static shared)
    string(TOUPPER ${kind} KIND)
    set(target ${library}-${kind})
    add_library(${target} ${KIND} $<TARGET_OBJECTS:${library}-objects>)
    set_target_properties(${target} PROPERTIES OUTPUT_NAME ${library} EXPORT_NAME ${name}-${kind}
      VERSION ${PROJECT_VERSION} SOVERSION ${KP_SOVERSION} LINKER_LANGUAGE C)
    target_include_directories(${target} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
      $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${target} PUBLIC ${LIB_LINKS})
    foreach(need IN LISTS LIB_NEEDS)
      target_link_libraries(${target} PUBLIC ${need}-${kind})
    endforeach()
    if(KP_SANITIZE)
      target_link_options(${target} PUBLIC -fsanitize=${KP_SANITIZE})
    endif()
    if(KP_COVERAGE)
      target_link_options(${target} PUBLIC ${KP_COVERAGE_LINK})
    endif()
    add_library(keyedpool::${name}-${kind} ALIAS ${target})
  endforeach()

  # It finds keyedpool beside itself: the rpath of a program does not reach what its libraries need.
  if(LIB_NEEDS)
    set_target_properties(${library}-shared PROPERTIES INSTALL_RPATH "$ORIGIN")
  endif()

  kp_version_script(${library} map)
  if(map)
    target_link_options(${library}-shared PRIVATE LINKER:--version-script=${map})
    set_target_properties(${library}-shared PROPERTIES LINK_DEPENDS ${map})
  endif()
  if(NOT KP_SANITIZE)
    target_link_options(${library}-shared PRIVATE LINKER:-z,defs)
  endif()
  # Never unloaded: the keeper's threads stay, and the kernel may still refer to the latest
  # restartable sequence. An adapter's thread that looks a host up may outlive the pool, and so may
  # a call of its drop_ctx.
  if(CMAKE_SYSTEM_NAME STREQUAL Linux)
    target_link_options(${library}-shared PRIVATE LINKER:-z,nodelete)
  endif()

  if(BUILD_SHARED_LIBS)
    add_library(keyedpool::${name} ALIAS ${library}-shared)
  else()
    add_library(keyedpool::${name} ALIAS ${library}-static)
  endif()
endfunction()
