SUMMARY = "Live picture of a camera in any browser"
DESCRIPTION = "Camera server for small boards: a V4L2 camera as Motion JPEG, without configuration."
SECTION = "multimedia"
LICENSE = "MIT & BSD-2-Clause & BSD-3-Clause"
LIC_FILES_CHKSUM = "file://src/${GO_IMPORT}/LICENSE;md5=c2975bb5c937537511754aa86f46e525"

# Set these two: where the repository is, and which commit of it.
PORTHOLE_GIT ?= "git:///path/to/porthole;protocol=file;branch=main"
SRCREV = "${AUTOREV}"

# Modules of go.mod. The last one is read, not built.
SRC_URI = " \
    ${PORTHOLE_GIT};destsuffix=${GO_SRCURI_DESTSUFFIX} \
    gomod://github.com/pkg/term;version=v1.1.0;sha256sum=943df71d3bc33501c59e581953fc455a6286c02a6dc92ffcf0be3aaab203fef9 \
    gomod://golang.org/x/sys;version=v0.49.0;sha256sum=e73a06591ca0d7016ce3ccb45c36a8ed7128468aecc1a357f94d815c760c6b31 \
    gomod://golang.org/x/sys;version=v0.0.0-20200909081042-eff7692f9009;mod=1;sha256sum=181979e8bd57d2d9e064182da86c9a6111aa69755e888f08431ece4742aec343 \
"

GO_IMPORT = "porthole"
GO_INSTALL = "${GO_IMPORT}"
GO_LINKSHARED = ""
GOBUILDFLAGS:append = " -tags=nethttpomithttp2"

inherit go-mod systemd update-rc.d

# Other processors have no V4L2 cameras in porthole.
COMPATIBLE_HOST = "^(arm|aarch64|i.86|x86_64|riscv64|loongarch64).*-linux"

SYSTEMD_SERVICE:${PN} = "porthole.service"
INITSCRIPT_NAME = "porthole"
INITSCRIPT_PARAMS = "defaults 50"

# Instead of that of the class, which also installs the sources.
do_install() {
    install -D -m 0755 ${B}/${GO_BUILD_BINDIR}/porthole ${D}${bindir}/porthole
    install -D -m 0755 ${S}/src/${GO_IMPORT}/packaging/init.d/S50porthole ${D}${sysconfdir}/init.d/porthole
    install -D -m 0644 ${S}/src/${GO_IMPORT}/packaging/systemd/porthole.service ${D}${systemd_system_unitdir}/porthole.service
    sed -i 's,/usr/local/bin,${bindir},' ${D}${systemd_system_unitdir}/porthole.service
}

RRECOMMENDS:${PN} = "kernel-module-uvcvideo"
