/* SPDX-License-Identifier: MIT
 *
 * The catalogue of scenarios: on each of a few stages every pair of the actions below, chosen
 * triples, and larger mixes for random searches. An action is what one thread does, one letter per
 * verb; a scenario is named after its actions.
 */
#include "scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- verbs ----------------------------------------------------------------------------------- */

static void get_a(void) { cast_get(0, KP_OFF, 0); }
static void get_b(void) { cast_get(1, KP_OFF, 0); }
static void try_a(void) { cast_get(0, 0, KP_DONT_WAIT); }
static void get_10ms(void) { cast_get(0, 10, 0); }
static void get_fresh(void) { cast_get(0, KP_OFF, KP_FRESH); }
static void get_returned(void) { cast_get(0, 10, KP_DONT_CREATE); }
static void get_b_10ms(void) { cast_get(1, 10, 0); }
static void get_pinned(void) { cast_get_pinned(0); }
static void release_main(void) { cast_release_main(false); }
static void discard_main(void) { cast_release_main(true); }
static void invalidate_a(void) { cast_invalidate_key(0); }
static void invalidate_all(void) { cast_invalidate_key(-1); }
static void resize_0(void) { cast_resize(KP_NONE); }
static void resize_1(void) { cast_resize(1); }
static void resize_2(void) { cast_resize(2); }
static void close_now(void) { cast_close(KP_CLOSE_NOW); }
static void close_wait(void) { cast_close(KP_CLOSE_WAIT); }
static void close_drain(void) { cast_close(KP_CLOSE_DRAIN); }
static void close_revoke(void) { cast_close(0); }
static void warm_a(void) { cast_warm(0); }
static void add_a(void) { cast_add(0); }
static void pin_a(void) { cast_pin(0); }
static void start_a(void) { cast_start(0, KP_OFF); }
static void start_b(void) { cast_start(1, KP_OFF); }
static void start_10ms(void) { cast_start(0, 10); }
static void dispatch_once(void) { (void)cast_dispatch(); }
static void end_copy(void) { cast_end_copy(0, false); }
static void break_copy(void) { cast_end_copy(0, true); }
static void break_copies_up(void) { cast_end_copies(true); }
static void break_copies_down(void) { cast_end_copies(false); }
static void release_again(void) { cast_end_again(false); }
static void discard_again(void) { cast_end_again(true); }
static void answer(void) { while (cast_answer()) continue; }

static const struct verb verbs[] = {
    { 'g', "get", get_a, 0 },
    { 'b', "get_b", get_b, 0 },
    { 't', "try", try_a, 0 },
    { 'w', "get_10ms", get_10ms, MAY_TIME_OUT },
    { 'v', "get_b_10ms", get_b_10ms, MAY_TIME_OUT },
    { 'f', "fresh", get_fresh, 0 },
    { 'y', "get_returned_10ms", get_returned, MAY_TIME_OUT | MAY_ONLY_TAKE },
    { 'a', "get_pinned", get_pinned, 0 },
    { 'U', "unpin", cast_unpin, 0 },
    { 'r', "release", cast_release, 0 },
    { 'd', "discard", cast_discard, 0 },
    { 'R', "return", release_main, 0 },
    { 'D', "break", discard_main, 0 },
    { 'i', "invalidate", cast_invalidate, MAY_INVALIDATE },
    { 'k', "invalidate_key", invalidate_a, MAY_INVALIDATE },
    { 'K', "invalidate_all", invalidate_all, MAY_INVALIDATE },
    { 'x', "expire", cast_expire, MAY_PASS },
    { 'T', "pass", cast_pass, MAY_PASS },
    { 'e', "keep", cast_keep, 0 },
    { 'I', "invalidate_own", cast_mark_own, MAY_INVALIDATE },
    { 'Y', "say_gone", cast_say_gone, MAY_INVALIDATE },
    { 'E', "end_copy", end_copy, MAY_MISUSE },
    { 'F', "break_copy", break_copy, MAY_MISUSE },
    { 'H', "break_copies", break_copies_up, MAY_MISUSE },
    { 'h', "break_copies_backwards", break_copies_down, MAY_MISUSE },
    { 'z', "release_again", release_again, MAY_MISUSE },
    { 'q', "discard_again", discard_again, MAY_MISUSE },
    { 'o', "resize_0", resize_0, MAY_RESIZE },
    { 'n', "resize_1", resize_1, MAY_RESIZE },
    { 'u', "resize_2", resize_2, MAY_RESIZE },
    { 'j', "retry_now", cast_retry, 0 },
    { 'O', "rotate", cast_rotate, MAY_PASS },
    { '+', "report_well", cast_well, 0 },
    { '-', "report_ill", cast_ill, 0 },
    { '0', "close_now", close_now, MAY_CLOSE },
    { '1', "close_wait", close_wait, MAY_CLOSE },
    { '2', "close_drain", close_drain, MAY_CLOSE },
    { '3', "close_revoke", close_revoke, MAY_CLOSE },
    { 'm', "warm", warm_a, 0 },
    { 'M', "add", add_a, 0 },
    { 's', "stats", cast_look, 0 },
    { 'p', "pin", pin_a, 0 },
    { 'S', "start", start_a, 0 },
    { 'B', "start_b", start_b, 0 },
    { 'W', "start_10ms", start_10ms, MAY_TIME_OUT },
    { 'X', "cancel", cast_cancel, 0 },
    { 'P', "dispatch", dispatch_once, 0 },
    { 'L', "serve", cast_serve, 0 },
    { 'N', "keep_loop", cast_keep_loop, 0 },
    { 'Q', "loop_close", cast_loop_close, 0 },
    { 'J', "answer", answer, 0 },
    { 'Z', "release_copy", cast_release_copy, 0 },
};

static const struct verb *verb_of(char letter)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verbs[i].letter == letter) return &verbs[i];
    for (const struct verb *v = control_verbs; v->letter; v++)
        if (v->letter == letter) return v;
    return NULL;
}

/* ---- the catalogue --------------------------------------------------------------------------- */

static const struct named_stage {
    const char *name;
    struct stage stage;
    const char *actions; /* separated by blanks */
} stages[] = {
    { "1 held of 1", { .max_live = 1, .held = 1 },
      "gr tr wr fr yr gd R D i k x n 0 1 2 m M s p" },
    { "1 idle of 1", { .max_live = 1, .idle = 1 }, "gr tr wr fr gd i k x u 0 1 2 m M" },
    { "none of 1", { .max_live = 1 }, "gr tr wr gd k u 0 1 2 m M" },
    { "1 idle of 2", { .max_live = 2, .idle = 1 }, "gr fr gd k x n 2 m" },
    { "two keys, 1 idle of 1 in all", { .max_live = 1, .budget = 1, .idle = 1 },
      "gr br bd wr K x 2 0" },
    { "two keys, 1 held of 1 in all", { .max_live = 1, .budget = 1, .held = 1 },
      "gr br bd R D K 2 0" },
    { "shared by 2", { .max_live = 1, .sharing = 2, .idle = 1 }, "gr gd wr k x 2 0" },
    { "validated, 1 idle of 1", { .max_live = 1, .validates = true, .resets = true, .idle = 1 },
      "gr gd wr k x 2 0" },
};

static const struct stage one_held = { .max_live = 1, .held = 1 };
static const struct stage one_more = { .max_live = 1, .held = 1, .reserve = true };
static const struct stage one_idle = { .max_live = 1, .idle = 1 };
static const struct stage known = { .max_live = 1, .sharing = 2, .known = true };
static const struct stage one_of_two = { .max_live = 2, .idle = 1 };
static const struct stage two_keys = { .max_live = 1, .budget = 1, .idle = 1 };
static const struct stage two_keys_held = { .max_live = 1, .budget = 1, .held = 1 };
static const struct stage later = { .max_live = 1, .pends = true };
static const struct stage later_2 = { .max_live = 2, .pends = true };
static const struct stage mix_1 = { .max_live = 1, .idle = 1, .resets = true };
static const struct stage mix_2 = { .max_live = 2, .idle = 1, .validates = true };
static const struct stage mix_keys = { .max_live = 2, .budget = 2, .idle = 1 };
static const struct stage mix_shared = { .max_live = 2, .sharing = 2, .idle = 1 };
static const struct stage mix_min = { .max_live = 2, .min_live = 1, .idle = 1 };
static const struct stage none_of_one = { .max_live = 1 };
static const struct stage reset = { .max_live = 1, .resets = true, .idle = 1 };
static const struct stage validated = { .max_live = 1, .validates = true, .idle = 1 };
static const struct stage hurried = { .max_live = 1, .pends = true, .hurries = true };
static const struct stage passing = { .max_live = 1, .held = 1, .eventual = true };
static const struct stage passing_2 = { .max_live = 2, .held = 2, .eventual = true };
static const struct stage passing_keys = { .max_live = 1, .budget = 1, .held = 1,
                                           .eventual = true };
static const struct stage passing_shared = { .max_live = 1, .sharing = 2, .held = 1,
                                             .eventual = true };
static const struct stage passing_lent = { .max_live = 2, .max_lent = 1, .held = 1,
                                           .eventual = true };
static const struct stage passing_mix = { .max_live = 2, .idle = 1, .validates = true,
                                          .eventual = true };
static const struct stage one_lent = { .max_live = 1, .max_lent = 1, .idle = 1 };
static const struct stage two_lent = { .max_live = 2, .max_lent = 2, .idle = 2 };
static const struct stage two_kept = { .max_live = 2, .max_idle = 2, .idle = 2 };
static const struct stage one_kept = { .max_live = 2, .max_idle = 1, .held = 1, .idle = 1 };
static const struct stage nested = { .max_live = 1, .nests = true };
static const struct stage nested_2 = { .max_live = 2, .nests = true };
static const struct stage nested_in_all = { .max_live = 2, .budget = 2, .nests = true };
static const struct stage new_key = { .max_live = 1, .fresh = true };
static const struct stage line = { .max_live = 1, .known = true, .rate = 2 };
static const struct stage refused = { .max_live = 1, .bad_creates = 1, .refuses = true };
static const struct stage refused_beside = { .max_live = 2, .held = 1, .bad_creates = 1,
                                             .refuses = true };

/* Two threads with two or more operations each, and others that take longer to search. */
static const struct chosen {
    const char *where;
    const struct stage *stage;
    const char *bodies[40]; /* each: threads, separated by blanks */
} longer[] = {
    { "1 held of 1", &one_held,
      { "grgr gr", "gr grgr", "grgr R", "grgd R", "wrwr R", "grgr k", "grk gr", "grx gr", "gdgr R",
        "gr0 gr", "trtr R", "wr Rgr", "gri gr", "arar R", "arar Rgr" } },
    { "1 idle of 1", &one_idle,
      { "grgr grgr", "grgd gdgr", "grgr wrwr", "grk grk", "gdgr grx", "trtr grgr", "grgr kk",
        "grgr xx", "gr0 grgr", "gru grn", "frgr gr", "trgr wrgr", "arar gr", "arar arar",
        "arar gd", "arad arar", "arar k", "arar x", "ar0 arar", "arar 2", "arUar gr",
        "arar p" } },
    { "1 idle of 2", &one_of_two,
      { "grgr gr", "ggrr gr", "ggrr k", "ggrr tr", "gr nu", "araarr gr", "arar grk" } },
    { "two keys, 1 idle of 1 in all", &two_keys,
      { "grbr gr", "grbr br", "brgr K", "arar br", "arar brbr", "arar grbr" } },
    { "nested, 1 of each key", &nested,
      { "gbrr bgrr", "ggrr gr", "gbrr bgrd", "gbrr bgrr gr", "gbrr bgrr bgrr" } },
    { "nested, 2 of each key", &nested_2, { "ggbrrr bggrrr", "gggrrr gr" } },
    { "nested, 2 in all", &nested_in_all, { "gbrr bgrr", "ggbrrr br", "gbbrrr bgr" } },
    { "a new key", &new_key, { "gr s", "gr 0", "p 0", "m 0" } },
    { "two creates a second", &line,
      { "gr br", "gdgr br", "gd bd", "wr br", "wr vr", "gd m", "gd fr", "gr br0", "SLr br",
        "SX br", "gd kbr", "gr brs" } },
    { "the first create is refused", &refused, { "gr gr", "grgr j", "gr jgr", "SLr grj", "m j" } },
    { "two keys, at most 1 lent", &one_lent,
      { "gr br", "grgr br", "grbr brgr", "arar br", "tr brbr", "grtr br", "gr vr", "wr brtr",
        "gd br", "grgr bd", "gr brk", "gr brs", "gr br0", "gr 2br", "fr br", "arar brbr" } },
    { "two keys, at most 2 lent", &two_lent,
      { "gr br", "gtrr br", "gr brtr", "arar br", "gr btrr", "trtr brs" } },
    { "two keys, at most 2 idle", &two_kept,
      { "ggrr sbr", "ggrr brbr", "gtrr sbr", "gtrr brtr", "aarr sbrs", "ggrr sM", "ggrr sbd",
        "ggdr sbr", "wgrr sbr", "ggrr kbr", "ggrr br0", "gr brbr" } },
    { "two keys, at most 1 idle", &one_kept,
      { "br R", "brgr R", "br gr", "br tr", "bd gr", "br Rgr", "br arar", "br M", "M gr", "br m",
        "br k", "br s", "bbrr R", "br D", "br 0", "br yr" } },
}, triples[] = {
    { "1 held of 1", &one_held,
      { "gr gr R", "gr wr R", "wr wr R", "gr tr R", "gr gr k", "gr R k", "gr D k", "gr gr 0",
        "gr R 0", "wr R 0", "gr R 1", "gr gr D", "gr gd R", "gr R x", "gr R n", "gr R i",
        "wr R k", "gr wr k", "gr wr 0", "wr D gr", "fr gr R", "gr R m", "gr R M", "gr R s",
        "wr R x", "gr k 0", "wr wr D", "gr R u", "tr R k", "arar gr R" } },
    { "1 idle of 1", &one_idle,
      { "gr gr gr", "gr gr tr", "gr gr wr", "gr gr gd", "gr gr k", "gr gr x", "gr gr 0", "gr k x",
        "gr wr k", "gd gd gr", "gr tr k", "fr gr gr", "gr k 0", "tr tr tr", "wr wr wr", "gr n u",
        "gr k k", "arar gr k", "arar arar x" } },
    { "two keys, 1 idle of 1 in all", &two_keys,
      { "gr br tr", "gr br wr", "tr br k", "arar br gr" } },
    { "two keys, at most 1 lent", &one_lent,
      { "gr br tr", "gr br wr", "gr br br", "arar br gr", "gr br k", "gr bd vr" } },
    { "two keys, at most 2 lent", &two_lent, { "gr br tr", "gr gr br", "ar br br", "gtrr br vr" } },
    { "two keys, at most 2 idle", &two_kept, { "ggrr br s", "ggrr br gr", "aarr s br" } },
    { "two keys, at most 1 idle", &one_kept, { "br gr R", "br br R", "br ar k", "br tr R" } },
    { "two keys, 1 held of 1 in all", &two_keys_held,
      { "gr br R", "br br R", "gr br D", "br wr R", "br R 0", "br R K" } },
    { "created later, 1 of 1", &later,
      { "gr J", "wr J", "gr gr J", "gr wr J", "wr wr J", "gr tr J", "gr 0 J", "wr 0 J", "gr k J",
        "gr 1 J", "gr 2 J", "m gr J", "gd gr J", "wr M J", "fr gr J" } },
    { "created later, 2 of 2", &later_2, { "gr gr J", "wr gr J", "wr wr J" } },
    { "two creates a second", &line,
      { "gr br br", "gd br k", "gr br 0", "SX br gr" } },
    { "the first create is refused", &refused, { "gr gr j", "gr gr gr", "fr gr j" } },
    { "the next create is refused, 1 held of 2", &refused_beside,
      { "gr gr R", "gr R j", "gr gr D", "fr gr R" } },
}, eventual[] = {
    { "eventual, 1 held of 1", &passing,
      { "grgr R", "gr gr R", "grgr gr R", "gr grgr R", "wr R", "wr grgr R", "wr gr R", "wr wr R",
        "tr gr R", "gr SLr R", "SLr gr R", "SX gr R", "wr SLr R", "WLr gr R", "WLr grgr R",
        "gr R 0", "gr R 1", "gr R 2", "gr gr 0", "grgr R 2", "gr R k", "gr R x", "gr R T",
        "wr R T", "gr D gr", "gd gr R", "fr gr R", "gr gr D", "yr gr R", "gr R n", "gr R m" } },
    { "eventual, 2 held of 2", &passing_2,
      { "gr gr R", "grgr gr R", "gr gr RR", "wr gr R", "SLr gr R", "gr gr gr R", "fr gr R" } },
    { "eventual, two keys, 1 held of 1 in all", &passing_keys,
      { "gr br R", "gr gr R", "br br R", "gr br D", "br wr R", "gr br 0" } },
    { "eventual, shared by 2, 1 held", &passing_shared,
      { "gr gr R", "grgr gr R", "wr gr R", "gr R k", "gr gr gr R" } },
    { "eventual, two keys, 1 lent of 1 in all", &passing_lent,
      { "gr br R", "gr gr R", "br gr R", "br wr R" } },
    { "eventual, validated, 1 idle of 2", &passing_mix, { "gr gr gr", "grgr gr k", "wr gr gd" } },
}, async[] = {
    { "created later, 1 of 1", &later,
      { "SLr J", "WLr J", "SX J", "SX gr J", "SLr gr J", "SLr SLr J", "SXSLr J", "S J", "SLr k J",
        "SLr 0 J", "WX J", "SPX J" } },
    { "validated, 1 idle of 2", &mix_2, { "SLr kgr", "WLr kgr", "SX kgr", "SLr gd", "SLr x" } },
    { "two keys, at most 1 lent", &one_lent, { "SLr br", "BLr gr", "SX br", "BLr tr gr" } },
    { "1 held of 1", &one_held, { "SLr gr R", "SX gr R", "SX wr R", "SX SLr R", "SLr wr D" } },
    { "two keys, 1 held of 1 in all", &two_keys_held, { "SLr br R", "BLr gr R", "SX br R" } },
    { "1 held of 1, 1 in reserve", &one_more, { "SLr g R", "SX gr R", "WLr wr R", "SLr SLr R" } },
}, loops[] = {
    { "1 idle of 1", &one_idle,
      { "gr N", "gd N", "wr N", "tr N", "fr N", "k N", "x N", "T N", "0 N", "1 N", "2 N", "m N",
        "M N", "e N", "gr SLrN", "gd SLrN", "k SLrN", "T SLrN", "T SXN", "0 SLrN", "1 SLrN",
        "2 SLrN", "SLr N", "SX N", "SLr SLrN", "SX SXN", "gr 0N", "gr gr N", "gr T N", "gr 0 N",
        "wr 0 N", "SX 0 N" } },
    { "1 held of 1", &one_held,
      { "gr N", "wr N", "R N", "D N", "R SLrN", "D SLrN", "R SXN", "D SXN", "R WLrN", "0 SXN",
        "R 0N", "u SLrN", "gr R N", "wr R N", "SX R N", "SLr R N", "R 0 N" } },
    { "none of 1", &none_of_one,
      { "gr N", "gd N", "wr N", "m N", "M N", "0 SXN", "0 SLrN", "1 SXN", "gr SXN", "gr SLrN",
        "wr SLrN", "M SXN", "M SLrN", "SX SLrN", "gr gr N", "gr 0 N" } },
    { "two keys, 1 idle of 1 in all", &two_keys, { "gr N", "br N", "gr BXN", "br SXN" } },
    { "reset, 1 idle of 1", &reset, { "gr N", "gd N", "gr SXN", "SX N", "0 SLrN", "gr 0 N" } },
    { "validated, 1 idle of 1", &validated,
      { "gr N", "wr N", "gr SXN", "SX N", "T SXN", "k SLrN" } },
    { "hurried, created later, 1 of 1", &hurried,
      { "wr N J", "SX N J", "SXN J", "WLrN J", "SX J", "WLr J", "wr J", "SX gr J", "SXSLr J",
        "SX 0 J" } },
}, bad[] = {
    { "1 idle of 1", &one_idle, { "gZr gr" } },
}, faults[] = {
    { "1 held of 1, one fault", &one_held,
      { "gr gr", "gr R", "gr D", "wr R", "gr k", "gr 0", "wr k", "gd R", "fr R", "gr m", "gr i",
        "gr x", "wr D", "tr D", "gr 2" } },
    { "1 idle of 1, one fault", &one_idle,
      { "gr gr", "gr gd", "gd gd", "gr k", "gr x", "gd wr", "gr 0", "gd k", "fr gr", "gr m" } },
    { "shared by 2, no slot yet, one fault", &known,
      { "SLr gr", "SLr gd", "WLr gr", "SX gr", "SLr SLr", "SLr gr k", "SLr m", "SLr 2" } },
    { "two keys, 1 held of 1 in all, one fault", &two_keys_held,
      { "gr br", "br R", "br D", "bd R" } },
    { "created later, one fault", &later, { "gr J", "wr J", "gr gr J", "gr wr J", "gr 0 J" } },
};

/* Larger ones, for random searches. In each, only one thread waits for a resource while it holds
 * another: two such threads could wait for each other. */
static const struct chosen mixes[] = {
    { "mix, 1 of 1", &mix_1,
      { "grwrtr grgdgr wrkgr xegr", "grgr grgr grgr grgr", "wrwr wrwr gdgr kgr",
        "grSLr gdSXgr WLrgr kx",
        "grgr wrwr SSLrr 2", "grgr wrgr ki 1", "gdgd frgr grwr mMgr", "SXSLr SLrSX grgr wrk" } },
    { "mix, 2 of 2, validated", &mix_2,
      { "grgr ggrr wrgr kgr xgr", "ggdr wrwr grfr KM", "grgd grgd grgd grgd grgd",
        "SSLrr SSLrr grgr wrk", "grgr gdgr SXSLr m0", "ggrr grgr wrwr SLrgd 2" } },
    { "mix, two keys, 2 in all", &mix_keys,
      { "grbr brgr gbrr wrK", "grbrgr brgrbr tr xK", "gdbd bdgd grbr brgr", "SBLrr grbr brgr wrx",
        "gbrr BSLrr kgr bd", "grbr wrbr SXBLr 1", "gbrr grbr brgr pswr" } },
    { "mix, shared by 2", &mix_shared,
      { "grgr ggrr wrgr kgr", "ggrr grgd wrwr x", "SLrgr grgr grgd k2", "grgr grgr grgr grgr i" } },
    { "mix, eventual", &passing_mix,
      { "grgr wrgr gdgr kgr", "grSLr gdSXgr WLrgr kx", "grgr grgr grgr wrwr T", "grgr wrwr ki 2",
        "ggrr grwr SSLrr gd", "grgr grgr wrgr 1" } },
    { "mix, at least 1", &mix_min, { "gdgr gdgr xewr e", "grk gdx emgr wr", "gdSLr grgd xe k0" } },
    { "mix, created later", &later_2,
      { "grwr gdgr wrk J", "SXSLr grwr gdgr J", "grgr wrwr frgr SLr J", "gdgd SSLrr x2 J",
        "wrwr wrwr gd0 J" } },
};

enum { MOST = 2400 };
static struct scenario list[MOST];
static int count;

static void name_it(struct scenario *s, const char *title, const char *where)
{
    size_t at = 0, size = sizeof s->name;

    if (title) at = (size_t)snprintf(s->name, size, "%s: ", title);
    for (int t = 0; t < s->threads; t++) {
        if (t) at += (size_t)snprintf(s->name + at, size - at, " | ");
        for (const char *c = s->body[t]; *c && at < size; c++)
            at += (size_t)snprintf(s->name + at, size - at, "%s%s", c == s->body[t] ? "" : "+",
                                   verb_of(*c)->name);
    }
    if (at < size) (void)snprintf(s->name + at, size - at, " (%s)", where);
}

static struct scenario *add(enum group group, const char *title, const char *where,
                            const struct stage *stage, int threads, const char (*bodies)[24])
{
    struct scenario *s = &list[count++];

    if (count > MOST) abort();
    s->group = group;
    s->stage = *stage;
    for (int t = 0; t < threads; t++) {
        snprintf(s->body[t], sizeof s->body[t], "%s", bodies[t]);
        for (const char *c = bodies[t]; *c; c++) s->stage.may |= verb_of(*c)->may;
        if (strchr(bodies[t], 'J')) s->daemons++;
        if (strpbrk(bodies[t], "SBWN")) s->stage.loops |= 1u << t;
        if (strchr(bodies[t], 'N')) s->stage.keeper = t + 1;
    }
    s->threads = threads;
    s->faults = group == FAULTS ? 1 : stage->faults;
    name_it(s, title, where);
    return s;
}

/* Event loops: each asker is paired with each of the others. */
static const char *const askers = "SLr WLr SX SPX SSLrr SXSLr S SPLr WX";
static const char *const others = "gr wr gd tr fr R D i k x 0 1 2 m M s SLr SX WLr";

static int split(const char *text, char words[][24])
{
    int n = 0, used;

    while (sscanf(text, "%23s%n", words[n], &used) == 1) {
        text += used;
        n++;
    }
    return n;
}

static void add_pairs(const struct named_stage *stage)
{
    char word[32][24];
    int n = split(stage->actions, word);

    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++) {
            char bodies[2][24];
            memcpy(bodies[0], word[i], sizeof bodies[0]);
            memcpy(bodies[1], word[j], sizeof bodies[1]);
            (void)add(PAIRS, NULL, stage->name, &stage->stage, 2, (const char(*)[24])bodies);
        }
}

static void add_chosen(enum group group, const struct chosen *chosen, size_t n)
{
    char word[EX_THREADS][24];

    for (size_t i = 0; i < n; i++)
        for (const char *const *b = chosen[i].bodies; *b; b++) {
            int threads = split(*b, word);
            (void)add(group, NULL, chosen[i].where, chosen[i].stage, threads,
                      (const char(*)[24])word);
        }
}

static void add_async(const char *where, const struct stage *stage, bool held)
{
    char ask[16][24], other[32][24], bodies[2][24];
    int asks = split(askers, ask), n = split(others, other);

    for (int i = 0; i < asks; i++)
        for (int j = 0; j < n; j++) {
            if (!held && strpbrk(other[j], "RD")) continue;
            memcpy(bodies[0], ask[i], sizeof bodies[0]);
            memcpy(bodies[1], other[j], sizeof bodies[1]);
            (void)add(ASYNC, NULL, where, stage, 2, (const char(*)[24])bodies);
        }
}

struct scenario *scenario_add(enum group group, const char *title, const char *where,
                              const struct stage *stage, const char *bodies)
{
    char word[EX_THREADS][24];
    int threads = split(bodies, word);

    return add(group, title, where, stage, threads, (const char(*)[24])word);
}

static void add_litmus(void)
{
    for (int i = 0; i < litmus_count; i++) {
        struct scenario *s = &list[count++];
        s->group = i < litmus_lock ? LITMUS : i < litmus_bad ? LOCK : CANARY;
        s->program = &litmus_programs[i];
        snprintf(s->name, sizeof s->name, "%s", litmus_programs[i].name);
    }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void (*const rooms[])(void) = { add_hard_cases, add_doubts, add_control, add_circuits,
                                       add_rotated, add_revokes, add_asked, add_homes, add_groups };
static void build(void)
{
    for (size_t i = 0; i < COUNT(stages); i++) add_pairs(&stages[i]);
    add_chosen(LONG_PAIRS, longer, COUNT(longer));
    add_chosen(TRIPLES, triples, COUNT(triples));
    add_chosen(EVENTUAL, eventual, COUNT(eventual));
    add_chosen(FAULTS, faults, COUNT(faults));
    add_async("1 held of 1", &one_held, true);
    add_async("1 idle of 1", &one_idle, false);
    add_chosen(ASYNC, async, COUNT(async));
    add_chosen(LOOPS, loops, COUNT(loops));
    for (size_t i = 0; i < COUNT(rooms); i++) rooms[i]();
    add_chosen(MIXES, mixes, COUNT(mixes));
    add_litmus();
    add_chosen(CANARY, bad, COUNT(bad));
}

int scenario_count(void)
{
    if (count == 0) build();
    return count;
}

const struct scenario *scenario_at(int i)
{
    return &list[i];
}

/* ---- playing --------------------------------------------------------------------------------- */

static const struct scenario *current;

static void play_setup(void)
{
    stage_set(&current->stage);
}

static void play_finish(void)
{
    stage_clear(current->after);
}

static void play_thread(int self)
{
    for (const char *c = current->body[self]; *c; c++) verb_of(*c)->play();
    cast_end();
}

const struct ex_program *scenario_play(const struct scenario *s)
{
    static struct ex_program program = {
        .setup = play_setup, .thread = play_thread, .stuck = stage_stuck, .finish = play_finish
    };

    if (s->program) return s->program;
    current = s;
    program.name = s->name;
    program.threads = s->threads;
    program.daemons = s->daemons;
    return &program;
}
