/*
 * flow_book_test.c - what is logged and counted when events and dumps tell of flows in every order
 * they can.
 */
#include "daemon/flows/flow_book.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log/log.h"

#define NEW CONNTRACK_NEW
#define DESTROY CONNTRACK_DESTROY

static char path[64];
static struct flow_book *book;
static double now;
static const char *second_name; /* of class 2 */

static const char *name_of(void *arg, uint32_t mark, const struct flow *flow)
{
	static char name[16];

	(void)arg;
	assert_non_null(flow);
	if (mark >> 12 == 2 && second_name)
		return second_name;
	snprintf(name, sizeof(name), "class%u", mark >> 12);
	return name;
}

static int setup_with(size_t max_flows, unsigned range)
{
	const struct flows_config config = {
		.class_mask = 0xfffff000, .max_flows = max_flows, .port_range = range};
	struct error e;

	strcpy(path, "/tmp/egret-flow-book-XXXXXX");
	close(mkstemp(path));
	now = 1000;
	second_name = NULL;
	book = flow_book_new(&config, name_of, NULL);
	return book ? flow_log_open(flow_book_log(book), path, &e) : -1;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(100, 10);
}

static int teardown(void **state)
{
	(void)state;
	flow_book_free(book);
	return unlink(path);
}

/* Flow number `id`, of class 1. */
static struct flow flow_of(uint32_t id)
{
	struct flow flow = {.id = id, .mark = 0x1007, .version = 4};

	assert_true(addr_parse(&flow.original.src, text_of("10.42.0.2")));
	assert_true(addr_parse(&flow.original.dst, text_of("198.51.100.7")));
	flow.original.sport = (uint16_t)(2000 + id);
	flow.original.dport = 443;
	flow.original.protocol = IPPROTO_TCP;
	flow.reply = (struct flow_tuple){.src = flow.original.dst,
		.sport = 443,
		.dport = (uint16_t)(3000 + id),
		.protocol = IPPROTO_TCP};
	assert_true(addr_parse(&flow.reply.dst, text_of("203.0.113.10")));
	return flow;
}

static void event(enum conntrack_event what, uint32_t id)
{
	struct flow flow = flow_of(id);

	flow_book_event(book, what, &flow, now);
}

static void dump(uint32_t id)
{
	struct flow flow = flow_of(id);

	flow_book_dump_flow(book, &flow, now);
}

/* The log since the last call, a word a line: "start 1", "resync 1", "end 1", "unseen 1". */
static const char *told(void)
{
	static char words[1024];
	char line[FLOW_LINE + 1];
	FILE *in;
	size_t n = 0;

	words[0] = 0;
	flow_log_flush(flow_book_log(book));
	in = fopen(path, "re");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		const char *what = strstr(line, "resync")    ? "resync"
				   : strstr(line, "unseen")  ? "unseen"
				   : strstr(line, "\"end\"") ? "end"
							     : "start";

		n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%s %d", n ? ", " : "", what,
			atoi(strstr(line, "\"id\":") + 5));
	}
	fclose(in);
	assert_int_equal(truncate(path, 0), 0);
	return words;
}

static size_t used(void)
{
	struct port_use out[4];
	size_t n = ports_busiest(flow_book_ports(book), out, 4), all = 0;

	while (n-- > 0)
		all += out[n].used;
	return all;
}

static void a_flow_begins_and_ends(void **state)
{
	(void)state;
	event(NEW, 1);
	assert_int_equal(flow_book_counts(book).flows, 1);
	assert_int_equal(used(), 1);
	event(DESTROY, 1);
	assert_string_equal(told(), "start 1, end 1");
	assert_int_equal(flow_book_counts(book).flows, 0);
	assert_int_equal(used(), 0);
	assert_int_equal(flow_book_counts(book).started, 1);
	assert_int_equal(flow_book_counts(book).ended, 1);
}

static void a_flow_without_a_class_is_not_ours(void **state)
{
	struct flow flow = flow_of(1);

	(void)state;
	flow.mark = 0x0fff;
	flow_book_event(book, NEW, &flow, now);
	flow_book_event(book, DESTROY, &flow, now);
	flow_book_dump_begin(book);
	flow_book_dump_flow(book, &flow, now);
	flow_book_dump_finish(book, true, now);
	assert_string_equal(told(), "");
	assert_int_equal(flow_book_counts(book).started + flow_book_counts(book).ended, 0);
}

static void a_flow_that_lost_its_class_still_ends(void **state)
{
	struct flow flow = flow_of(1);

	(void)state;
	event(NEW, 1);
	flow.mark = 0;
	flow_book_event(book, DESTROY, &flow, now);
	assert_string_equal(told(), "start 1, end 1");
	assert_int_equal(used(), 0);
}

static void an_end_without_its_begin_is_told(void **state)
{
	(void)state;
	event(DESTROY, 1);
	assert_string_equal(told(), "end 1");
	assert_int_equal(flow_book_counts(book).flows, 0);
}

static void a_dump_begins_what_was_not_seen_and_ends_what_is_not_there(void **state)
{
	(void)state;
	event(NEW, 1);
	event(NEW, 2);
	flow_book_dump_begin(book);
	dump(2);
	dump(3);
	event(NEW, 4);
	dump(3); /* dumps may name a flow twice */
	assert_string_equal(told(), "start 1, start 2, resync 3, start 4");
	flow_book_dump_finish(book, true, now);
	assert_string_equal(told(), "unseen 1");
	assert_int_equal(flow_book_counts(book).flows, 3);
	assert_int_equal(flow_book_counts(book).unseen, 1);
	assert_int_equal(used(), 3);
}

static void a_torn_dump_ends_nothing(void **state)
{
	(void)state;
	event(NEW, 1);
	flow_book_dump_begin(book);
	flow_book_dump_finish(book, false, now);
	assert_string_equal(told(), "start 1");
	flow_book_dump_begin(book);
	flow_book_dump_finish(book, true, now);
	assert_string_equal(told(), "unseen 1");
}

/* The dump was read after the event, but tells of the time before it. */
static void what_ended_during_a_dump_is_not_begun_by_it(void **state)
{
	(void)state;
	event(NEW, 1);
	flow_book_dump_begin(book);
	event(DESTROY, 1);
	event(DESTROY, 2); /* whose begin was lost */
	event(DESTROY, 1);
	dump(1);
	dump(2);
	assert_int_equal(flow_book_counts(book).flows, 0);
	assert_int_equal(used(), 0);
	flow_book_dump_finish(book, true, now);
	assert_string_equal(told(), "start 1, end 1, end 2");
	event(NEW, 1);
	assert_string_equal(told(), "start 1");
}

static void what_a_dump_tells_before_its_event_begins_once(void **state)
{
	(void)state;
	flow_book_dump_begin(book);
	dump(1);
	assert_true(flow_book_needs_dumps(book));
	event(NEW, 1);
	assert_false(flow_book_needs_dumps(book)); /* its end will be told */
	flow_book_dump_finish(book, true, now);
	event(DESTROY, 1);
	assert_string_equal(told(), "resync 1, end 1");
}

static void only_flows_of_dumps_need_more_dumps(void **state)
{
	(void)state;
	event(NEW, 1);
	assert_false(flow_book_needs_dumps(book));
	flow_book_dump_begin(book);
	dump(1);
	dump(2);
	flow_book_dump_finish(book, true, now);
	assert_true(flow_book_needs_dumps(book));
	event(DESTROY, 2);
	assert_false(flow_book_needs_dumps(book));
}

/* The kernel's id is made from the flow's place in memory and its tuple. */
static void the_same_id_again_is_another_flow(void **state)
{
	(void)state;
	event(NEW, 1);
	event(NEW, 1); /* the end between was lost */
	assert_string_equal(told(), "start 1, unseen 1, start 1");
	flow_book_dump_begin(book);
	event(DESTROY, 1);
	event(NEW, 1);
	flow_book_dump_finish(book, true, now);
	assert_string_equal(told(), "end 1, start 1");
	assert_int_equal(used(), 1);
}

static void flows_of_one_id_are_told_apart_by_tuple(void **state)
{
	struct flow other = flow_of(1);

	(void)state;
	other.original.sport = 9;
	event(NEW, 1);
	flow_book_event(book, NEW, &other, now);
	assert_int_equal(flow_book_counts(book).flows, 2);
	event(DESTROY, 1);
	assert_int_equal(flow_book_counts(book).flows, 1);
	assert_string_equal(told(), "start 1, start 1, end 1");
}

static void a_full_table_still_logs(void **state)
{
	(void)state;
	teardown(NULL);
	assert_int_equal(setup_with(2, 10), 0);
	for (uint32_t id = 1; id <= 3; id++)
		event(NEW, id);
	assert_int_equal(flow_book_counts(book).flows, 2);
	assert_int_equal(flow_book_counts(book).table_full, 1);
	assert_int_equal(used(), 2);
	flow_book_dump_begin(book);
	for (uint32_t id = 1; id <= 3; id++)
		dump(id);
	flow_book_dump_finish(book, true, now);
	for (uint32_t id = 1; id <= 3; id++)
		event(DESTROY, id);
	assert_string_equal(told(), "start 1, start 2, start 3, end 1, end 2, end 3");
	assert_int_equal(used(), 0);
	event(NEW, 4);
	assert_int_equal(flow_book_counts(book).table_full, 2); /* events and the dump */
	assert_int_equal(flow_book_counts(book).flows, 1);
}

static void an_end_names_the_partner_of_its_begin(void **state)
{
	struct flow flow = flow_of(1);
	char line[FLOW_LINE + 1];
	FILE *in;

	(void)state;
	flow.mark = 0x2000;
	second_name = "bank";
	flow_book_event(book, NEW, &flow, now);
	second_name = "renamed";
	flow_book_event(book, DESTROY, &flow, now);
	flow_book_event(book, NEW, &flow, now);
	flow.mark = 0x3000; /* another class since */
	flow_book_event(book, DESTROY, &flow, now);
	flow_log_flush(flow_book_log(book));
	in = fopen(path, "re");
	for (size_t i = 0; i < 4; i++) {
		static const char *const names[] = {"bank", "bank", "renamed", "class3"};
		char want[64];

		snprintf(want, sizeof(want), "\"partner\":\"%s\"", names[i]);
		assert_non_null(fgets(line, sizeof(line), in));
		assert_non_null(strstr(line, want));
	}
	fclose(in);
}

static void note_partner(void *arg, const struct flows_partner *partner)
{
	size_t n = strlen(arg);

	snprintf((char *)arg + n, 100 - n, "%s %d at %.0f, ", partner->name, (int)partner->started,
		partner->last);
}

static void flows_are_counted_by_partner(void **state)
{
	char got[100] = "";
	struct flow flow;

	(void)state;
	event(NEW, 1);
	now = 1010;
	event(NEW, 2);
	event(DESTROY, 1);
	flow_book_dump_begin(book);
	dump(2);
	flow_book_dump_finish(book, true, now);
	flow_book_partners(book, note_partner, got);
	assert_string_equal(got, "class1 2 at 1010, ");
	second_name = "second";
	flow = flow_of(3);
	flow.mark = 0x2000;
	flow_book_event(book, NEW, &flow, 1020);
	got[0] = 0;
	flow_book_partners(book, note_partner, got);
	assert_non_null(strstr(got, "class1 2 at 1010"));
	assert_non_null(strstr(got, "second 1 at 1020"));
}

static void only_ports_that_nat_chooses_from_are_counted(void **state)
{
	struct flow low = flow_of(1), icmp = flow_of(2);

	(void)state;
	low.reply.dport = 1023;
	icmp.original.protocol = icmp.reply.protocol = IPPROTO_ICMP;
	flow_book_event(book, NEW, &low, now);
	flow_book_event(book, NEW, &icmp, now);
	assert_int_equal(used(), 0);
	event(NEW, 3);
	assert_int_equal(used(), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_flow_begins_and_ends),
		TEST(a_flow_without_a_class_is_not_ours),
		TEST(a_flow_that_lost_its_class_still_ends),
		TEST(an_end_without_its_begin_is_told),
		TEST(a_dump_begins_what_was_not_seen_and_ends_what_is_not_there),
		TEST(a_torn_dump_ends_nothing),
		TEST(what_ended_during_a_dump_is_not_begun_by_it),
		TEST(what_a_dump_tells_before_its_event_begins_once),
		TEST(only_flows_of_dumps_need_more_dumps),
		TEST(the_same_id_again_is_another_flow),
		TEST(flows_of_one_id_are_told_apart_by_tuple),
		TEST(a_full_table_still_logs),
		TEST(an_end_names_the_partner_of_its_begin),
		TEST(flows_are_counted_by_partner),
		TEST(only_ports_that_nat_chooses_from_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
