#!/bin/sh
# Checks the prerequisites of pmflow: Python 3.11+ with venv, a JDK 17+, Maven, and on Linux the library that mysqld
# links to. As root on Debian, it installs what is missing; elsewhere it prints what is missing and how to install it.
set -eu
python=${1:-python3}

has_python() { "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_jdk() {
    java=${JAVA_HOME:+$JAVA_HOME/bin/}java
    major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge 17 ]
}
has_maven() { command -v mvn >/dev/null; }
has_libraries() {
    [ "$(uname)" != Linux ] || { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q 'libaio\.so\.1 '
}
missing() {
    has_python || echo python
    has_jdk || echo jdk
    has_maven || echo maven
    has_libraries || echo libaio
}

install_on_debian() {
    packages=""
    for what in $1; do
        case $what in
            python) packages="$packages python3 python3-venv" ;;
            jdk) packages="$packages default-jdk-headless" ;;
            maven) packages="$packages maven" ;;
            libaio) packages="$packages $(apt-cache show libaio1 >/dev/null 2>&1 && echo libaio1 || echo libaio1t64)" ;;
        esac
    done
    echo "installing:$packages"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
    # Debian 13 renamed the library, not its contents.
    new=$(find /usr/lib -name 'libaio.so.1t64' 2>/dev/null | head -n 1)
    if [ -n "$new" ] && [ ! -e "${new%t64}" ]; then ln -s "$new" "${new%t64}" && ldconfig; fi
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    install_on_debian "$(missing | tr '\n' ' ')"
fi

# Some tests also use servers that are not required. In CI, the Debian packages do not start them by themselves.
optional() {
    command -v mariadbd >/dev/null || echo mariadb-server-core
    command -v promtool >/dev/null || echo prometheus
    PATH="$PATH:/usr/sbin" command -v sshd >/dev/null || echo openssh-server
}
if [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ -n "$(optional)" ]; then
    # shellcheck disable=SC2046 # a list of words
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(optional); } \
        >/dev/null || echo "not installed, so not tested: $(optional | tr '\n' ' ')" >&2
fi

for what in $(missing); do
    case $what in
        python) echo "missing: Python 3.11 or newer with venv (found as $python; choose another with make PYTHON=...): apt-get install python3 python3-venv, brew install python, or python.org" ;;
        jdk) echo "missing: a JDK 17 or newer: apt-get install default-jdk-headless, brew install openjdk, or adoptium.net" ;;
        maven) echo "missing: Maven: apt-get install maven, brew install maven, or maven.apache.org" ;;
        libaio) echo "missing: libaio.so.1, which mysqld links to: apt-get install libaio1, or dnf install libaio" ;;
    esac
done >&2
[ -z "$(missing)" ]
