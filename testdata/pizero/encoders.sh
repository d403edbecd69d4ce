# What .ci/pizero checks with an encoder on the emulated Raspberry Pi Zero: testdata/vjpeg, an
# encoder made of software, with the limits and the quirks of the real one.

readonly takeover_limit=700 # ms between two pictures, while our encoder takes over: it waits for 500

# check_encoders has the encoder fail in several ways while a viewer in the guest watches. It
# uses vivid first, and then raw pictures of testdata/rpicam.
check_encoders() {
	local report=$tmp/encoders camera
	guest 200 >"$report" <<-'EOF'
		url=http://127.0.0.1:5000
		parameters=/sys/module/vjpeg/parameters
		driver=/sys/bus/platform/drivers/vjpeg

		encoder() {
			wget -q -O - $url/state | sed -n 's/.*"encoder": *"\([^"]*\)".*/\1/p'
		}

		# reopen has the camera opened again.
		reopen() {
			wget -q -O /dev/null --post-data="quality=$1" $url/settings
			sleep 4
		}

		# takeover has the encoder fail, and prints how, the longest time between two
		# pictures in ms, and who encodes before, then and after the camera was opened again.
		takeover() { # camera, fault, quality
			before=$(encoder)
			rows=$(wc -l <rows)
			case $2 in
			gone) echo vjpeg.0 >$driver/unbind ;;
			*) echo 1 >$parameters/$2 ;;
			esac
			sleep 4
			gap=$(tail -n +$((rows + 1)) rows | awk -F , '$4 + 0 > most { most = $4 + 0 } END { printf "%d", most }')
			during=$(encoder)
			case $2 in
			gone) echo vjpeg.0 >$driver/bind ;;
			*) echo 0 >$parameters/$2 ;;
			esac
			sleep 1
			reopen $3
			echo "takeover $1 $2 $gap $before, $during, $(encoder)"
		}

		# vivid alone, and as it is at first.
		/etc/init.d/S50porthole stop
		echo unplug | nc 127.0.0.1 2324
		rmmod vivid
		modprobe vivid n_devs=1 node_types=0x1
		mkdir -p /etc/default
		modprobe vjpeg
		for camera in vivid pipe; do
			case $camera in
			vivid) arguments="-camera v4l2 -size 320x180 -fps 10" ;;
			pipe) arguments="-camera pi -size 320x240 -fps 10" ;;
			esac
			cat >/etc/default/porthole <<-END
				PORTHOLE_ARGS="$arguments"
				export RPICAM_CAMERAS=imx477
			END
			: >/var/log/porthole.log
			/etc/init.d/S50porthole start
			until netstat -tln | grep -q ':5000 '; do sleep 0.1; done
			wget -q -O /dev/null $url/stream &
			viewer=$!
			: >rows
			wget -q -O - $url/frames.csv >rows &
			table=$!
			sleep 6
			quality=60
			for fault in stall bad fail gone; do
				takeover $camera $fault $quality
				quality=$((quality + 1))
			done
			kill -0 $viewer && echo "viewer $camera stays"
			echo "lines $camera $(grep -c 'porthole encodes the pictures now' /var/log/porthole.log)"
			grep 'encode' /var/log/porthole.log | sed 's/^/log /'
			wget -q -O $camera.jpg $url/snapshot
			kill $viewer $table
			/etc/init.d/S50porthole stop
		done
		rmmod vjpeg && echo removed
		rm /etc/default/porthole
		/etc/init.d/S50porthole start
	EOF
	for camera in vivid pipe; do
		guest <<<"cat $camera.jpg" >"$tmp/$camera.jpg"
		check_takeovers "$report" "$camera"
	done
	if grep -qx removed "$report"; then
		ok "encoder, nothing of it is in use in the end"
	else
		fail "encoder, nothing of it is in use in the end" "rmmod fails"
		cat "$report"
	fi
}

# check_takeovers looks at what was printed about a camera.
check_takeovers() {
	local fault gap who
	for fault in stall bad fail gone; do
		read -r gap who < <(sed -n "s/^takeover $2 $fault //p" "$1") || true
		if [[ $who =~ ^vjpeg\ /dev/video[0-9]+,\ porthole,\ vjpeg\ /dev/video[0-9]+$ ]]; then
			within "encoder, $2, ours takes over: $fault" "$gap" "$takeover_limit" "ms between two pictures" "$who"
		else
			fail "encoder, $2, ours takes over: $fault" "${who:-nothing}; $(grep '^log' "$1" | tail -n 3 | tr '\n' ' ')"
		fi
	done
	if grep -qx "viewer $2 stays" "$1" && grep -qx "lines $2 4" "$1"; then
		ok "encoder, $2, no viewer is disconnected, and each takeover is a line in the log"
	else
		fail "encoder, $2, no viewer is disconnected, and each takeover is a line in the log" "$(grep "$2" "$1" | tr '\n' ' ')"
	fi
	if intact "$tmp/$2.jpg"; then
		ok "encoder, $2, a snapshot is a good JPEG" "$(stat -c %s "$tmp/$2.jpg") bytes"
	else
		fail "encoder, $2, a snapshot is a good JPEG" "$(cat "$tmp/error")"
	fi
}
