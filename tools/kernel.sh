#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs tests for aarch64 under a Linux kernel of their own, on two processors that qemu emulates:
# tools/kernel.sh NAME... (programs of build/aarch64/tests; shell patterns are allowed). For tests
# of restartable sequences, which qemu does not support when it runs a single program.
#
# The kernel and the shell are Debian's, fetched once with a package index of our own. Prints a line
# for each test, and the end of its output if it failed. The last line counts passes and failures.
# The exit status is 1 if a test failed, or was skipped because the kernel has no sequences.
set -eu
cd "$(dirname "$0")/.."

tests=$PWD/build/aarch64/tests
here=$PWD/build/portability/kernel
if [ $# -eq 0 ]; then
    sed -n 's/^# \{0,1\}//; 4,10p' "$0" >&2
    exit 2
fi

# Runs a command of apt for Debian's aarch64 packages, whatever this machine is.
own() {     # command arguments...
    state=$here/apt
    command=$1
    shift
    "$command" -qq -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
        -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Sandbox::User="$(id -un)" -o APT::Architecture=arm64 \
        -o APT::Architectures=arm64 "$@"
}

# Makes $here/vmlinuz and $here/busybox.
fetch() {
    [ ! -f "$here/busybox" ] || return 0
    mkdir -p "$here/apt/lists/partial" "$here/apt/cache/archives/partial"
    : >"$here/apt/status"
    # the sources that this machine gets its packages from
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    apt-get indextargets --format "deb [signed-by=$keys] \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
        'Created-By: Packages' 'Component: main' | sort -u >"$here/apt/sources.list"
    own apt-get update
    image=$(own apt-cache depends linux-image-cloud-arm64 |
            sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p')
    (cd "$here/apt" && own apt-get download "$image" busybox-static)
    for package in "$here"/apt/*.deb; do dpkg-deb -x "$package" "$here/packages"; done
    cp "$here"/packages/boot/vmlinuz-* "$here/vmlinuz"
    cp "$here/packages/bin/busybox" "$here/busybox"
}

# Makes $here/initrd: the tests, and a first process that runs them one after the other.
pack() {    # names of programs
    root=$here/root
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/tests"
    cp "$here/busybox" "$root/bin"
    for name in "$@"; do
        aarch64-linux-gnu-strip -o "$root/tests/$name" "$tests/$name"
    done
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
cd /tmp
for name in /tests/*; do
    rc=0
    KP_SECONDS=10 timeout 300 "$name" >said 2>&1 || rc=$?
    if grep -q '^skipped: kernel' said; then rc=skipped; fi
    name=${name##*/}
    if [ $rc = 0 ]; then echo "passed $name"; else echo "FAILED $name: $rc"; tail said; fi
done
poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$here/initrd"
}

fetch
# shellcheck disable=SC2048,SC2086 # they are patterns, and no name has a space
names=$(cd "$tests" && ls $*)
# shellcheck disable=SC2086
set -- $names
pack "$@"
timeout 1200 qemu-system-aarch64 -M virt -cpu max -smp 2 -m 2G -nographic -no-reboot -nic none \
    -kernel "$here/vmlinuz" -initrd "$here/initrd" \
    -append "console=ttyAMA0 panic=-1 quiet" </dev/null 2>&1 | tr -d '\r' | tee "$here/said"
passed=$(grep -c '^passed ' "$here/said" || :)
echo "$passed passed, $(($# - passed)) failed"
[ "$passed" -eq $# ]
