#!/bin/sh
# Installs the Debian packages of the tools that are missing: those of the tests, and
# with the argument "bench" those of the peers too. Nothing is done if none is missing.
set -eu

# tool:package
tests="ip:iproute2 tc:iproute2 ping:iputils-ping sysctl:procps setpriv:util-linux
	qemu-system-x86_64:qemu-system-x86 busybox:busybox-static iperf3:iperf3 tshark:tshark ethtool:ethtool
	udhcpc:udhcpc dhclient:isc-dhcp-client dhcpcd:dhcpcd-base /lib/systemd/systemd-networkd:systemd
	dnsmasq:dnsmasq-base dig:bind9-dnsutils nft:nftables
	ldd:libc-bin xz:xz-utils gcc:gcc shellcheck:shellcheck"
peers="ovs-vswitchd:openvswitch-switch vde_switch:vde2 slirp4netns:slirp4netns nsenter:util-linux fping:fping"

wanted=$tests
[ "${1:-}" = bench ] && wanted="$tests $peers"

PATH=$PATH:/usr/sbin:/sbin
packages=
for pair in $wanted; do
	command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
# go fetches modules by HTTPS; the race detector links with the C library.
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"
[ -e /usr/include/stdlib.h ] || packages="$packages libc6-dev"
# The guests' kernel comes by apt as well, when the first guest boots: apt must know it.
stale=
apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || stale=yes

[ -n "$packages$stale" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing:${packages:- package lists} (run as root: make deps)" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "missing:$packages (this is not Debian: install them by hand)" >&2
	exit 1
fi
apt-get -q update
# shellcheck disable=SC2086 # one word a package
[ -z "$packages" ] || DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
