/*
 * watch.c - one inotify descriptor, and a list that is made anew whenever the ways to the files may
 * have changed.
 *
 * The way to /etc/egret/acl.ini is: `acl.ini` in /etc/egret, `egret` in /etc, `etc` in /.
 * A directory of that list is a `place` with the names in it that count.  inotify follows
 * inodes, not names, so after a change the whole list is built again, before anything is read.
 * The descriptor stays: close(2) of one waits for all who notify in this kernel.
 */
#include "daemon/gate/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define MASK                                                                                       \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |        \
		IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define RETRY 10.0            /* seconds, when there is no descriptor or no memory */
#define CLOCK_SLACK 20000000L /* nanoseconds that a file's time may lag behind the clock */

struct place {
	char *path;
	int wd; /* -1: not there now */
	char **names;
	size_t n_names;
	bool every_ini;
};

struct places {
	int fd; /* the watch's */
	struct place *at;
	size_t n;
};

struct watch {
	struct ev_loop *loop;
	void (*on_change)(void *);
	void *arg;
	char **paths;
	size_t n_paths;
	struct places places;
	ev_io io;
	ev_timer timer;
	ev_tstamp first; /* change of this burst; 0: none */
};

static bool has_wd(const struct places *p, int wd)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->at[i].wd == wd)
			return true;
	return false;
}

/* Forgets these places, and stops to watch those of them that `kept` has not. */
static void places_fini(struct places *p, const struct places *kept)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->at[i].wd >= 0 && !has_wd(kept, p->at[i].wd))
			inotify_rm_watch(p->fd, p->at[i].wd);
	for (size_t i = 0; i < p->n; i++) {
		for (size_t j = 0; j < p->at[i].n_names; j++)
			free(p->at[i].names[j]);
		free(p->at[i].names);
		free(p->at[i].path);
	}
	free(p->at);
	*p = (struct places){.fd = p->fd};
}

/* Room for one more element; arrays grow at powers of two. */
static void *grown(void *array, size_t n, size_t size)
{
	return n & (n - 1) ? array : realloc(array, (n ? 2 * n : 1) * size);
}

static int add_name(struct place *place, const char *name)
{
	char **names = grown(place->names, place->n_names, sizeof(*names));

	if (!names)
		return -ENOMEM;
	place->names = names;
	names[place->n_names] = strdup(name);
	if (!names[place->n_names])
		return -ENOMEM;
	place->n_names++;
	return 0;
}

static int add_way(struct places *p, const char *path, size_t *index);

static int add_place(struct places *p, const char *path, size_t *index)
{
	for (size_t i = p->n; i-- > 0;)
		if (strcmp(p->at[i].path, path) == 0) {
			*index = i;
			return 0;
		}
	struct place *at = grown(p->at, p->n, sizeof(*at));
	if (!at)
		return -ENOMEM;
	p->at = at;
	at += p->n;
	*at = (struct place){.path = strdup(path)};
	if (!at->path)
		return -ENOMEM;
	*index = p->n++;
	at->wd = inotify_add_watch(p->fd, path, MASK);
	if (at->wd < 0 && errno != ENOENT && errno != ENOTDIR && errno != EACCES)
		return -errno;
	size_t ignored;
	return strcmp(path, "/") == 0 ? 0 : add_way(p, path, &ignored);
}

/* The directory of `path`, which becomes a place with the last part of `path` as a name. */
static int add_way(struct places *p, const char *path, size_t *index)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	size_t length = (size_t)(slash - path);
	int error;

	while (length && path[length - 1] == '/')
		length--;
	if (length >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, length ? path : "/", length ? length : 1);
	parent[length ? length : 1] = 0;
	error = add_place(p, parent, index);
	return error || !slash[1] ? error : add_name(&p->at[*index], slash + 1);
}

static int add_path(struct places *p, const char *path)
{
	size_t length = strlen(path), index;
	bool directory = path[length - 1] == '/';
	char resolved[PATH_MAX];
	int error;

	error = add_way(p, path, &index);
	if (!error && directory)
		p->at[index].every_ini = true;
	if (error || !realpath(path, resolved))
		return error;
	if (!directory)
		return strcmp(path, resolved) == 0 ? 0 : add_way(p, resolved, &index);
	error = add_place(p, resolved, &index);
	if (!error)
		p->at[index].every_ini = true;
	return error;
}

static bool is_ini(const char *name)
{
	size_t length = strlen(name);

	return length > 4 && name[0] != '.' && strcmp(name + length - 4, ".ini") == 0;
}

static bool counts(const struct places *p, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	if (event->mask & IN_IGNORED || !has_wd(p, event->wd)) /* not watched any more */
		return false;
	if (event->len == 0 || strcmp(event->name, "..data") == 0)
		return true;
	for (size_t i = 0; i < p->n; i++) {
		const struct place *place = &p->at[i];

		if (place->wd != event->wd)
			continue;
		if (place->every_ini && is_ini(event->name))
			return true;
		for (size_t j = 0; j < place->n_names; j++)
			if (strcmp(place->names[j], event->name) == 0)
				return true;
	}
	return false;
}

static void on_burst(struct watch *w)
{
	ev_tstamp now = ev_now(w->loop);

	if (w->first == 0)
		w->first = now;
	ev_tstamp left = w->first + WATCH_LONGEST - now;
	ev_timer_stop(w->loop, &w->timer);
	ev_timer_set(&w->timer, left < 0 ? 0 : left < WATCH_QUIET ? left : WATCH_QUIET, 0);
	ev_timer_start(w->loop, &w->timer);
}

static void on_events(struct ev_loop *loop, ev_io *io, int revents)
{
	struct watch *w = io->data;
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t got = read(w->places.fd, buffer, sizeof(buffer));
	bool changed = false;

	(void)loop;
	(void)revents;
	for (ssize_t at = 0; at < got;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		changed = changed || counts(&w->places, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	if (changed)
		on_burst(w);
}

/* Builds the places of `paths` and lets go of those that were. */
static int arm(struct watch *w, const char *const *paths, size_t n)
{
	struct places p = {.fd = w->places.fd};
	int error = 0;

	if (p.fd < 0)
		p.fd = w->places.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (p.fd < 0)
		return -errno;
	for (size_t i = 0; i < n && !error; i++)
		error = add_path(&p, paths[i]);
	if (error) {
		places_fini(&p, &w->places);
		return error;
	}
	places_fini(&w->places, &p);
	w->places = p;
	if (!ev_is_active(&w->io)) {
		ev_io_set(&w->io, p.fd, EV_READ);
		ev_io_start(w->loop, &w->io);
	}
	return 0;
}

static void on_quiet(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct watch *w = timer->data;

	(void)revents;
	w->first = 0;
	if (arm(w, (const char *const *)w->paths, w->n_paths) < 0) {
		ev_timer_set(timer, RETRY, 0);
		ev_timer_start(loop, timer);
	}
	w->on_change(w->arg);
}

struct watch *watch_new(struct ev_loop *loop, void (*on_change)(void *), void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct watch){.loop = loop, .on_change = on_change, .arg = arg, .places.fd = -1};
	ev_io_init(&w->io, on_events, -1, EV_READ);
	ev_timer_init(&w->timer, on_quiet, 0, 0);
	w->io.data = w;
	w->timer.data = w;
	return w;
}

static void free_paths(char **paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	ev_io_stop(w->loop, &w->io);
	ev_timer_stop(w->loop, &w->timer);
	places_fini(&w->places, &w->places);
	if (w->places.fd >= 0)
		close(w->places.fd);
	free_paths(w->paths, w->n_paths);
	free(w);
}

static bool same(const struct watch *w, const char *const *paths, size_t n)
{
	if (w->n_paths != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(w->paths[i], paths[i]) != 0)
			return false;
	return true;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* Was a watched path, or a directory that holds one, touched at or after `since`? */
static bool touched(const struct watch *w, struct timespec since)
{
	struct stat st;

	since.tv_nsec -= CLOCK_SLACK;
	if (since.tv_nsec < 0) {
		since.tv_sec--;
		since.tv_nsec += 1000000000L;
	}
	for (size_t i = 0; i < w->n_paths; i++)
		if (stat(w->paths[i], &st) == 0 && later(&st.st_ctim, &since))
			return true;
	for (size_t i = 0; i < w->places.n; i++)
		if (stat(w->places.at[i].path, &st) == 0 && later(&st.st_mtim, &since))
			return true;
	return false;
}

int watch_set(struct watch *w, const char *const *paths, size_t n, const struct timespec *since,
	struct error *e)
{
	char **copy;
	size_t n_copy = 0;
	int error = -ENOMEM;

	if (same(w, paths, n))
		return 0;
	copy = calloc(n ? n : 1, sizeof(*copy));
	if (!copy)
		goto out;
	for (; n_copy < n; n_copy++) {
		CHECK(paths[n_copy][0] == '/');
		copy[n_copy] = strdup(paths[n_copy]);
		if (!copy[n_copy])
			goto out;
	}
	error = arm(w, paths, n);
	if (error)
		goto out;
	free_paths(w->paths, w->n_paths);
	w->paths = copy;
	w->n_paths = n;
	if (touched(w, *since))
		on_burst(w);
	return 0;
out:
	free_paths(copy, n_copy);
	return error_set(e, error, "file changes are not seen: inotify: %s%s", strerror(-error),
		error == -ENOSPC ? " (fs.inotify.max_user_watches)" : "");
}
