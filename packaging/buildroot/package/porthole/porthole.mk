################################################################################
#
# porthole
#
################################################################################

PORTHOLE_VERSION = 1.0.0
PORTHOLE_SITE = $(BR2_EXTERNAL_PORTHOLE_PATH)/../..
PORTHOLE_SITE_METHOD = local
PORTHOLE_LICENSE = MIT, BSD-2-Clause (github.com/pkg/term), BSD-3-Clause (golang.org/x/sys)
PORTHOLE_LICENSE_FILES = \
	LICENSE \
	vendor/github.com/pkg/term/LICENSE \
	vendor/golang.org/x/sys/LICENSE

PORTHOLE_GOMOD = porthole
PORTHOLE_GO_ENV = CGO_ENABLED=0
PORTHOLE_TAGS = nethttpomithttp2

define PORTHOLE_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/packaging/init.d/S50porthole \
		$(TARGET_DIR)/etc/init.d/S50porthole
endef

define PORTHOLE_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/packaging/systemd/porthole.service \
		$(TARGET_DIR)/usr/lib/systemd/system/porthole.service
	$(SED) 's,/usr/local/bin,/usr/bin,' \
		$(TARGET_DIR)/usr/lib/systemd/system/porthole.service
endef

$(eval $(golang-package))
