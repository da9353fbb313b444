# SPDX-License-Identifier: MIT
#
# How our own targets are compiled. Nothing here reaches a project that links keyedpool.

# Clang from 18 on counts the single conditions of a decision (MC/DC), gcc only lines and branches.
# Counters are atomic, because a count lost to a race would look like a gap. Only the libraries are
# measured (library.cmake), not the tests.
if(CMAKE_C_COMPILER_ID STREQUAL Clang AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
  set(KP_COVERAGE_LINK -fprofile-instr-generate)
  set(KP_COVERAGE_FLAGS ${KP_COVERAGE_LINK} -fcoverage-mapping -fcoverage-mcdc
    -fprofile-update=atomic)
else()
  set(KP_COVERAGE_LINK --coverage)
  set(KP_COVERAGE_FLAGS --coverage -fprofile-update=atomic)
endif()

# One function for both languages, so that examples in C++ get the same warnings.
function(kp_flags target)
  target_compile_features(${target} PRIVATE c_std_11)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_EXTENSIONS OFF CXX_STANDARD 17 CXX_EXTENSIONS OFF
    UNITY_BUILD OFF)                    # files have private names that are alike
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow -Wconversion -Wpedantic
    # Text of fixed size (kp_why.text) is truncated on purpose.
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
    $<$<BOOL:${KP_WERROR}>:-Werror>
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>)
  if(KP_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${KP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${KP_SANITIZE})
  endif()
  if(KP_COVERAGE)
    target_link_options(${target} PRIVATE ${KP_COVERAGE_LINK})
  endif()
endfunction()
