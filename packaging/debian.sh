# Sourced by ./demo and ./test: installs Debian packages that are missing, and says which and why.

packages=()

# need PACKAGE WHY TEST...: notes PACKAGE for installation unless the command TEST succeeds.
need() {
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    packages+=("$package")
    echo "missing: $package ($why)"
}

# What a build takes: OpenSSL is built from its source, so that no headers of the system are needed.
need_for_build() {
    [ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || { echo "cargo is missing: install Rust first (rustup, or the package rustup)"; exit 1; }
    need gcc "C compiler, for ring and OpenSSL" command -v cc
    need libc6-dev "headers of the C library" test -e /usr/include/stdio.h
    need make "OpenSSL is built with it" command -v make
    # Debian's perl-base lacks modules that OpenSSL's Configure loads.
    need perl "OpenSSL's Configure runs on it" perl -MFindBin -MIPC::Cmd -MFile::Compare -MTime::Piece -e 1
}

install_packages() {
    [ ${#packages[@]} -eq 0 ] && return
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "install these as root, then start again: ${packages[*]}"; exit 1; }
        root=(sudo)
    fi
    echo "installing ${packages[*]}"
    "${root[@]}" apt-get update -qq \
        && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null \
        || { echo "could not install ${packages[*]}; install them by hand, then start again"; exit 1; }
    packages=()
}
