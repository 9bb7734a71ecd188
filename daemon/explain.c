#include "daemon/explain.h"

#include <stdio.h>

#include "daemon/http/uri.h"

static struct text take_word(struct text *rest)
{
	struct text word;

	while (rest->length && rest->at[0] == ' ')
		rest->at++, rest->length--;
	word = (struct text){rest->at, 0};
	while (rest->length && rest->at[0] != ' ')
		rest->at++, rest->length--, word.length++;
	return word;
}

static int parse(
	struct text question, struct query *query, struct uri *uri, struct head_error *wrong)
{
	struct head head = {0};

	if (!addr_parse(&query->client, take_word(&question))) {
		wrong->text = "want CLIENT METHOD TARGET, and CLIENT as an IP address";
		return -1;
	}
	head.method = take_word(&question);
	head.target = take_word(&question);
	query->connect = text_equal(head.method, TEXT("CONNECT"));
	head.method_id = query->connect ? METHOD_CONNECT : METHOD_OTHER;
	if (head.target.length == 0 || take_word(&question).length) {
		wrong->text = "want CLIENT METHOD TARGET";
		return -1;
	}
	return uri_parse(&head, uri, wrong);
}

void explain(const struct policy *policy, const char *question, char *out, size_t size)
{
	struct query query = {.protocol = PROTOCOL_TCP};
	struct head_error wrong;
	struct verdict verdict;
	struct uri uri;
	int length;

	if (parse(text_of(question), &query, &uri, &wrong) < 0) {
		snprintf(out, size, "error: %s\n", wrong.text);
		return;
	}
	query.port = uri.port;
	if (uri.is_address) {
		query.addrs = &uri.addr;
		query.n_addrs = 1;
		query.resolved = true;
	} else
		query.host = (struct text){uri.host, uri.host_length};
	verdict = policy_decide(policy, &query);
	policy_explain(&query, &verdict, out, size - 1);
	length = (int)strlen(out);
	snprintf(out + length, size - (size_t)length, "\n");
}
