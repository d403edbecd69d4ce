# What .ci/pizero checks on the emulated Raspberry Pi Zero.

check_size() {
	local size
	size=$(stat -c %s "$tmp/porthole")
	within "the program is small" "$size" "$size_limit" bytes
}

# check_tests looks at the tests that ran before porthole was started. There is
# a camera, so none has a reason to skip.
check_tests() {
	local log=$tmp/tests passed bad
	guest <<<"cat /tests/log" >"$log"
	passed=$(grep -c -- '^--- PASS' "$log" || true)
	bad=$(awk '/--- (FAIL|SKIP)|^panic:/ && n++ < 3' "$log" | tr '\n' ' ')
	if [[ -z $bad && $passed -gt 0 ]] && grep -qx "status 0" "$log" && [[ $(grep -c ": status 0$" "$log") -eq 8 ]] && ! grep -q ": status [1-9]" "$log" &&
		[[ $(grep -c "encoded by vjpeg" "$log") -ge 10 ]]; then
		ok "tests with the real V4L2 driver pass" "$passed tests"
	else
		fail "tests with the real V4L2 driver pass" "$passed passed; ${bad:-$(tail -n 2 "$log" | tr '\n' ' ')}"
		cat "$log"
	fi
}

check_page() {
	if fetch / page && grep -qi -e '<img' -e '<title>porthole' "$tmp/page"; then
		ok "the page is served" "$(stat -c %s "$tmp/page") bytes"
	else
		fail "the page is served" "$(answer page)"
	fi
}

check_snapshots() {
	local file
	for file in 1.jpg 2.jpg; do
		if fetch /snapshot "$file" && intact "$tmp/$file"; then
			ok "a snapshot is a good JPEG" "$(stat -c %s "$tmp/$file") bytes"
		else
			fail "a snapshot is a good JPEG" "$(answer "$file")"
		fi
	done
	if cmp -s "$tmp/1.jpg" "$tmp/2.jpg"; then
		fail "the second is another picture" "it is the same"
	else
		ok "the second is another picture"
	fi
}

# check_stream takes the stream for some seconds, and meanwhile looks at what
# porthole says about itself.
check_stream() {
	local reader part parts=0 bad=0 different
	curl -sS --max-time 12 -o "$tmp/stream" "$url/stream" 2>"$tmp/stream.error" &
	reader=$!
	sleep 6
	check_state
	check_health
	memory_with_one=$(resident)
	wait "$reader" || true # it always runs out of time

	mkdir "$tmp/parts"
	ffmpeg -v error -f mpjpeg -i "$tmp/stream" -c copy -f image2 "$tmp/parts/%04d.jpg" \
		</dev/null >/dev/null 2>&1 || true
	rm -f "$(find "$tmp/parts" -type f | sort | tail -n 1)" # half a picture, mostly
	for part in "$tmp"/parts/*.jpg; do
		[[ -e $part ]] || continue
		parts=$((parts + 1))
		intact "$part" || bad=$((bad + 1))
	done
	different=$(find "$tmp/parts" -type f -exec cksum {} + | cut -d ' ' -f 1,2 | sort -u | wc -l)
	if [[ $bad -eq 0 && $different -ge 3 ]]; then
		ok "the stream brings good pictures" "$parts, $different of them different, in 12 s"
	else
		fail "the stream brings good pictures" "$parts pictures, $bad damaged, $different different; $(cat "$tmp/stream.error")"
	fi
}

check_state() {
	if fetch /state state && grep -q '"driver": *"vivid"' "$tmp/state" &&
		grep -q '"online": *true' "$tmp/state"; then
		ok "/state names the driver and says online"
	else
		fail "/state names the driver and says online" "$(answer state)"
	fi
}

check_health() {
	if fetch /healthz health; then
		ok "/healthz says 200"
	else
		fail "/healthz says 200" "$(answer health)"
	fi
}

# check_settings changes a control of vivid and the size of its pictures, while
# somebody watches, and sets them back.
check_settings() {
	local viewer size wrong control reset
	curl -sS --max-time 60 -o "$tmp/watched" "$url/stream?fps=2" 2>/dev/null &
	viewer=$!
	sleep 2
	curl -sS --max-time 20 -d brightness=50 -d size=320x180 -o "$tmp/settings" "$url/settings" || true
	control=$(brightness)
	sleep 2
	fetch /snapshot small.jpg || true
	size=$(djpeg "$tmp/small.jpg" 2>/dev/null | sed -n 2p)
	wrong=$(curl -sS --max-time 20 -d brightness=300 -w ' %{http_code}' "$url/settings" | tr '\n' ' ')
	curl -sS --max-time 20 -d reset=1 -o "$tmp/settings" "$url/settings" || true
	reset=$(brightness)
	if [[ $control == 50 && $size == "320 180" && $reset == 128 ]]; then
		ok "settings change the camera" "brightness=$control, $size"
	else
		fail "settings change the camera" "brightness=${control:-?}, size ${size:-?}, then brightness=${reset:-?}; $(answer settings)"
	fi
	if [[ $wrong == "brightness=300: must be from 0 to 255 "*400 ]]; then
		ok "a wrong setting is refused" "$wrong"
	else
		fail "a wrong setting is refused" "$wrong"
	fi
	sleep 2
	if kill "$viewer" 2>/dev/null && grep -aq 'X-Frame' "$tmp/watched"; then
		ok "settings disconnect no viewer"
	else
		fail "settings disconnect no viewer" "it was gone"
	fi
	wait "$viewer" 2>/dev/null || true
}

# brightness prints what the last answer about settings says of it.
brightness() {
	grep -A 7 '"name": "brightness"' "$tmp/settings" | sed -n 's/.*"value": \([0-9]*\).*/\1/p' || true
}

# check_many_clients has many readers in the guest take the stream for a while.
check_many_clients() {
	local report most buffers fewest
	report=$(guest <<-EOF
		porthole=\$(cat /var/run/porthole.pid)
		readers=
		for i in \$(seq $readers); do
			wget -q -O /dev/null http://127.0.0.1:5000/stream &
			readers="\$readers \$!"
		done
		for i in \$(seq 10); do
			sleep 1
			awk '/^VmRSS/ { print "memory", \$2 }' /proc/\$porthole/status
		done
		for reader in \$readers; do
			awk '/^rchar/ { print "read", \$2 }' /proc/\$reader/io
		done
		awk '/^[0-9a-f]+-/ { video = /video/ }
			/^Rss/ && video { n += \$2 }
			END { print "buffers", n + 0 }' /proc/\$porthole/smaps
		echo "open \$(ls -l /proc/\$porthole/fd | grep -c /dev/video)"
		kill \$readers
	EOF
	)
	most=$(awk '$1 == "memory" && $2 > n { n = $2 } END { print n }' <<<"$report")
	fewest=$(awk '$1 == "read" { print $2 }' <<<"$report" | sort -n | head -n 1)
	buffers=$(sed -n 's/^buffers //p' <<<"$report")
	camera_was_open=$(sed -n 's/^open //p' <<<"$report")

	if [[ $(grep -c '^read' <<<"$report") -eq $readers && $fewest -gt 50000 ]]; then
		ok "$readers clients are served" "each at least $((fewest / 1000)) kB in 10 s"
	else
		fail "$readers clients are served" "$(grep -c '^read' <<<"$report") there, slowest got ${fewest:-no} bytes"
	fi
	# The driver's buffers are the kernel's memory, but porthole has them mapped
	# and so they count.
	within "memory with $readers clients" "${most:-none}" "$memory_limit" kB \
		"${buffers:-?} of it the driver's buffers; ${memory_with_one:-?} with one client, ${memory_at_rest:-?} before the first"
}

# check_clock sets the board's clock while a viewer watches, as NTP does after a start in 1970:
# forwards, back, to 2038, when 31 bits of seconds end, and back from there: BusyBox has no time
# after that, and time flies in a guest that has nothing to do.
check_clock() {
	local report gap pictures
	report=$(guest <<-'EOF'
		wget -q -O - http://127.0.0.1:5000/frames.csv >/tmp/rows &
		table=$!
		sleep 2
		read -r uptime _ </proc/uptime
		for seconds in 1795000000 $((${uptime%.*} + 86400)) 2147000000 1795000000; do
			date -s @$seconds >/dev/null || echo "not set to $seconds"
			sleep 5
			wget -q -O /tmp/clock.jpg http://127.0.0.1:5000/snapshot && echo snapshot
		done
		kill $table
		awk -F , 'NR > 2 { if ($4 + 0 > most) most = $4 + 0; n++ } END { print "rows", n, most }' /tmp/rows
	EOF
	)
	read -r pictures gap < <(sed -n 's/^rows //p' <<<"$report") || true
	if [[ ${pictures:-0} -ge 100 && $(grep -c '^snapshot$' <<<"$report") -eq 4 && $report != *"not set"* ]]; then
		within "pictures come on while the clock is set" "${gap%.*}" 1000 "ms between two" "$pictures pictures"
	else
		fail "pictures come on while the clock is set" "$report"
	fi
}

# check_idle wants the camera closed some time after the last client left, and
# the next one served soon.
check_idle() {
	local report after first
	if [[ $camera_was_open != 1 ]]; then
		fail "the camera is released when nobody watches" "it was not open while somebody did"
		return
	fi
	# A new porthole, which nobody has asked for snapshots: after these the camera stays open
	# for longer.
	report=$(guest <<-'EOF'
		/etc/init.d/S50porthole stop
		/etc/init.d/S50porthole start
		until netstat -tln | grep -q ':5000 '; do sleep 0.1; done
		wget -q -O - http://127.0.0.1:5000/stream | head -c 1000 >/dev/null
		porthole=$(cat /var/run/porthole.pid)
		for i in $(seq 20); do
			sleep 1
			if ! ls -l /proc/$porthole/fd | grep -q /dev/video; then
				echo "released $i"
				break
			fi
		done
		read -r before _ </proc/uptime
		wget -q -O - http://127.0.0.1:5000/stream | head -c 1000 >/dev/null
		read -r now _ </proc/uptime
		echo "first $before $now"
	EOF
	)
	after=$(sed -n 's/^released //p' <<<"$report")
	if [[ -n $after ]]; then
		ok "the camera is released when nobody watches" "after $after s"
	else
		fail "the camera is released when nobody watches" "open after 20 s"
	fi
	first=$(awk '$1 == "first" { printf "%d", 1000 * ($3 - $2) }' <<<"$report")
	within "the next viewer has a picture" "${first:-none}" "$first_limit" ms
}

# check_respawn has init start porthole, and start it again after it was killed.
check_respawn() {
	local report
	report=$(guest <<-'EOF'
		running() {
			for i in $(seq 50); do
				pidof porthole >/dev/null && netstat -tln | grep -q ':5000 ' && break
				sleep 0.2
			done
			pidof porthole
		}
		cp /etc/inittab /tmp/inittab
		echo '::respawn:/usr/bin/porthole' >>/etc/inittab
		kill -HUP 1
		first=$(running)
		kill -9 $first
		sleep 1
		second=$(running)
		echo "pids $first $second"
		cp /tmp/inittab /etc/inittab
		kill -HUP 1
		sleep 1
		killall -q porthole
		while pidof porthole >/dev/null; do sleep 0.2; done
	EOF
	)
	if [[ $report =~ pids\ ([0-9]+)\ ([0-9]+)$ && ${BASH_REMATCH[1]} != "${BASH_REMATCH[2]}" ]]; then
		ok "init starts porthole again" "$report"
	else
		fail "init starts porthole again" "$report"
	fi
}


# check_stop stops porthole while it has a client.
check_stop() {
	local report took
	report=$(guest <<-'EOF'
		porthole=$(cat /var/run/porthole.pid)
		wget -q -O /dev/null http://127.0.0.1:5000/stream &
		sleep 3
		read -r before _ </proc/uptime
		if [ -e /proc/$porthole ] && /etc/init.d/S50porthole stop && [ ! -e /proc/$porthole ]; then
			read -r after _ </proc/uptime
			echo "took $before $after"
		fi
		echo "--- log"
		cat /var/log/porthole.log
	EOF
	)
	took=$(awk '$1 == "took" { printf "%.2f", $3 - $2; exit }' <<<"$report")
	if [[ -n $took && ${took%.*} -lt 2 ]]; then
		ok "stops when the init script says so" "in $took s"
	else
		fail "stops when the init script says so" "${took:-did not, or had before}"
	fi

	sed '1,/^--- log/d' <<<"$report" >"$tmp/log"
	if grep -qi vivid "$tmp/log"; then
		ok "the log names the camera" "$(grep -i -m 1 vivid "$tmp/log")"
	else
		fail "the log names the camera" "$(head -c 400 "$tmp/log")"
	fi
}

# check_webcam has the webcam misbehave while one viewer in the guest watches: the
# way out of the guest is too slow for 30 frames a second.
check_webcam() {
	local report=$tmp/report
	mkdir "$tmp/viewer"
	: >"$tmp/viewer/parts" # if none comes from the guest
	guest "$webcam_limit" >"$report" <<-'EOF'
		rmmod vivid
		echo plug | nc 127.0.0.1 2324
		sleep 2
		/etc/init.d/S50porthole start
		until netstat -tln | grep -q ':5000 '; do sleep 0.1; done
		/tests/misbehave /tmp/viewer
	EOF
	guest <<<"cd /tmp/viewer && tar -c parts *.jpg" | tar -x -C "$tmp/viewer" 2>/dev/null || true
	(cd "$tmp/viewer" && "$tmp/webcam.here" show ./*.jpg) >"$tmp/shown" || true
	check_faults "$report"
	check_viewer "$report"
	check_replugs "$report"
	check_stills "$report"
	if [[ $failed -gt 0 ]]; then
		cat "$report"
	fi
}

# check_faults compares what happened with what should have: the least number of
# live pictures per second that the viewer got while the webcam had the fault,
# the least number of frames that were dropped, and what /state said. Soon after
# the end of each fault there must be live pictures again.
check_faults() {
	local name least dropped state fps back damaged said
	while read -r name least dropped state; do
		read -r fps back damaged said < <(awk -v "name=$name" '
			FILENAME ~ /shown$/ { live[$1] = $2 == "camera" }
			FILENAME ~ /parts$/ && live[$3] { at[n++] = $1 }
			$1 == "fault" && $2 == name {
				for (i = 0; i < n && at[i] <= $4; i++)
					inside += at[i] > $3
				back = i < n ? at[i] - $4 : 99
				printf "%.1f %.2f %d ", inside / ($4 - $3 + 1e-3), back, $5
				for (i = 6; i <= NF; i++)
					printf "%s ", $i
				print ""
			}' "$tmp/shown" "$tmp/viewer/parts" "$1") || true # it is not there
		if awk "BEGIN { exit !(${fps:-0} >= $least && ${back:-99} <= $back_limit && ${damaged:-0} >= $dropped) }" &&
			[[ $said =~ ^$state ]]; then
			ok "webcam, $name" "live pictures after $back s, $fps a second meanwhile, $damaged dropped; $said"
		else
			fail "webcam, $name" "live pictures after ${back:-?} s, limit $back_limit; ${fps:-?} a second meanwhile, want $least; ${damaged:-?} dropped, want $dropped; ${said:-nothing}, want $state"
		fi
	done <<-'EOF'
		none           28  0  live /dev/video0 640x480
		dht            28  0  live /dev/video0 640x480
		pad            28  0  live /dev/video0 640x480
		junk           28  0  live /dev/video0 640x480
		rate            4  0  live /dev/video0 640x480
		truncate       20  8  live /dev/video0 640x480
		error          20  8  live /dev/video0 640x480
		garbage        20  8  live /dev/video0 640x480
		stub           20  8  live /dev/video0 640x480
		empty          20  0  live /dev/video0 640x480
		marker         20  8  live /dev/video0 640x480
		half           20  8  live /dev/video0 640x480
		half-ended     20  8  live /dev/video0 640x480
		hole           20  8  live /dev/video0 640x480
		no-data        20  8  live /dev/video0 640x480
		no-height      20  8  live /dev/video0 640x480
		no-end         28  0  live /dev/video0 640x480
		two-ends       28  0  live /dev/video0 640x480
		two-pictures   28  0  live /dev/video0 640x480
		front          28  0  live /dev/video0 640x480
		gap            28  0  live /dev/video0 640x480
		all-truncated   0 60  lost .*: only damaged pictures
		stall           0  0  lost .*: the camera stalled
		unplug          0  0  lost .*no camera found
		refuse         28  0  live /dev/video0 320x240
		renumber       28  0  live /dev/video1 640x480
		busy            0  0  lost .*: in use by another program
		bandwidth       0  0  lost .*: not enough USB bandwidth
		isochronous    28  0  live /dev/video0 640x480
		isochronous-truncate 20 8 live /dev/video0 640x480
		isochronous-error 20 8 live /dev/video0 640x480
		isochronous-lose 20 8 live /dev/video0 640x480
		none-at-the-end 28 0  live /dev/video0 640x480
	EOF
}

# check_viewer looks at the one viewer, and at all that it got.
check_viewer() {
	local picture count different=0 bad=0 silence
	for picture in "$tmp"/viewer/*.jpg; do
		different=$((different + 1))
		intact "$picture" || bad=$((bad + 1))
	done
	count=$(grep -c . "$tmp/viewer/parts" || true)
	silence=$(awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { printf "%.1f", most }' "$tmp/viewer/parts")
	if grep -qx "viewer watched to the end" "$1" && [[ ${silence%.*} -lt 3 ]]; then
		ok "webcam, the viewer stays connected" "never longer than $silence s without a picture"
	else
		fail "webcam, the viewer stays connected" "$(grep '^viewer' "$1"); $silence s without a picture"
	fi
	if [[ $bad -eq 0 && $count -gt 1000 ]] && ! grep -q damaged "$tmp/shown"; then
		ok "webcam, all pictures are good" "$count, $different of them different"
	else
		fail "webcam, all pictures are good" "$count, $different of them different, $bad damaged; $(grep -m 1 damaged "$tmp/shown")"
	fi
}

# check_replugs compares what porthole has in use after 50 replugs and after one.
# One buffer lost each time would be 30 MB; what is allowed is noise.
check_replugs() {
	local memory files threads memory_then files_then threads_then slowest
	read -r memory files threads _ < <(sed -n 's/^replug 1 //p' "$1") || true
	read -r memory_then files_then threads_then _ _ _ slowest < <(sed -n 's/^replug 50 //p' "$1") || true
	within "webcam, memory after 50 replugs" "${memory_then:-none}" "$((${memory:-0} + 200))" kB "$memory after the first"
	if [[ -n $files && $files == "$files_then" && ${threads_then:-99} -le $((threads + 1)) && ${slowest%.*} -lt 3 ]]; then
		ok "webcam, open files after 50 replugs" "$files_then as after the first; $threads_then threads, $threads after the first; frames after $slowest s at most"
	else
		fail "webcam, open files after 50 replugs" "${files_then:-?}, and ${files:-?} after the first; ${threads_then:-?} threads, and ${threads:-?}; frames after ${slowest:-?} s at most"
	fi
}

# check_stills wants snapshots of the largest size beside a smaller stream.
check_stills() {
	local count files slowest
	count=$(grep -c '^still .* 320x240 .* camera .* 640x480$' "$1" || true)
	files=$(awk '$1 == "still" { print $6 }' "$1" | sort -u | wc -l)
	slowest=$(awk '$1 == "still" && $4 - $3 > most { most = $4 - $3 } END { printf "%d", 1000 * most }' "$1")
	within "webcam, the slowest of $count snapshots of the largest size" "$slowest" "$still_limit" ms
	if [[ $count -eq 3 && $files -eq 1 ]]; then
		ok "webcam, snapshots are larger than the stream" "$(grep -m 1 '^still' "$1")"
	else
		fail "webcam, snapshots are larger than the stream" "$count of 3, with $files numbers of open files: $(grep '^still' "$1" | tr '\n' ';')"
	fi
}

# check_alive explains why everything fails when QEMU was not there any more.
check_alive() {
	kill -0 "$qemu" 2>/dev/null ||
		fail "the board runs to the end" "QEMU ended, after $SECONDS s of at most $time_limit: $(tail -n 1 "$tmp/qemu")"
}
