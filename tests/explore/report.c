#include "engine.h"
#include "report.h"
#include <stdio.h>
void report_failure(const char *name)
{
    static uint8_t give[EX_EVENTS];
    int n = ex.script_length;
    enum ex_mode mode = ex.mode;
    printf("FAILED %s: %s\n", name, ex.why);
    __builtin_memcpy(give, ex.script, (size_t)n);
    ex.mode = EX_REPLAY; ex.give = give; ex.given = n; ex.tracing = true;
    uint64_t h = ex.hash;
    ex_execute();
    printf("  replay: %s %s\n", ex.why, h == ex.hash ? "same" : "DIFFERENT");
    ex_trace_print();
    ex.tracing = false; ex.mode = mode;
}
