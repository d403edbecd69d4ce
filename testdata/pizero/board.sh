# The emulated Raspberry Pi Zero: what it needs, the system that it boots, and
# how to have it run something. Part of .ci/pizero; .ci/arm64 and .ci/systemd use some of it.
#
# QEMU emulates the board, with the kernel that Debian has for it and BusyBox
# for all the rest.

# The kernel's test driver, vivid, capture only: as a camera, and as two receivers,
# of HDMI and of television, which is for some tests.
readonly vivid_camera="vivid n_devs=1 node_types=0x1"
readonly vivid_receivers="vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x3,0x1"
readonly receiver_tests="V4L2DeviceHDMI|V4L2DeviceTelevision"

# And as two cameras with buffers of dma-contig, as drivers of boards have. The second has
# the multi-planar API.
readonly vivid_boards="vivid n_devs=2 node_types=0x1,0x1 allocators=1,1 multiplanar=1,2"
readonly board_tests="V4L2Device(Formats|Errors|Time64)?\$"

# ---- What is needed

set_up() {
	install_tools
	fetch_board
	tmp=$(mktemp -d)
	trap clean_up EXIT
	trap 'exit 1' INT TERM HUP
	[[ -z $compiler ]] || build_modules
	SECONDS=0
}

clean_up() {
	[[ -n $finished ]] || say "ended before its time"
	shut_down
	rm -rf "$tmp"
}

# shut_down ends the emulated board, if there is one.
shut_down() {
	if [[ -n $qemu ]]; then
		kill "$qemu" 2>/dev/null || true
		wait "$qemu" 2>/dev/null || true
	fi
}

install_tools() {
	local tool missing=()
	for tool in "${tools[@]}"; do
		command -v "${tool%:*}" >/dev/null || missing+=(${tool#*:})
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	apt install --no-install-recommends "${missing[@]}" ||
		{ apt update && apt install --no-install-recommends "${missing[@]}"; } ||
		die "could not install ${missing[*]}"
}

# fetch_board gets the kernel and BusyBox.
fetch_board() {
	get "$board" board_packages
	[[ -e $board/lib/modules/$(kernel_version "$board")/modules.dep ]] ||
		depmod -b "$board" "$(kernel_version "$board")"
}

# board_packages takes whichever kernel Debian has for the board now: a version
# that is written down somewhere is soon no longer there.
board_packages() {
	apt-cache depends "$kernel_package:$architecture" 2>/dev/null |
		sed -n "s/.*Depends: \\(linux-image-[^:]*\\).*/\\1:$architecture/p" | grep -m 1 . &&
		echo "busybox-static:$architecture"
}

# get unpacks packages into a directory, unless an earlier run has. The function
# whose name follows prints which.
get() {
	[[ ! -d $1 ]] || return 0
	dpkg --print-foreign-architectures | grep -qx "$architecture" ||
		as_root dpkg --add-architecture "$architecture"
	# The first attempt fails when the package lists are old or without these.
	unpack "$1.new" "$2" || { apt update && unpack "$1.new" "$2"; } ||
		die "could not get the packages for $architecture: if $board is old, remove it"
	mv "$1.new" "$1"
}

unpack() (
	packages=$("$2") || return
	rm -rf "$1"
	mkdir -p "$1"
	cd "$1" || return
	say "downloading" $packages
	apt-get -qq -o APT::Sandbox::User=root download $packages || return
	for package in *.deb; do
		dpkg -x "$package" . || return
	done
	rm -f ./*.deb
)

kernel_version() {
	basename "$1"/lib/modules/*
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >&2
}

as_root() {
	if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# ---- The system that boots

build() {
	command -v go >/dev/null || die "Go is needed"
	say "building for ARMv6"
	(
		cd "$repo"
		export CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=6
		go build -tags nethttpomithttp2 -trimpath -ldflags='-s -w' -o "$tmp/porthole" .
		go build -tags nethttpomithttp2 -trimpath -ldflags='-s -w' -o "$tmp/webcam" ./testdata/webcam
		go build -tags nethttpomithttp2 -trimpath -ldflags='-s -w' -o "$tmp/rpicam-vid" ./testdata/rpicam
	) || die "does not build"
}

# make_root fills $tmp/root with the files of the guest: a small system like
# the ones that Buildroot makes.
make_root() {
	local root=$tmp/root version
	version=$(kernel_version "$board")

	mkdir -p "$root"/{bin,dev,etc/init.d,proc,root,sbin,sys,tmp,usr/bin,usr/sbin,var/log,var/run}
	cp "$board/bin/busybox" "$root/bin"
	install -m 755 "$tmp/porthole" "$tmp/webcam" "$tmp/rpicam-vid" "$root/usr/bin"

	printf '%s\n' "${modules[@]}" >"$root/etc/modules"
	copy_modules "$root" "$version"

	write "$root/init" <<-'EOF'
		#!/bin/busybox sh
		/bin/busybox --install -s
		mount -t devtmpfs devtmpfs /dev
		exec /sbin/init </dev/console >/dev/console 2>&1
	EOF

	write "$root/etc/inittab" <<-'EOF'
		::sysinit:/etc/init.d/rcS
	EOF

	# Port 2323 is how the host gives commands: see the function guest.
	write "$root/etc/init.d/rcS" <<-'EOF'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		while read -r module; do
			modprobe $module
		done </etc/modules

		ip link set lo up
		until [ -e /sys/class/net/usb0 ]; do sleep 0.1; done
		ip addr add 10.0.2.15/24 dev usb0
		ip link set usb0 up
		nc -ll -p 2323 -e /bin/sh &

		for script in /etc/init.d/S??*; do
			"$script" start
		done
		for i in $(seq 50); do
			netstat -tln | grep -q ':5000 ' && break
			sleep 0.1
		done
		echo "guest: up after $(cut -d ' ' -f 1 /proc/uptime) s"
	EOF
}

# add_service has the guest start porthole.
add_service() {
	install -m 755 "$repo/packaging/init.d/S50porthole" "$tmp/root/etc/init.d"
}

# write makes its input an executable file.
write() {
	cat >"$1"
	chmod +x "$1"
}

# copy_modules copies the modules that are to be loaded, at once or later, and all
# they need.
copy_modules() {
	local root=$1 version=$2 module file
	for module in "${modules[@]}" "${later_modules[@]}"; do
		modprobe -d "$board" -S "$version" --show-depends "${module%% *}"
	done >"$tmp/modules" || die "no such kernel module: $module"
	while read -r _ file _; do
		file=${file#"$board"}
		install -D -m 644 "$board$file" "$root$file"
	done <"$tmp/modules"
	cp "$board/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version"
	depmod -b "$root" "$version"
}

# add_tests has the guest run those of our tests that want a real V4L2 driver,
# before it starts porthole. They run with vivid and with the webcam, which is
# then unplugged until check_webcam.
add_tests() {
	local root=$tmp/root
	(
		cd "$repo"
		export CGO_ENABLED=0
		GOOS=linux GOARCH=arm GOARM=6 go test -c -trimpath -ldflags='-s -w' -o "$tmp/porthole.test" .
		go build -o "$tmp/webcam.here" ./testdata/webcam
		go build -o "$tmp/rpicam.here" ./testdata/rpicam
	) || die "does not build"
	mkdir -p "$root/tests"
	install -m 755 "$tmp/porthole.test" "$root/tests"
	cp -r "$repo/testdata" "$root/tests"
	install -m 755 "$repo/testdata/webcam/"{misbehave,cameras} "$root/tests"
	write "$root/etc/init.d/S10tests" <<-EOF
		#!/bin/sh
		cd /tests || exit
		webcam >/var/log/webcam.log 2>&1 &
		for i in \$(seq 200); do
			grep -q 'test webcam' /sys/class/video4linux/*/name && break
			sleep 0.1
		done
		./porthole.test -test.v -test.run V4L2 -test.skip '$receiver_tests' -test.timeout 100s >log 2>&1
		echo "status \$?" >>log
		echo unplug | nc 127.0.0.1 2324
		rmmod vivid
		modprobe $vivid_receivers
		./porthole.test -test.v -test.run '$receiver_tests' -test.timeout 60s >>log 2>&1
		echo "receivers: status \$?" >>log
		rmmod vivid
		modprobe $vivid_boards
		./porthole.test -test.v -test.run '$board_tests' -test.timeout 60s >>log 2>&1
		echo "boards: status \$?" >>log
		modprobe vjpeg
		./porthole.test -test.v -test.run 'V4L2Device(Formats)?\$' -test.timeout 60s >>log 2>&1
		echo "boards with an encoder: status \$?" >>log
		rmmod vjpeg
		rmmod vivid
		encoder() { # module, its options, tests
			modprobe \$1 \$2
			./porthole.test -test.run "\$3" -test.short >/dev/null 2>&1 &
			killed=\$!
			sleep 1
			kill -9 \$killed
			wait \$killed
			./porthole.test -test.v -test.run "\$3" -test.short -test.timeout 100s >>log 2>&1
			echo "\$1 \$2: status \$?" >>log
			rmmod \$1 || echo "\$1 remains: status 1" >>log
		}
		encoder vjpeg "" 'EncoderDevice[^C]'
		encoder vjpeg "multiplanar=0 align=0" 'EncoderDevice[^C]'
		encoder vjpeg coded=MJPG 'EncoderDevice[^C]'
		encoder vicodec multiplanar=0 EncoderDeviceCodec
		encoder vicodec multiplanar=1 EncoderDeviceCodec
		modprobe $vivid_camera
	EOF
}

# ---- The emulated board

readonly initrd_address=0x2000000 # in its memory

# boot starts the guest and waits until it is up. Afterwards $url is where its
# porthole is. The guest may be told to use less memory than there is.
boot() {
	local version port began=$SECONDS
	version=$(kernel_version "$board")
	console=$tmp/console
	: >"$console"
	(cd "$tmp/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$tmp/initrd"
	port=$(free_port)
	guest_port=$(free_port)
	url=http://127.0.0.1:$port

	# -icount makes time in the guest a matter of instructions executed: 2 ns
	# each, about the speed of a Zero. Without it every other boot hangs, for
	# the emulated timer loses interrupts. When the guest has nothing to do, its
	# time passes at once: to really sleep so long takes twice as long as the
	# guest believes, a little too long each time. The kernel would panic over a power
	# management block that QEMU does not have. QEMU would put the initrd behind 64 MB.
	timeout --kill-after=5 "$((SECONDS < time_limit ? time_limit - SECONDS : 1))" qemu-system-arm -M raspi0 \
		-icount shift=1,sleep=off -no-reboot \
		-display none -monitor none -serial "file:$console" \
		-kernel "$board/boot/vmlinuz-$version" \
		-dtb "$board/usr/lib/linux-image-$version/bcm2835-rpi-zero.dtb" \
		-device "loader,file=$tmp/initrd,addr=$initrd_address,force-raw=on" \
		-append "console=ttyAMA0,115200 loglevel=3 rdinit=/init panic=1 initcall_blacklist=bcm2835_pm_driver_init initrd=$initrd_address,$(stat -c %s "$tmp/initrd")${1:+ mem=$1}" \
		-device usb-net,netdev=net \
		-netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-10.0.2.15:5000,hostfwd=tcp:127.0.0.1:$guest_port-10.0.2.15:2323" \
		</dev/null >"$tmp/qemu" 2>&1 &
	qemu=$!

	say "booting"
	until grep -q '^guest: up' "$console"; do
		if ! kill -0 "$qemu" 2>/dev/null; then
			fail "boots" "QEMU ended: $(tail -n 1 "$tmp/qemu")"
			return 1
		fi
		sleep 0.2
	done
	ok "boots" "$(sed -n 's/^guest: \(up[^\r]*\).*/\1/p' "$console"), $((SECONDS - began)) s here"
}

# free_port prints a TCP port of this machine that nobody listens at.
free_port() {
	local port
	while port=$((20000 + RANDOM % 20000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		:
	done
	echo "$port"
}

# guest runs its input, shell commands, as root in the guest and prints what
# they print, for two minutes or as many seconds as are given. It never fails:
# look at what was printed.
guest() {
	local socket
	{ exec {socket}<>"/dev/tcp/127.0.0.1/$guest_port"; } 2>/dev/null || return 0
	{
		echo "{"
		cat
		echo "} </dev/null 2>&1; exit"
	} >&"$socket"
	timeout "${1:-120}" cat <&"$socket" || true
	exec {socket}>&-
}

# resident prints the memory that porthole takes in the guest, in kB.
resident() {
	guest <<<"awk '/^VmRSS/ { print \$2 }' /proc/\$(cat /var/run/porthole.pid)/status 2>/dev/null"
}

# fetch gets a path of porthole into a file; what went wrong is in $tmp/error.
fetch() {
	: >"$tmp/$2"
	curl -sS --fail-with-body --max-time 40 -o "$tmp/$2" "$url$1" 2>"$tmp/error"
}

# answer prints what went wrong, and the beginning of what was fetched instead.
answer() {
	cat "$tmp/error" "$tmp/$1" | tr -cd '[:print:]' | head -c 300
}

# intact decodes a JPEG and takes no complaint; it is in $tmp/error.
intact() {
	djpeg -outfile /dev/null "$1" 2>"$tmp/error" && [[ ! -s $tmp/error ]]
}
