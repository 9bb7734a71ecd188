/*
 * The names stand in a hosts-file, so that no server is needed: what DNS adds is tested with a real
 * one in tests/system/test_learnt.py.
 */
#include "daemon/proxy/learn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log/log.h"

static const char ini[] = "[gateway]\npod-cidr = 10.42.0.0/16\negress-ip = 45.0.0.10\n"
			  "[proxy]\nlisten = 127.0.0.1:3128\nuid = 1\ngid = 1\n"
			  "[dns]\nservers = 127.0.0.1:9\nhosts-file = hosts\nqueries = 2\n";

static struct ev_loop *loop;
static struct learn *learn;
static struct message told[100];
static size_t n_all, all_after; /* LEARNT_ALL: how often, and after how many LEARNT */
static size_t n_told, room;     /* the gate reads so many more messages */

static int on_tell(void *arg, const struct message *message)
{
	(void)arg;
	if (room == 0)
		return -EAGAIN;
	room--;
	if (message->type == MESSAGE_LEARNT_ALL) {
		n_all++;
		all_after = n_told;
		return 0;
	}
	assert_true(n_told < COUNT_OF(told));
	told[n_told++] = *message;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	n_told = n_all = 0;
	room = COUNT_OF(told);
	loop = ev_loop_new(EVFLAG_AUTO);
	learn = learn_new(loop, on_tell, NULL);
	return learn ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	learn_free(learn);
	ev_loop_destroy(loop);
	return 0;
}

static void follow(uint64_t number, const char *acl, const char *hosts)
{
	struct message message = {.type = MESSAGE_GENERATION, .number = number};
	struct files *files = files_new("/");
	struct generation *generation;
	struct error e = {""};
	int fd;

	strcpy(message.text, "egret.ini");
	assert_int_equal(files_put(files, "egret.ini", text_of(ini)), 0);
	assert_int_equal(files_put(files, "acl.ini", text_of(acl)), 0);
	assert_int_equal(files_put(files, "hosts", text_of(hosts)), 0);
	fd = files_pack(files, &e);
	generation = fd < 0 ? NULL : generation_new(&message, fd, &e);
	if (!generation)
		fail_msg("%s", e.text);
	close(fd);
	files_free(files);
	learn_follow(learn, generation);
	generation_put(generation);
}

static const char *addr_text(const struct addr *addr)
{
	static char text[ADDR_TEXT];

	return addr_print(addr, text);
}

static void names_of_partners_that_say_so_are_told(void **state)
{
	(void)state;
	follow(7,
		"[partner no]\nhosts = a.test\n"
		"[partner yes]\nhosts = a.test, b.test\nnat = resolve\n",
		"45.0.1.10 a.test\n2a00::7 a.test\n45.0.1.11 b.test\n");
	assert_int_equal(n_told, 2);
	for (size_t i = 0; i < n_told; i++) {
		assert_int_equal(told[i].type, MESSAGE_LEARNT);
		assert_int_equal(told[i].number, 7);
		assert_int_equal(told[i].learnt.section, 1);
		assert_int_equal(told[i].learnt.host, i);
		assert_int_equal(told[i].learnt.n, i ? 1 : 2);
		assert_false(told[i].learnt.partial);
		assert_true(told[i].learnt.ttl == LEARNT_TTL_MOST);
	}
	assert_string_equal(addr_text(&told[1].learnt.addrs[0]), "45.0.1.11");
	assert_int_equal(n_all, 1);
	assert_int_equal(all_after, 2);
}

static void what_stays_in_the_cluster_is_not_told(void **state)
{
	(void)state;
	follow(1, "[partner yes]\nhosts = a.test, b.test\nnat = resolve\n",
		"10.42.0.7 a.test\n127.0.0.1 b.test\n45.0.1.11 b.test\n");
	assert_int_equal(n_told, 2);
	assert_int_equal(told[0].learnt.n, 0);
	assert_int_equal(told[1].learnt.n, 1);
	assert_string_equal(addr_text(&told[1].learnt.addrs[0]), "45.0.1.11");
}

static void what_the_gate_does_not_read_is_told_later(void **state)
{
	char hosts[2000] = "", acl[2000] = "[partner yes]\nnat = resolve\nhosts = x.test";
	bool seen[31] = {false};

	(void)state;
	for (int i = 0; i < 30; i++) {
		sprintf(hosts + strlen(hosts), "45.0.1.%d n%d.test\n", i + 1, i);
		sprintf(acl + strlen(acl), ", n%d.test", i);
	}
	strcat(hosts, "45.0.1.99 x.test\n");
	strcat(acl, "\n");
	room = 5;
	follow(1, acl, hosts);
	assert_int_equal(n_told, 5);
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(n_told, 5);
	room = 7;
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(n_told, 12);
	room = 19;
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(n_told, 31);
	assert_int_equal(n_all, 0);
	room = 50;
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(n_all, 1);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(n_all, 1);
	for (size_t i = 0; i < n_told; i++) {
		assert_false(seen[told[i].learnt.host]);
		seen[told[i].learnt.host] = true;
	}
}

static void a_new_generation_takes_the_place_of_the_old_one(void **state)
{
	static const char acl[] = "[partner yes]\nhosts = a.test\nnat = resolve\n";

	(void)state;
	room = 0;
	follow(1, acl, "45.0.1.10 a.test\n");
	room = 10;
	follow(2, acl, "45.0.1.11 a.test\n");
	assert_int_equal(n_told, 1);
	assert_int_equal(told[0].number, 2);
	assert_string_equal(addr_text(&told[0].learnt.addrs[0]), "45.0.1.11");
	follow(3, "[partner yes]\nhosts = a.test\n", "45.0.1.12 a.test\n");
	assert_int_equal(n_told, 1);
	assert_int_equal(n_all, 1);
	assert_int_equal(ev_pending_count(loop), 0);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(n_told, 1);
	follow(4, acl, "45.0.1.12 a.test\n");
	assert_int_equal(n_told, 2);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(names_of_partners_that_say_so_are_told),
		TEST_CASE(what_stays_in_the_cluster_is_not_told),
		TEST_CASE(what_the_gate_does_not_read_is_told_later),
		TEST_CASE(a_new_generation_takes_the_place_of_the_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
