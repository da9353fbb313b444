/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that blocks, held to what every adapter must hold to.
 */
#include "adapters/http_conform.h"

static CURLcode perform(void *resource)
{
    return curl_easy_perform(easy_of(resource));
}

static int fill(kp_options *options)
{
    return kp_http_fill(NULL, options);
}

int main(void)
{
    return run_conform("http", fill, (struct conform_left){ 0 });
}
