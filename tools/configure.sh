#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Configures one preset, quietly, with Ninja if it is installed. Does nothing if the preset is
# configured already: the build itself runs CMake again when that is needed.
set -eu
cd "$(dirname "$0")/.."

preset=$1
if [ -f "build/$preset/CMakeCache.txt" ] &&
   { [ -f "build/$preset/build.ninja" ] || [ -f "build/$preset/Makefile" ]; }; then
    exit 0
fi
if command -v ninja >/dev/null 2>&1; then
    export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
fi
rm -f "build/$preset/CMakeCache.txt"
exec cmake --preset "$preset" --log-level=WARNING >/dev/null
