# Kernel modules that Debian has not built: our own virtual JPEG encoder, vjpeg, and
# for a Pi Zero the kernel's framework for such, v4l2-mem2mem, and its test driver for
# that, vicodec. Part of .ci/pizero and .ci/arm64.

# build_modules puts them beside the board's own modules, unless an earlier run has.
build_modules() {
	local version extra sources
	version=$(kernel_version "$board")
	extra=$board/lib/modules/$version/extra
	sources=$(cat "$repo"/testdata/vjpeg/* "$repo/testdata/pizero/modules.sh" | cksum)
	[[ $sources != "$(cat "$extra/sources" 2>/dev/null)" ]] || return 0

	get "$board/headers" headers_packages
	copy_sources "$tmp/modules"
	say "building kernel modules"
	compile_modules "$tmp/modules" >"$tmp/log" 2>&1 || {
		cat "$tmp/log" >&2
		die "the kernel modules do not build"
	}
	rm -rf "$extra"
	find "$tmp/modules" -name '*.ko' -exec "${compiler}strip" --strip-debug {} + \
		-exec install -D -m 644 -t "$extra" {} +
	depmod -b "$board" "$version"
	echo "$sources" >"$extra/sources"
	rm -r "$tmp/modules"
}

# headers_packages prints what modules for the board's kernel are built with. The
# tools, linux-kbuild, are programs for this machine.
headers_packages() {
	local headers version
	headers=linux-headers-$(kernel_version "$board")
	version=$(package_version "$headers") || return
	echo "$headers:$architecture=$version ${headers%-*}-common=$version"
	apt-cache depends "$headers:$architecture" |
		sed -n "s/.*Depends: \\(linux-kbuild-[^:]*\\).*/\\1=$version/p" | grep -m 1 .
}

# source_package prints the one with the whole source of the kernel.
source_package() {
	local version
	version=$(package_version "linux-headers-$(kernel_version "$board")") || return
	echo "linux-source-$(cut -d . -f 1,2 <<<"$version")=$version"
}

package_version() {
	apt-cache show "$1:$architecture" 2>/dev/null | sed -n 's/^Version: //p' | grep -m 1 .
}

# copy_sources fills a directory with what is to be compiled.
copy_sources() {
	mkdir "$1"
	cp -r "$repo/testdata/vjpeg" "$1"
	echo "obj-m += vjpeg/" >"$1/Kbuild"
	[[ ! -e $(find "$board/lib/modules" -path '*/kernel/*/v4l2-mem2mem.ko*') ]] || return 0
	fetch_source
	cp -r "$board/source/"* "$1"
	echo "obj-m += v4l2-core/v4l2-mem2mem.o test-drivers/vicodec/" >>"$1/Kbuild"
}

# fetch_source keeps a few files of the kernel's source, out of 1.3 GB.
fetch_source() {
	get "$board/source" source_package
	[[ -d $board/source/usr ]] || return 0
	say "unpacking"
	tar -xJf "$board"/source/usr/src/linux-source-*.tar.xz -C "$board/source" \
		--strip-components=3 --wildcards \
		'*/drivers/media/v4l2-core/v4l2-mem2mem.c' '*/drivers/media/test-drivers/vicodec'
	rm -r "$board/source/usr"
}

# compile_modules does what the headers' own Makefile would, if they were in /usr/src.
compile_modules() {
	local headers version
	headers=$board/headers/usr/src
	version=$(kernel_version "$board")
	make -C "$headers/linux-headers-$version" -f "$headers/linux-headers-${version%-*}-common/Makefile" \
		CROSS_COMPILE="$compiler" CONFIG_VIDEO_VICODEC=m M="$1" modules
}
