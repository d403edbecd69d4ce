# What .ci/systemd checks on the emulated PC.

run_checks() {
	check_boot
	begin_hangs
	check_user
	check_status
	check_ready
	check_killed
	check_stop
	check_restart
	check_socket
	check_reload
	check_certificate
	end_hangs
	guest <<<"journalctl -q -o cat -u porthole" >"$tmp/log"
}

# ---- Means

# shows_camera wants a good picture, and that it is one of vivid.
shows_camera() {
	fetch /snapshot picture.jpg && intact "$tmp/picture.jpg" && fetch /state state &&
		grep -q '"driver": *"vivid"' "$tmp/state" && grep -q '"online": *true' "$tmp/state"
}

check_picture() {
	if shows_camera; then
		ok "$1" "$(stat -c %s "$tmp/picture.jpg") bytes"
	else
		fail "$1" "$(answer picture.jpg) $(answer state)"
	fi
}

# matches wants what the guest printed, in one line, to match a pattern.
matches() {
	local text
	text=$(tr -s '\n' ' ' <<<"$2")
	if [[ $text =~ $3 ]]; then
		text=${text% }
		ok "$1" "${text# }"
	else
		fail "$1" "${text:-nothing}; want $3"
	fi
}

# watch starts viewers of $url, whose numbers are added to viewers, and waits until each has
# pictures; not forever.
watch() {
	local number try
	for number in $(seq "$1"); do
		: >"$tmp/viewer$number"
		curl -sS --max-time 200 -o "$tmp/viewer$number" "$url/stream" 2>/dev/null &
		viewers+=($!)
	done
	for try in $(seq 300); do
		[[ $(find "$tmp" -name 'viewer*' -size +20k | wc -l) -lt $1 ]] || return 0
		sleep 0.1
	done
	return 1
}

# ---- The service

check_boot() {
	local report
	report=$(guest 200 <<-'EOF'
		systemctl is-system-running --wait
		. /etc/os-release
		echo "$PRETTY_NAME, $(systemctl --version | head -n 1), Linux $(uname -r), process 1 is $(cat /proc/1/comm)"
		echo "up after $(cut -d ' ' -f 1 /proc/uptime) s"
		systemctl is-active porthole
		journalctl -q -b -p warning _PID=1 UNIT=porthole.service
	EOF
	)
	matches "systemd boots and starts porthole" "$report" "^running .*process 1 is systemd .* s active\ \$"
	check_picture "a picture of the camera"
}

# check_user looks at what the process may do. 61184 to 65519 are the dynamic users.
check_user() {
	local report
	report=$(guest <<-'EOF'
		pid=$(systemctl show -P MainPID porthole)
		awk '$1 ~ /^(Uid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):/ { print $1, $2 }' /proc/$pid/status
		echo "video $(getent group video | cut -d : -f 3), $(id -un $(stat -c %u /proc/$pid))"
	EOF
	)
	matches "it is an unprivileged user of the group video" "$report" \
		"Uid: 6[1-5][0-9]{3} Groups: 44 CapEff: 0+ CapBnd: 0+ NoNewPrivs: 1 Seccomp: 2 video 44, porthole"
}

check_status() {
	local viewers=() report
	watch 1 || true
	report=$(guest <<-'EOF'
		for i in $(seq 100); do
			systemctl status porthole | grep 'viewers: 1' && break
			sleep 0.1
		done
	EOF
	)
	matches "systemctl status says how it is" "$report" '"live, viewers: 1, /dev/video0 \(vivid, vivid\): 640x480 YUYV at '
	kill "${viewers[@]}" 2>/dev/null || true
}

# check_ready has a copy of the service wait for its address: it is active when it has that, and
# not before.
check_ready() {
	local report
	report=$(guest <<-'EOF'
		cd /run/systemd/system
		sed 's|^ExecStart=.*|& -listen 10.9.9.9:5004|; s/^CacheDirectory=.*/CacheDirectory=%N/' /etc/systemd/system/porthole.service >waiting.service
		systemctl daemon-reload
		systemctl start --no-block waiting
		until journalctl -q -o cat -u waiting | grep 'waiting for it'; do sleep 0.2; done
		systemctl is-active waiting
		printf '[Match]\nName=lo\n[Network]\nAddress=10.9.9.9/32\n' >/etc/systemd/network/lo.network
		systemctl restart systemd-networkd
		systemctl start waiting
		systemctl is-active waiting
		systemctl stop waiting
	EOF
	)
	matches "it is active when it listens, and not before" "$report" "waiting for it activating active"
}

check_killed() {
	local report
	report=$(guest <<-'EOF'
		pid=$(systemctl show -P MainPID porthole)
		kill -KILL $pid
		until [ "$(systemctl show -P NRestarts porthole)" -gt 0 ]; do sleep 0.1; done
		systemctl start porthole
		systemctl show -P NRestarts porthole
		[ $pid != $(systemctl show -P MainPID porthole) ] && systemctl is-active porthole
	EOF
	)
	matches "it is started again after SIGKILL" "$report" "^1 active"
	check_picture "a picture of the camera after that"
}

check_stop() {
	local viewers=() report took
	watch 1 || true
	report=$(guest <<-'EOF'
		read -r before _ </proc/uptime
		systemctl stop porthole
		read -r now _ </proc/uptime
		systemctl show -p ActiveState,Result,ExecMainStatus porthole
		echo "took $before $now"
	EOF
	)
	took=$(awk '$1 == "took" { printf "%d", 1000 * ($3 - $2) }' <<<"$report")
	within "it stops while somebody watches" "${took:-none}" 5000 ms
	matches "that is a success" "$report" "^Result=success ExecMainStatus=0 ActiveState=inactive "
	kill "${viewers[@]}" 2>/dev/null || true
}

check_restart() {
	local viewers=()
	guest <<<"systemctl start porthole"
	watch 5 || fail "five viewers are served" "they were not"
	guest <<<"systemctl restart porthole"
	wait "${viewers[@]}" || true
	viewers=()
	if watch 5; then
		ok "five viewers connect again at once after a restart"
	else
		fail "five viewers connect again at once after a restart" "$(stat -c %s "$tmp"/viewer? | tr '\n' ' ') bytes"
	fi
	kill "${viewers[@]}" 2>/dev/null || true
}

# ---- The socket

check_socket() {
	local report
	report=$(guest <<-'EOF'
		systemctl --quiet disable --now porthole
		systemctl --quiet enable --now porthole.socket
		systemctl is-active porthole.socket porthole
	EOF
	)
	matches "systemd listens, and porthole does not run" "$report" "^active inactive"
	check_picture "the first request starts it, and gets a picture"
	report=$(guest <<-'EOF'
		systemctl is-active porthole
		systemctl stop porthole 2>&1
		systemctl is-active porthole.socket porthole
	EOF
	)
	matches "systemd listens after it was stopped" "$report" "^active .*active inactive"
	check_picture "the next request starts it again"
	guest >/dev/null <<-'EOF'
		mkdir /etc/systemd/system/porthole.socket.d
		printf '[Socket]\nListenStream=\nListenStream=80\n' >/etc/systemd/system/porthole.socket.d/override.conf
		systemctl daemon-reload
		systemctl stop porthole
		systemctl restart porthole.socket
	EOF
	url=http://127.0.0.1:${port[80]} check_picture "systemd listens at port 80 for it"
	report=$(guest <<-'EOF'
		(: </dev/tcp/127.0.0.1/5000) 2>&1 | grep -o refused
		rm -r /etc/systemd/system/porthole.socket.d
		systemctl daemon-reload
		systemctl --quiet disable --now porthole.socket
		systemctl stop porthole
		systemctl --quiet enable --now porthole
		systemctl is-active porthole.socket porthole
	EOF
	)
	matches "and not at port 5000" "$report" "^refused .*inactive active"
}

# ---- Reload, password and certificate

# check_reload reloads a service that has no certificate.
check_reload() {
	local report
	report=$(guest <<-'EOF'
		pid=$(systemctl show -P MainPID porthole)
		systemctl reload porthole 2>&1
		sleep 1
		systemctl is-active porthole
		[ $pid = $(systemctl show -P MainPID porthole) ] && echo same process
	EOF
	)
	matches "a reload without a certificate changes nothing" "$report" "^active same process"
}

# secure asks over HTTPS for /state, as somebody who trusts one of the certificates. It prints the
# status of HTTP; 000 if that is not the one.
secure() {
	curl -s --max-time 20 --cacert "$tmp/root/etc/porthole/$1.pem" "${@:2}" -o /dev/null -w '%{http_code} ' "https://127.0.0.1:${port[5000]}/state" || true
}

# check_certificate sets up a password and a certificate as the README says, and changes that, both
# for a key that only root may read and for one that a group may read.
check_certificate() {
	local report
	report=$(guest <<-'EOF'
		cd /etc/porthole
		(umask 077 && echo PORTHOLE_AUTH=anna:hunter2 >environment)
		install -m 644 first.pem cert.pem
		install -m 600 first.key key.pem
		mkdir /etc/systemd/system/porthole.service.d
		cat >/etc/systemd/system/porthole.service.d/override.conf <<-'END'
			[Service]
			EnvironmentFile=/etc/porthole/environment
			LoadCredential=cert.pem:/etc/porthole/cert.pem
			LoadCredential=key.pem:/etc/porthole/key.pem
			ExecStart=
			ExecStart=/usr/local/bin/porthole -tls-cert ${CREDENTIALS_DIRECTORY}/cert.pem -tls-key ${CREDENTIALS_DIRECTORY}/key.pem
		END
		systemctl daemon-reload
		systemctl restart porthole
		systemctl is-active porthole
		systemctl show porthole | grep -c hunter2
	EOF
	)
	matches "it starts with a password and a certificate of root's" "$report" "^active 0"
	matches "both are in use" "$(secure second)$(secure first)$(secure first -u anna:hunter2)" "^000 401 200 "
	guest >/dev/null <<-'EOF'
		cd /etc/porthole
		install -m 644 second.pem cert.pem
		install -m 600 second.key key.pem
		systemctl restart porthole
	EOF
	matches "a restart takes the new certificate" "$(secure first)$(secure second -u anna:hunter2)" "^000 200 "

	report=$(guest <<-'EOF'
		cd /etc/porthole
		echo 'g ssl-cert -' | systemd-sysusers -
		install -m 640 -g ssl-cert second.key key.pem
		cat >/etc/systemd/system/porthole.service.d/override.conf <<-'END'
			[Service]
			EnvironmentFile=/etc/porthole/environment
			SupplementaryGroups=ssl-cert
			ExecStart=
			ExecStart=/usr/local/bin/porthole -tls-cert /etc/porthole/cert.pem -tls-key /etc/porthole/key.pem
		END
		systemctl daemon-reload
		systemctl restart porthole
		install -m 644 first.pem cert.pem
		install -m 640 -g ssl-cert first.key key.pem
		pid=$(systemctl show -P MainPID porthole)
		systemctl reload porthole
		for i in $(seq 50); do
			journalctl -q -o cat -u porthole | grep certificate && break
			sleep 0.2
		done
		[ $pid = $(systemctl show -P MainPID porthole) ] && echo same process
	EOF
	)
	matches "a reload takes a new one whose key a group may read" "$report; $(secure second)$(secure first -u anna:hunter2)" \
		"the certificate was loaded again same process; 000 200 "
	guest >/dev/null <<-'EOF'
		rm -r /etc/systemd/system/porthole.service.d
		systemctl daemon-reload
		systemctl restart porthole
	EOF
}

# ---- What hangs

# begin_hangs starts three copies of the service and has them hang: in one the system calls of the
# camera's driver, when a viewer comes, in the second accept, in the third the whole process. The
# watchdog of the first two waits for 10 s.
begin_hangs() {
	guest >/dev/null <<-'EOF'
		for i in 1 2 3; do
			sed "s|^ExecStart=.*|& -listen :500$i -camera /dev/video$i|; s/^CacheDirectory=.*/CacheDirectory=%N/" \
				/etc/systemd/system/porthole.service >/run/systemd/system/hangs$i.service
		done
		sed -i 's/^WatchdogSec=.*/WatchdogSec=10/' /run/systemd/system/hangs[12].service
		systemctl daemon-reload
		systemctl start hangs1 hangs2 hangs3
		until journalctl -q -u hangs1 | grep -q 'camera: /dev/video1'; do sleep 0.2; done
		systemd-run --quiet hang hangs1 ioctl
		systemd-run --quiet hang hangs2 accept4
		systemd-run --quiet hang hangs3
		while grep -q 'TracerPid:.0$' /proc/$(systemctl show -P MainPID hangs1)/status; do sleep 0.2; done
	EOF
	curl -s --max-time 200 -o "$tmp/hung" "http://127.0.0.1:${port[5001]}/stream" &
}

end_hangs() {
	check_hang 2 "no connections are accepted" "porthole: connections are not accepted .*timeout \(limit 10s\)"
	check_hang 3 "the whole process hangs" "Watchdog timeout \(limit 30s\)"
	check_hang 1 "the camera's driver does not return" "porthole: /dev/video1 hangs for .*timeout \(limit 10s\)"
}

check_hang() {
	local report
	report=$(guest 150 <<-EOF
		until [ -e /run/hangs$1 ]; do sleep 0.5; done
		awk '{ printf "after %d s: ", \$2 - \$1 }' /run/hangs$1
		journalctl -q -o cat -u hangs$1 | grep -m 2 -e 'hangs for' -e 'not accepted' -e 'Watchdog timeout'
		systemctl is-active hangs$1
	EOF
	)
	matches "it is started again when $2" "$report" "^after [0-9]+ s: .*$3! active "
	url=http://127.0.0.1:${port[500$1]} check_picture "a picture of the camera after that"
}

# ---- -install

# check_install has the program make itself a service, boots, changes its flags, and has it remove
# itself. avahi is not there, but its directory is.
check_install() {
	local report
	guest >/dev/null <<-'EOF'
		systemctl --quiet disable --now porthole
		mv /usr/local/bin/porthole /root
		rm -rf /etc/systemd/system/porthole.* /etc/porthole/environment /var/cache/porthole /var/cache/private/porthole
		systemctl daemon-reload
		mkdir -p /etc/avahi/services
		find /etc /usr/local | sort >/root/before
	EOF
	report=$(guest <<-'EOF'
		cd /root
		./porthole -install -size 320x180 -fps 1000
		find /etc /usr/local | sort | diff /root/before - && echo nothing new
		./porthole -install -size 320x180
		systemctl is-active porthole
		systemctl is-enabled porthole
		stat -c '%U %a' /usr/local/bin/porthole
		id -un $(stat -c %u /proc/$(systemctl show -P MainPID porthole))
		grep port /etc/avahi/services/porthole.service
	EOF
	)
	matches "-install starts it, and changes nothing if a flag is wrong" "$report" \
		"-fps 1000: must .* nothing new porthole: /usr/local/bin/porthole runs now and at each boot, started by systemd as a user of its own, with -size 320x180 porthole: watch at http://localhost:5000/ .*http://10.0.2.15:5000/ .* porthole: to undo this: .* active enabled root 755 porthole .*porthole on .*5000"
	check_size "pictures have the size of the flag"
	reboot_debian || return 0
	matches "it runs after a reboot" "$(guest <<<"systemctl is-system-running --wait; systemctl is-active porthole")" "^running active"
	check_size "pictures have the size of the flag after that"

	report=$(guest <<-'EOF'
		/root/porthole -install -listen unix:/run/porthole
		systemctl is-active porthole
	EOF
	)
	matches "what systemd does not allow is undone" "$report" "systemctl restart porthole: exit status 1 .*porthole: unix:/run/porthole: permission denied.* everything is as it was before active"
	check_size "pictures have the size of the flag from before"

	report=$(guest <<-'EOF'
		cd /etc/porthole
		/root/porthole -install -listen :80 -listen :5000 -auth 'anna:hunter2 "$HOME"' -tls-cert first.pem -tls-key first.key
		systemctl is-active porthole
		stat -c '%U %a' /etc/porthole/environment
		grep -r hunter2 /etc /proc/[0-9]*/cmdline 2>/dev/null | grep -a -v -e '^/etc/porthole/environment:' -e grep
		systemctl show porthole | grep -c hunter2
	EOF
	)
	matches "another -install takes a password, a certificate of root's and port 80" "$report" "^porthole: .*watch at https://localhost:80/.* active root 600 0 \$"
	matches "these are in use" "$(secure first)$(secure first -u 'anna:hunter2 "$HOME"')" "^401 200 "
	report=$(guest <<-'EOF'
		/usr/local/bin/porthole -uninstall
		systemctl is-active porthole
		systemctl status porthole
		find /etc /usr/local | sort | diff /root/before - && echo nothing is left
		ls -d /var/cache/porthole /var/cache/private/porthole 2>/dev/null
		/root/porthole -uninstall || echo "status $?"
	EOF
	)
	matches "-uninstall leaves nothing" "$report" "^porthole: stopped and removed: .* inactive Unit porthole.service could not be found. nothing is left porthole: -uninstall: there is no porthole that systemd starts .*status 1 "
}

check_size() {
	local size
	if shows_camera && djpeg -pnm -outfile "$tmp/picture.ppm" "$tmp/picture.jpg" && size=$(head -c 10 "$tmp/picture.ppm" | tr '\n' ' ') && [[ $size == "P"[56]" 320 180" ]]; then
		ok "$1" "$size"
	else
		fail "$1" "${size:-$(answer picture.jpg) $(answer state)}"
	fi
}

# reboot_debian boots again with what the guest has changed: its files are in memory.
reboot_debian() {
	guest <<<"tar -c -C / etc usr/local root" >"$tmp/changed"
	rm "$tmp/root/usr/local/bin/porthole" "$tmp/root/etc/systemd/system/"{porthole.*,*.wants/porthole.service}
	make_initrd
	bsdtar -c --format=newc -f - "@$tmp/changed" >>"$tmp/initrd"
	shut_down
	boot_debian
}
