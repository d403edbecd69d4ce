# .ci/pizero bench: what porthole costs on the emulated Raspberry Pi Zero, beside
# two others. The floor, testdata/bench/floor.c, writes the same bytes to every
# client and does nothing else. uStreamer is Debian's, with the same cameras.
#
#	.ci/pizero bench >figures.md
#
# Prints tables in Markdown. In the guest time is instructions executed, so the
# figures are the same to a few per cent on any machine, however busy. But they
# are not those of a real Zero: each instruction takes 2 ns, memory is as fast
# as the processor, and interrupts for the camera come from a USB port made of
# software.
#
# uStreamer and its libraries are kept in ~/.cache/porthole-pizero-ustreamer. It
# takes five minutes, on a busy machine more.

readonly crowds=(1 5 10 20 40) # clients at a time
readonly warm_up=2             # seconds that viewers watch before it counts
readonly window=8              # seconds that count

ustreamer=${XDG_CACHE_HOME:-$HOME/.cache}/porthole-pizero-ustreamer
declare -A figures # "SERVER CAMERA CLIENTS NAME" to a number

bench() {
	local server clients
	time_limit=900
	set_up
	get "$ustreamer" ustreamer_packages
	build
	make_root
	add_bench
	boot >&2 || die "does not boot"
	for clients in "${crowds[@]}"; do
		for server in floor porthole ustreamer; do
			watch "$server" webcam "$clients"
		done
	done
	for server in porthole ustreamer; do
		watch "$server" vivid 1
		launch "$server" webcam
		launch "$server" vivid
	done
	check_pictures
	encrypt
	watch_encoders
	print_tables
	finished=yes
}

# ustreamer_packages prints the names of uStreamer's package and of all that it
# needs.
ustreamer_packages() {
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances ustreamer:armel | grep '^[a-z]'
}

# add_bench has the guest plug the webcam in, and gives it the servers and their
# viewers.
add_bench() {
	local root=$tmp/root program
	cp -r "$ustreamer/lib" "$root"
	mkdir -p "$root/usr/lib"
	cp -r "$ustreamer"/usr/lib/arm-linux-gnueabi "$root/usr/lib"
	cp "$ustreamer/usr/bin/ustreamer" "$repo/testdata/bench/measure" "$root/usr/bin"
	for program in floor viewers; do
		arm-linux-gnueabi-gcc -march=armv6 -marm -O2 -Wall -Wextra -s -static \
			-o "$root/usr/bin/$program" "$repo/testdata/bench/$program.c" || die "does not build"
	done
	(
		cd "$repo"
		export CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=6
		go test -c -trimpath -ldflags='-s -w' -o "$tmp/mjpeg.test" ./mjpeg
		go test -c -trimpath -ldflags='-s -w' -o "$tmp/porthole.test" .
	) || die "does not build"
	install -D -m 755 "$tmp/mjpeg.test" "$root/tests/mjpeg/mjpeg.test"
	install -D -m 755 "$tmp/porthole.test" "$root/tests/porthole.test"
	cp -r "$repo/static" "$root/tests"
	write "$root/etc/init.d/S10webcam" <<-'EOS'
		#!/bin/sh
		webcam >/var/log/webcam.log 2>&1 &
		until grep -q webcam /sys/class/video4linux/*/name; do sleep 0.1; done
		echo "stamp on" | nc 127.0.0.1 2324
	EOS
}

# ---- Measuring

# watch measures a server while some clients watch.
watch() {
	say "$1, $2, clients: $3"
	record "$1 $2 $3" <<<"measure watch $1 $2 $3 $warm_up $window"
}

# launch measures how long a server takes to start.
launch() {
	record "$1 $2 1" <<<"measure launch $1 $2"
}

# watch_encoders measures with an encoder of the board, which takes no time itself: the pictures
# are all the first.
watch_encoders() {
	local camera server
	guest <<<"modprobe vjpeg once=1"
	for camera in vivid pipe15 pipe30; do
		for server in board own; do
			watch "$server" "$camera" 1
		done
	done
}

# check_pictures measures what package mjpeg takes to check a picture.
check_pictures() {
	say "checking pictures"
	record "check" <<-'EOS'
		cd /tests/mjpeg
		./mjpeg.test -test.run '^$' -test.bench Repairer -test.benchtime 300x |
			sed -n 's,^BenchmarkRepairer/\([a-z]*\)[ 	]*[0-9]*[ 	]*\([0-9]*\).*,\1 \2,p'
		echo first 1
	EOS
}

# encrypt measures what TLS costs for a frame and a viewer.
encrypt() {
	say "encrypting"
	record "tls" <<-'EOS'
		cd /tests
		./porthole.test -test.run '^$' -test.bench TLSFrame -test.benchtime 300x |
			sed -n 's,^BenchmarkTLSFrame[ 	]*[0-9]*[ 	]*\([0-9]*\).*,frame \1,p'
		echo first 1
	EOS
}

# record has the guest run its input and keeps the figures that are printed.
record() {
	local report key value
	report=$(guest 400)
	while read -r key value; do
		[[ $key =~ ^[a-z0-9]+$ && $value =~ ^[0-9]+$ ]] && figures["$1 $key"]=$value
	done <<<"$report"
	[[ $report =~ (frames|first)\ [1-9] ]] || die "$1: $report"
}

# ---- Tables

print_tables() {
	local server camera=webcam clients=1
	print_about
	print_delivery
	print_viewing
	print_encoding
	print_encoders
	print_checking
	print_encrypting
	print_memory
	print_start
	print_size
}

# figure prints the one of this name, of this $server, $camera and $clients.
figure() {
	echo "${figures[$server $camera $clients $1]:-nan}"
}

# ratio divides a number by another, with some decimals.
ratio() {
	awk "BEGIN { printf \"%.$3f\", $1 / $2 }"
}

# header prints the first row of a table, and row any other.
header() {
	echo
	row "$@"
	printf '|---'
	printf '|--:%.0s' "${@:2}"
	echo "|"
}

row() {
	printf '| %s ' "$@"
	echo "|"
}

title() {
	case $server in
	floor) echo "the floor, no camera" ;;
	porthole) echo "porthole" ;;
	ustreamer) echo "uStreamer" ;;
	esac
}

print_about() {
	local server camera
	cat <<-EOS
		Measured on $(date -I) on an emulated Raspberry Pi Zero, by \`.ci/pizero bench\`: Linux $(kernel_version "$board"),
		porthole $(git -C "$repo" describe --tags --always --dirty), uStreamer $(guest <<<"ustreamer --version"). The webcam sends MJPG, 640x480,
		30 frames a second, and vivid YUYV, 640x360, 5 a second.

	EOS
	for camera in webcam vivid; do
		for server in porthole ustreamer; do
			guest <<<"measure command $server $camera" | sed 's/^/    /'
		done
	done
	guest <<<"measure command floor none N" | sed 's/^/    /'
}

print_delivery() {
	header "CPU per delivered frame, us; clients:" "${crowds[@]}"
	for server in floor porthole ustreamer; do
		row "$(title)" $(
			for clients in "${crowds[@]}"; do
				ratio "$(figure cpu)" "$(figure frames)000" 0
				echo
			done
		)
	done
}

# print_viewing is about the largest crowd. The kernel's timer sees what runs
# when it ticks, so the share of the kernel is not exact.
print_viewing() {
	local clients=${crowds[-1]}
	header "webcam, $clients clients" "frames/s each, at least" "CPU, %" "of it the kernel's, %" \
		"switches per camera's frame" "age, median, ms" "99th percentile, ms"
	for server in floor porthole ustreamer; do
		row "$(title)" \
			"$(ratio "$(figure least)" $window 1)" \
			"$(ratio "$(figure cpu)" $((window * 10000000)) 1)" \
			"$(ratio "100 * $(figure system)" "($(figure system) + $(figure user))" 0)" \
			"$(ratio "$(figure switches)" $((window * 30)) 1)" \
			"$(ratio "$(figure age50)" 1000 1)" \
			"$(ratio "$(figure age99)" 1000 1)"
	done
}

print_encoding() {
	local camera=vivid
	header "vivid, 1 client" "CPU per frame, ms" "frame, bytes" "frames/s"
	for server in porthole ustreamer; do
		row "$(title)" \
			"$(ratio "$(figure cpu)" "$(figure frames)000000" 1)" \
			"$(ratio "$(figure bytes)" "$(figure frames)" 0)" \
			"$(ratio "$(figure frames)" $window 1)"
	done
}

# print_encoders is about who encodes: CPU of the server, without that of the camera, of its
# program, and of the board's encoder. uStreamer reads no pipes.
print_encoders() {
	local server camera clients=1
	header "1 client, CPU per frame, ms" "the board's encoder" "porthole's own" "uStreamer's"
	for camera in vivid pipe15 pipe30; do
		row "$camera" $(
			for server in board own ustreamer; do
				ratio "$(figure cpu)" "$(figure frames)000000" 1 | sed 's/-*nan/-/'
				echo
			done
		)
	done
}

# print_checking is about a picture of 28 KB: to go through its structure, and to count its
# blocks as well. A copy of it is in both.
print_checking() {
	local step
	header "checking a JPEG of 28 KB" "us" "CPU at 30 frames/s, %"
	for step in copy structure count; do
		row "$step" "$(ratio "${figures["check $step"]:-nan}" 1000 0)" "$(ratio "${figures["check $step"]:-nan} * 30" 10000000 2)"
	done
}

# print_encrypting is about a frame of 28 KB.
print_encrypting() {
	header "TLS, for a frame of 28 KB" "us" "CPU at 30 frames/s, %"
	row "each viewer" "$(ratio "${figures["tls frame"]:-nan}" 1000 0)" "$(ratio "${figures["tls frame"]:-nan} * 30" 10000000 2)"
}

# print_memory tells what is resident, and what of it is not the driver's
# buffers: they are the kernel's memory, but mapped and so they count.
print_memory() {
	header "memory, kB" "before the first client" "1 client" "less buffers" \
		"${crowds[-1]} clients" "less buffers"
	for server in floor porthole ustreamer; do
		row "$(title)" "$(figure rest)" $(
			for clients in 1 "${crowds[-1]}"; do
				echo "$(figure resident) $(($(figure resident) - $(figure mapped)))"
			done
		)
	done
}

print_start() {
	header "since the start, ms" "listening" "first frame, webcam" "first frame, vivid"
	for server in porthole ustreamer; do
		row "$(title)" "$(ratio "$(figure listening)" 1000 0)" \
			"$(ratio "$(figure first)" 1000 0)" \
			"$(ratio "$(camera=vivid figure first)" 1000 0)"
	done
}

# print_size has the loader list what it would load.
print_size() {
	local libraries size
	libraries=$(guest <<<"cat \$(LD_TRACE_LOADED_OBJECTS=1 ustreamer | grep -o '/[^ ]*') | wc -c")
	header "size, bytes" "program" "with its libraries"
	size=$(stat -c %s "$tmp/porthole")
	row porthole "$size" "$size"
	size=$(stat -c %s "$ustreamer/usr/bin/ustreamer")
	row uStreamer "$size" "$((size + libraries))"
}
