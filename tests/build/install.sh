#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What is installed must serve programs of others: found by CMake with components, static and
# shared, by pkg-config, as a subdirectory, and after the whole tree was moved elsewhere.
set -eu
cd "$(dirname "$0")/../.."

build=$(cd "${1:?build folder}" && pwd)
source=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}
generator=${CMAKE_GENERATOR:-}
if [ -z "$generator" ] && command -v ninja >/dev/null 2>&1; then
    export CMAKE_GENERATOR=Ninja
fi

DESTDIR="$work/stage" cmake --install "$build" --prefix /opt/first >/dev/null
mkdir -p "$work/moved"
mv "$work/stage/opt/first" "$work/moved/here"
prefix=$work/moved/here
if grep -rIl "$work/stage" "$prefix" || grep -rIl "$source" "$prefix/lib"*; then
    echo "the files above name a folder of the build" >&2
    exit 1
fi

echo "== what the headers refer to"
for page in $(grep -rhoE 'docs/[A-Z]+\.md' "$prefix/include" | sort -u); do
    find "$prefix/share" -path "*/$page" | grep -q . || { echo "no $page" >&2; exit 1; }
done

echo "== the examples that installed pages refer to"
for example in $(grep -rhoE 'examples/[a-z_]+\.(c|cpp)' "$prefix/share" | sort -u); do
    find "$prefix/share" -path "*/$example" | grep -q . || { echo "no $example" >&2; exit 1; }
done

if [ -d "$build/man/man3" ]; then
    echo "== a man page of each function and header"
    find "$prefix" -name 'libkeyedpool*.so' -exec nm -D --defined-only {} + |
        sed -n 's/.* T \(kp_[a-z_]*\).*/\1/p' >"$work/pages"
    find "$prefix/include" -name 'keyedpool*.h' -exec basename {} .h \; >>"$work/pages"
    while read -r page; do
        [ -s "$prefix/share/man/man3/$page.3" ] || { echo "no $page.3" >&2; exit 1; }
    done <"$work/pages"
    if find "$prefix/share/man/man3" -name 'keyedpool*.3' -exec basename {} .3 \; |
            grep -vxFf "$work/pages"; then
        echo "the headers above have a page, and are not installed" >&2
        exit 1
    fi
fi

consume() {     # name, further cmake arguments
    name=$1
    shift
    echo "== $name"
    if ! { cmake -S "$source/tests/build/consumer" -B "$work/$name" -DCMAKE_BUILD_TYPE=Release \
               -DCMAKE_C_COMPILER="$cc" "$@" &&
           cmake --build "$work/$name"; } >"$work/log" 2>&1; then
        cat "$work/log"
        exit 1
    fi
    "$work/$name/app"
}

consume static -DCMAKE_PREFIX_PATH="$prefix"
consume shared -DCMAKE_PREFIX_PATH="$prefix" -DBUILD_SHARED_LIBS=ON
consume subdirectory -DKP_SOURCE="$source" -DCMAKE_UNITY_BUILD=ON

echo "== without Python"
cmake -S "$source" -B "$work/plain" -DCMAKE_C_COMPILER="$cc" -DKP_PYTHON=OFF -DKP_BUILD_TESTS=OFF \
    -DKP_BUILD_EXAMPLES=OFF -DKP_BUILD_CLI=OFF >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
grep -q "no python3, so no man pages" "$work/log" || { cat "$work/log"; exit 1; }
if grep man3 "$work/plain/cmake_install.cmake"; then
    echo "pages are to be installed that nobody made" >&2
    exit 1
fi

echo "== an unknown component"
if cmake -S "$source/tests/build/consumer" -B "$work/unknown" -DCMAKE_PREFIX_PATH="$prefix" \
        -DMORE_COMPONENTS=teapot >"$work/log" 2>&1; then
    echo "a component that does not exist was found" >&2
    exit 1
fi
grep -q "no component 'teapot'" "$work/log" || { cat "$work/log"; exit 1; }

if find "$prefix" -name keyedpool-redis-targets.cmake | grep -q .; then
    echo "== a component whose vendor's library is not here"
    PKG_CONFIG_LIBDIR=/nowhere consume optional -DCMAKE_PREFIX_PATH="$prefix" \
        "-DMORE_COMPONENTS=OPTIONAL_COMPONENTS;redis"
    if PKG_CONFIG_LIBDIR=/nowhere cmake -S "$source/tests/build/consumer" -B "$work/lacking" \
            -DCMAKE_PREFIX_PATH="$prefix" -DMORE_COMPONENTS=redis >"$work/log" 2>&1; then
        echo "hiredis was found nowhere" >&2
        exit 1
    fi
    grep -q "component 'redis' needs hiredis" "$work/log" || { cat "$work/log"; exit 1; }
fi

echo "== a prefix of two words"
if command -v make >/dev/null 2>&1; then
    make -s -n install PREFIX="/opt/two words" | grep -q -- '--prefix /opt/two\\ words$' ||
        { echo "make install would not install there" >&2; exit 1; }
fi

echo "== they stay loaded"
find "$prefix" -name 'libkeyedpool*.so' | while read -r library; do
    readelf -d "$library" | grep -q NODELETE ||
        { echo "$library can be unloaded under its own threads" >&2; exit 1; }
done

command -v pkg-config >/dev/null 2>&1 || exit 0
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name keyedpool.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir keyedpool)
app=$source/tests/build/consumer/app.c

# A program that calls its vendor's library, too, as each that uses an adapter does.
consume_vendor() {      # library, a header, one of its functions
    cat >"$work/vendor.c" <<END
#include <$2>
int main(void) { void (*volatile call)(void) = (void (*)(void))$3; return !call; }
END
    # shellcheck disable=SC2046
    "$cc" -std=c11 "$work/vendor.c" $(pkg-config --cflags --libs "$1") -Wl,-rpath,"$libdir" \
        -o "$work/vendor"
    "$work/vendor"
}

echo "== pkg-config, with folders that are not below the prefix"
apart() {       # folder of libraries, of headers; what the .pc file says of them
    cmake -S "$source" -B "$work/apart" -DCMAKE_C_COMPILER="$cc" -DKP_BUILD_TESTS=OFF \
        -DKP_BUILD_EXAMPLES=OFF -DKP_BUILD_CLI=OFF -DCMAKE_INSTALL_PREFIX=/opt/first \
        -DCMAKE_INSTALL_LIBDIR="$1" -DCMAKE_INSTALL_INCLUDEDIR="$2" >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
    mkdir -p "$work/root/x/pkgconfig"
    pc=$work/root/x/pkgconfig/keyedpool.pc
    cp "$work/apart/keyedpool.pc" "$pc"
    said="$(pkg-config --variable=libdir "$pc") $(pkg-config --variable=includedir "$pc")"
    test "$said" = "$3" || { echo "$1 and $2: $said" >&2; exit 1; }
}
apart x /opt/headers "$work/root/x/pkgconfig/../../x /opt/headers"
apart /opt/libraries headers "/opt/libraries /opt/first/headers"

for name in "" -testkit -sqlite -postgres -socket -redis -http -apr; do
    library=keyedpool$name
    pkg-config --exists "$library" || continue
    echo "== pkg-config $library"
    # shellcheck disable=SC2046
    "$cc" -std=c11 "$app" $(pkg-config --cflags --libs "$library") -Wl,-rpath,"$libdir" \
        -o "$work/app"
    "$work/app"
    case $name in
    -sqlite) consume_vendor $library sqlite3.h sqlite3_libversion ;;
    -postgres) consume_vendor $library libpq-fe.h PQlibVersion ;;
    -redis) consume_vendor $library hiredis/hiredis.h redisFree ;;
    -http) consume_vendor $library curl/curl.h curl_version ;;
    -apr)
        consume_vendor $library apr_general.h apr_initialize
        # calls nothing but the drop-in, which must find keyedpool by itself
        consume_vendor $library keyedpool_apr.h kp_apr_reslist_create
        ;;
    esac
done
echo "== pkg-config, static"
# shellcheck disable=SC2046
"$cc" -std=c11 "$app" $(pkg-config --cflags keyedpool) "$libdir/libkeyedpool.a" -pthread \
    -o "$work/app"
"$work/app"

soname=$(readelf -d "$libdir/libkeyedpool.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
test "$soname" = libkeyedpool.so.0.1 || { echo "SONAME is $soname" >&2; exit 1; }
