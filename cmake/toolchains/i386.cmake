# SPDX-License-Identifier: MIT
#
# i386 (32-bit), linked statically; an x86-64 kernel runs its programs, any other machine qemu. For
# make portability.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR i686)
set(CMAKE_C_COMPILER i686-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER "")
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
if(NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL x86_64)
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-i386-static)
endif()
add_compile_options(-Wno-psabi) # a note about gcc before 11
