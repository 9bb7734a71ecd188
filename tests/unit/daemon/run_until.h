/* A loop that runs until something is so. */
#pragma once

#include <ev.h>

static void run_until_tick(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)l;
	(void)revents;
	--*(int *)timer->data;
}

#ifndef RUN_UNTIL_SECONDS
#define RUN_UNTIL_SECONDS 60
#endif

/* Runs the variable `loop` until `condition`, for RUN_UNTIL_SECONDS at most. */
#define RUN_UNTIL(condition)                                                                       \
	do {                                                                                       \
		int ticks = RUN_UNTIL_SECONDS * 10;                                                \
		ev_timer tick;                                                                     \
                                                                                                   \
		ev_timer_init(&tick, run_until_tick, 0.1, 0.1);                                    \
		tick.data = &ticks;                                                                \
		ev_timer_start(loop, &tick);                                                       \
		while (ticks > 0 && !(condition))                                                  \
			ev_run(loop, EVRUN_ONCE);                                                  \
		ev_timer_stop(loop, &tick);                                                        \
		if (ticks <= 0)                                                                    \
			fail_msg("waited in vain for: %s", #condition);                            \
	} while (0)
