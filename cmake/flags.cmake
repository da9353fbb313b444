# SPDX-License-Identifier: MIT
#
# How our own targets are compiled. Nothing here reaches a project that links keyedpool.

# One place for both languages, so that examples in C++ are held to the same warnings.
function(kp_flags target)
  target_compile_features(${target} PRIVATE c_std_11)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_EXTENSIONS OFF CXX_STANDARD 17 CXX_EXTENSIONS OFF)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow -Wconversion -Wpedantic
    # Text of fixed size (kp_why.text) is cut on purpose.
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
    $<$<BOOL:${KP_WERROR}>:-Werror>
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>)
  if(KP_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${KP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${KP_SANITIZE})
  endif()
  if(KP_COVERAGE)
    target_compile_options(${target} PRIVATE --coverage)
    target_link_options(${target} PRIVATE --coverage)
  endif()
endfunction()
