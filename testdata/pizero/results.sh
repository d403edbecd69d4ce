# What the checks on emulated machines print. Part of .ci/pizero and .ci/systemd.

passed=0
failed=0
failures= # lines

ok() {
	passed=$((passed + 1))
	echo "ok   - $1${2:+ ($2)}"
}

fail() {
	failed=$((failed + 1))
	failures+="FAIL - $1: $2"$'\n'
	echo "FAIL - $1: $2"
}

# within wants a figure to be a number, and at most the limit. After these come
# the unit and, maybe, more to say.
within() {
	local figure="$2 $4, limit $3${5:+; $5}"
	if [[ $2 =~ ^[0-9]+$ && $2 -le $3 ]]; then
		ok "$1" "$figure"
	else
		fail "$1" "$figure"
	fi
}

summarize() {
	if [[ $failed -gt 0 ]]; then
		show_logs
		echo "--- all that failed"
		echo -n "$failures"
	fi
	echo "$passed passed, $failed failed"
	finished=yes
	[[ $failed -eq 0 ]]
}

show_logs() {
	echo "--- the guest's console, its end"
	tail -n 30 "$console"
	if [[ -s $tmp/log ]]; then
		echo "--- porthole's log, its end"
		tail -n 30 "$tmp/log"
	fi
}
