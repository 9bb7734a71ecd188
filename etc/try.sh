#!/bin/sh
# What to try while egretd runs on the shipped defaults.
cat <<'TEXT'

egretd starts on etc/egret.ini and etc/acl.ini.  In another terminal, try:

  curl -x http://127.0.0.1:3128 http://egret.internal/      who you are, and where you may go
  curl -x http://127.0.0.1:3128 http://example.com/         allowed by [partner example]
  curl -x http://127.0.0.1:3128 http://example.org/         denied, and why
  curl http://127.0.0.1:9128/metrics                        what was counted
  $EDITOR etc/acl.ini                                       takes effect when you save it

Ctrl-C ends it.  The NAT rules stay; `build/egretd -c etc/egret.ini --remove` takes them away.

TEXT
