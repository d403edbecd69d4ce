# What .ci/pizero checks of -install on the emulated Raspberry Pi Zero.

# check_install boots a board without porthole's service, has the program make itself one, at first
# as root and then, when the group video may use the camera, as nobody, and boots with the files
# that this has changed: the system is in memory.
check_install() {
	local report
	shut_down
	rm -f "$tmp/root/etc/init.d/S50porthole"
	mv "$tmp/root/usr/bin/porthole" "$tmp/root/root"
	printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false >"$tmp/root/etc/passwd"
	touch "$tmp/root/etc/group"
	write "$tmp/root/etc/init.d/S20camera" <<-'EOF'
		#!/bin/sh
		grep -q video /etc/group || exit 0
		chgrp video /dev/video* /dev/media*
		chmod 660 /dev/video* /dev/media*
	EOF
	boot || return 0
	report=$(guest <<-'EOF'
		find /etc /usr /var ! -type d | sort >/root/before
		cd /root
		./porthole -install -size 320x180 -fps 1000
		find /etc /usr /var ! -type d | sort | diff /root/before - && echo nothing new
		./porthole -install -size 320x180
		stat -c '%U %a' /usr/local/bin/porthole /etc/default/porthole
	EOF
	)
	installed "-install starts it as root, and changes nothing if a flag is wrong" "$report" \
		"-fps 1000: must .* nothing new porthole: .* started by init as root, with -size 320x180 porthole: watch at http://.* porthole: to undo this: .*root 755 root 600 \$"
	check_install_size "pictures have the size of the flag"

	report=$(guest <<-'EOF'
		echo video:x:28: >/etc/group
		/etc/init.d/S20camera
		/root/porthole -install -size 640x360 -auth 'anna:$a "b'
		sleep 1
		stat -c '%U' /proc/$(cat /var/run/porthole.pid)
		wget -O /dev/null http://127.0.0.1:5000/state 2>&1 | grep -o 401
	EOF
	)
	installed "another -install takes a password, and nobody as the user" "$report" "as nobody, with -size 640x360 .* nobody 401 "

	guest <<<"tar -c -C / etc usr/local root" | tar -x -C "$tmp/root"
	shut_down
	boot || return 0
	url=${url/'//'/'//anna:$a%20%22b@'} check_install_size "after a reboot, it runs with the other flags" "640 360"

	report=$(guest <<-'EOF'
		/usr/local/bin/porthole -uninstall
		pidof porthole || echo "does not run"
		find /etc /usr /var ! -type d | sort | diff /root/before - && echo nothing is left
		/root/porthole -uninstall || echo "status $?"
	EOF
	)
	installed "-uninstall leaves nothing" "$report" "porthole: stopped and removed: .* does not run nothing is left porthole: -uninstall: there is no porthole .*status 1 "
}

# installed wants what the guest printed, in one line, to match a pattern.
installed() {
	local text
	text=$(tr -s '\n' ' ' <<<"$2")
	if [[ $text =~ $3 ]]; then
		ok "$1" "$text"
	else
		fail "$1" "${text:-nothing}; want $3"
	fi
}

check_install_size() {
	local want=${2:-320 180} size
	if fetch /snapshot picture.jpg && djpeg -pnm -outfile "$tmp/picture.ppm" "$tmp/picture.jpg" &&
		size=$(head -c 10 "$tmp/picture.ppm" | tr '\n' ' ') && [[ $size == "P"[56]" $want" ]]; then
		ok "$1" "$size"
	else
		fail "$1" "${size:-$(answer picture.jpg)}"
	fi
}
