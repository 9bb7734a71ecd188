/*
 * kernel.h - what newer kernels add that egret uses where it is there.
 *
 * Asked of the kernel itself, not concluded from its version: distributions take features back.
 */
#pragma once

#include <stdbool.h>

enum kernel_has {
	KERNEL_UNKNOWN, /* it may not be asked: no CAP_NET_ADMIN */
	KERNEL_LACKS,
	KERNEL_HAS,
};

struct kernel_features {
	char release[65];            /* "6.18.44" */
	enum kernel_has table_lock;  /* a table of one process alone that outlives it: Linux 6.9 */
	enum kernel_has address_tag; /* addresses tell who made them: Linux 5.18 */
};

/* Changes nothing. */
void kernel_features(struct kernel_features *features);

/* "kernel 6.18.44: table locked: yes (kernel has it); ...".  `lock`: it is asked for.  Returns
 * `out`. */
#define KERNEL_TEXT 256
const char *kernel_print(const struct kernel_features *features, bool lock, char out[KERNEL_TEXT]);
