/* SPDX-License-Identifier: MIT
 *
 * Linked into tests when coverage is measured: a child of fork that leaves by _exit, and a program
 * that aborts on purpose, first write down what they have counted.
 */
#include <stdlib.h>
#include <unistd.h>

int __llvm_profile_write_file(void) __attribute__((weak));
_Noreturn void __real__exit(int status);
_Noreturn void __real_abort(void);
_Noreturn void __wrap__exit(int status);
_Noreturn void __wrap_abort(void);

static void write_counts(void)
{
    if (__llvm_profile_write_file) (void)__llvm_profile_write_file();
}

void __wrap__exit(int status)
{
    write_counts();
    __real__exit(status);
}

void __wrap_abort(void)
{
    write_counts();
    __real_abort();
}
