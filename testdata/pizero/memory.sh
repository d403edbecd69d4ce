# What .ci/pizero checks on a board with little memory.

readonly little_memory=64M
readonly viewers_most=100 # as many as porthole takes: -max-clients
readonly viewers_reading=5

# check_little_memory boots the board again, with little memory, of which the kernel takes
# 14 MB and all files 10. As many viewers as may be watch pictures of 260 kB: one in the guest,
# and others behind the slow way out of it, of whom all but a few stop reading.
check_little_memory() {
	local report fps bytes
	shut_down
	rm -r "$tmp/root/tests" "$tmp/root/etc/init.d/S10tests" "$tmp/root/usr/bin/"{webcam,rpicam-vid}
	sed -i '/^vhci-hcd\|^uvcvideo/d' "$tmp/root/etc/modules"
	boot "$little_memory" || return 0
	guest <<-'EOF' >/dev/null
		/etc/init.d/S50porthole stop
		mkdir -p /etc/default
		echo 'PORTHOLE_ARGS="-size 640x360 -quality 97 -fps 5 -set test_pattern=Noise"' >/etc/default/porthole
		/etc/init.d/S50porthole start
		until netstat -tln | grep -q ':5000 '; do sleep 0.1; done
	EOF
	report=$(
		open_viewers $((viewers_most - 3)) # and one for the snapshot
		guest <<-'EOF'
			porthole=$(cat /var/run/porthole.pid)
			wget -q -O /dev/null http://127.0.0.1:5000/stream &
			viewer=$!
			wget -q -O - http://127.0.0.1:5000/frames.csv >/tmp/rows &
			table=$!
			sleep 10
			awk -F , 'NR > 2 { bytes += $3; n++ } END { if (n > 0) print "frames", n / 10, bytes / n }' /tmp/rows
			awk '/^VmHWM/ { printf "porthole %d kB at most, ", $2 }' /proc/$porthole/status
			awk '/^MemTotal/ { total = $2 } /^MemAvailable/ { print $2, "kB of", total, "available" }' /proc/meminfo
			kill -0 $viewer && wget -q -O - http://127.0.0.1:5000/snapshot >/dev/null && echo served
			kill $viewer $table
			dmesg | grep -i -e '^.\{16\}out of memory' -e 'invoked oom-killer'
		EOF
	)
	read -r fps bytes < <(sed -n 's/^frames //p' <<<"$report") || true
	if [[ ${fps%.*} -ge 4 && ${bytes%.*} -ge 250000 && $report == *$'\n'served && $report != *oom-killer* ]]; then
		ok "$viewers_most viewers of large pictures, on a board with $little_memory" "$fps pictures a second of ${bytes%.*} bytes, $(grep available <<<"$report")"
	else
		fail "$viewers_most viewers of large pictures, on a board with $little_memory" "$report"
	fi
}

# open_viewers opens streams in this shell. Some of them are read.
open_viewers() {
	local i socket
	for i in $(seq "$1"); do
		exec {socket}<>"/dev/tcp/127.0.0.1/${url##*:}"
		printf 'GET /stream HTTP/1.1\r\nHost: porthole\r\n\r\n' >&"$socket"
		if [[ $i -le $viewers_reading ]]; then
			cat <&"$socket" >/dev/null 2>&1 &
		fi
	done
}
