# SPDX-License-Identifier: MIT
#
# The machine's own processor with musl instead of glibc, linked statically. For make portability.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_HOST_SYSTEM_PROCESSOR})
set(CMAKE_C_COMPILER musl-gcc)
set(CMAKE_CXX_COMPILER "")
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
