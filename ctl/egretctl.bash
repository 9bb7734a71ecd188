# bash completion for egretctl: source it, or install it as
# /usr/share/bash-completion/completions/egretctl.  The words are those of `egretctl help --json`.

# The words that may follow a command.
_egretctl_words()
{
	case $1 in
	check) words="--role" ;;
	explain) words="-c --address --protocol" ;;
	rules) words="--unused" ;;
	"nat plan") words="-c" ;;
	"cache purge" | purge) words="url prefix partner tag" ;;
	dns) words="--source --port" ;;
	"connections list") words="--source --partner --limit" ;;
	tail) words="-n -f --follow --source --partner --verdict --status" ;;
	top) words="-d -n" ;;
	who) words="--at --protocol --log" ;;
	release | claim) words="all" ;;
	help) words=$_egretctl_commands ;;
	esac
	words+=" --json --help"
}

_egretctl_commands="status reload check explain rules nat cache dns connections tail top who release claim purge help"

_egretctl()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i=1 command words

	COMPREPLY=()
	[[ ${COMP_WORDS[1]} == -s ]] && i=3
	if ((COMP_CWORD < i)) && [[ $previous == -s ]]; then
		COMPREPLY=($(compgen -f -- "$current"))
		return
	fi
	command=${COMP_WORDS[i]}
	case $command in
	nat) words="plan show verify" ;;
	cache) words="stats purge" ;;
	connections) words="list kill" ;;
	esac
	if ((COMP_CWORD == i)); then
		words="$_egretctl_commands -s --json --help --version"
	elif [[ $words && $COMP_CWORD -gt $((i + 1)) ]]; then
		command="$command ${COMP_WORDS[i + 1]}"
		words=
	fi
	case $previous in
	-c | --log)
		COMPREPLY=($(compgen -f -- "$current"))
		return
		;;
	--role) words="gateway agent" ;;
	--protocol) words="tcp udp" ;;
	--verdict) words="allow deny report" ;;
	--address | --source | --partner | --port | --limit | --at | --status | -n | -d) return ;;
	*)
		[[ $words ]] || _egretctl_words "$command"
		[[ $command == check || $command == tail ]] && COMPREPLY=($(compgen -f -- "$current"))
		;;
	esac
	COMPREPLY+=($(compgen -W "$words" -- "$current"))
}
complete -F _egretctl egretctl
