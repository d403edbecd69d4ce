# What .ci/pizero checks with more than one camera on the emulated Raspberry Pi
# Zero, and with slow ones: that porthole shows the right one, and soon.

# check_cameras plugs cameras in and unplugs them by testdata/webcam/cameras, while
# a viewer in the guest watches.
check_cameras() {
	local scenes=$tmp/scenes
	mkdir "$tmp/cameras"
	: >"$tmp/cameras/parts" # if none comes from the guest
	guest "$cameras_limit" >"$scenes" <<-'EOF'
		/etc/init.d/S50porthole stop
		/tests/cameras /tmp/cameras
	EOF
	guest <<<"cd /tmp/cameras && tar -c parts *.jpg" | tar -x -C "$tmp/cameras" 2>/dev/null || true
	(cd "$tmp/cameras" && "$tmp/webcam.here" show ./*.jpg) >"$tmp/cameras/shown" || true
	check_scenes "$scenes"
	if [[ $failed -gt 0 ]]; then
		cat "$scenes"
	fi
}

# check_scenes compares what was seen in each scene with what should have been:
# whose pictures the viewer got, and after how many seconds at most; how often at
# most a camera was opened; and what /state said. Pictures of the other webcam are
# wrong, but for those that were under way when the scene began.
check_scenes() {
	local name wanted limit most state first wrong opened said
	while read -r name wanted limit most state; do
		read -r first wrong opened said < <(awk -v "name=$name" -v "wanted=$wanted" '
			FILENAME ~ /shown$/ && $2 == "camera" { camera[$1] = $3 < 16 ? "first" : "second" }
			FILENAME ~ /parts$/ && $3 in camera { at[n] = $1; from[n++] = camera[$3] }
			$1 == "scene" && $2 == name {
				first = wanted == "none" ? 0 : 99
				for (i = 0; i < n && at[i] <= $4; i++) {
					if (from[i] == wanted && at[i] > $3 && at[i] - $3 < first)
						first = at[i] - $3
					wrong += from[i] != wanted && at[i] > $3 + 1
				}
				printf "%.1f %d %d ", first, wrong, $5
				for (i = 6; i <= NF; i++)
					printf "%s ", $i
				print ""
			}' "$tmp/cameras/shown" "$tmp/cameras/parts" "$1") || true # it is not there
		if awk "BEGIN { exit !(${first:-99} <= $limit && ${wrong:-1} == 0 && ${opened:-99} <= $most) }" &&
			[[ $said =~ ^$state ]]; then
			ok "cameras, $name" "shows $wanted after $first s, opened $opened times; $said"
		else
			fail "cameras, $name" "shows $wanted after ${first:-?} s, limit $limit; ${wrong:-?} pictures of another; opened ${opened:-?} times, limit $most; ${said:-nothing}, want $state"
		fi
	done <<-'EOF'
		slow              first  10 2  live /dev/video0 uvcvideo MJPG
		slow-again        first  10 2  live /dev/video0 uvcvideo MJPG
		refuse-format     first   3 2  live /dev/video0 uvcvideo YUYV
		renumber          first   3 2  live /dev/video1 uvcvideo MJPG
		number-gone       none    0 0  lost .*/dev/video0.*no such device
		number-back       first   3 2  live /dev/video0 uvcvideo MJPG
		path-gone         none    0 0  lost .*by-path.*no such device
		path-back         first   3 2  live .*by-path.* uvcvideo MJPG
		silent            second 15 3  live /dev/video2 uvcvideo MJPG
		no-start          second  3 3  live /dev/video2 uvcvideo MJPG
		no-picture        none    0 3  live emulated
		no-picture-plug   first   3 2  live /dev/video1 uvcvideo MJPG
		no-picture-first  first  15 3  live /dev/video1 uvcvideo MJPG
		no-picture-back   first   4 2  live /dev/video1 uvcvideo MJPG
	EOF
}
