# What .ci/pizero checks with a camera at the flat cable of the emulated Raspberry Pi Zero:
# testdata/rpicam stands in for the program that reads it. A Zero encodes the pictures itself.

readonly picamera_fps=13 # least pictures per second, of 15

# check_picamera has one viewer in the guest watch, and looks at a picture.
check_picamera() {
	local report fps shown
	report=$(guest <<-'EOF'
		/etc/init.d/S50porthole stop
		mkdir -p /etc/default
		cat >/etc/default/porthole <<-'END'
			PORTHOLE_ARGS="-camera pi -fps 15"
			export RPICAM_CAMERAS=imx477 RPICAM_START=2s RPICAM_SETTLE=5
		END
		/etc/init.d/S50porthole start
		until netstat -tln | grep -q ':5000 '; do sleep 0.1; done
		wget -q -O /dev/null http://127.0.0.1:5000/stream &
		sleep 8 # the first pictures of each kind take longer
		wget -q -O - http://127.0.0.1:5000/state
		sleep 5
		wget -q -O - http://127.0.0.1:5000/state
		kill $!
	EOF
	)
	fps=$(awk -F '[:,]' '/"frames_captured"/ { frames = $2 - was; was = $2 }
		/"uptime_s"/ { seconds = $2 - then; then = $2 }
		END { if (seconds > 0) printf "%d", frames / seconds + 0.5 }' <<<"$report")
	if [[ ${fps:-0} -ge $picamera_fps ]]; then
		ok "the camera at the flat cable is shown" "$fps pictures a second"
	else
		fail "the camera at the flat cable is shown" "${fps:-no} pictures a second, want $picamera_fps; $report"
	fi
	fetch /snapshot picamera.jpg || true
	shown=$("$tmp/rpicam.here" show "$tmp/picamera.jpg" || true)
	if [[ $shown =~ ^picamera.jpg\ card\ [0-7]\ settled\  ]]; then
		ok "its picture is whole and settled" "$shown"
	else
		fail "its picture is whole and settled" "$shown; $(answer picamera.jpg)"
	fi
}
