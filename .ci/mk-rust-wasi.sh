#!/bin/bash
# Makes a Rust compiler for WASI guests, for machines whose rustup cannot download the standard library of the target.
#
#   .ci/mk-rust-wasi.sh OUT      then:  RUSTC=OUT/bin/rustc cargo build --release --target wasm32-wasip2
#
# Debian packages a compiler with all WebAssembly targets, and the source of its standard library. Both are downloaded
# and unpacked (never installed), the library is built once, and the linkers are taken from the toolchain of rustup,
# because Debian does not package them. Compiler and source must be of one version: the rustup compiler does not
# accept Debian's source. Needs no root, only package lists (`apt-get update`).
#
# What this stand-in cannot do: Debian's wasi-libc is old, so a guest that mentions threads or sockets fails to link.
set -euo pipefail

# shellcheck source=versions
. "$(dirname "$0")/versions"
out=$(realpath -m "${1:?usage: mk-rust-wasi.sh OUT}")
target=$RUST_GUEST_TARGET
host=$(rustc -vV | sed -n 's/^host: //p')
linkers=$(rustc --print sysroot)/lib/rustlib/$host/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "mk-rust-wasi: $*" >&2; exit 1; }

# The one dependency of package $1 that matches $2, for packages whose names carry a version.
dependency() { apt-cache depends --no-recommends "$1" | grep -oE "$2" | head -1; }

download() {
  mkdir -p "$work/deb"
  local std llvm
  std=$(dependency libstd-rust-web-dev 'libstd-rust-web-[0-9.]+') || fail "apt knows no rustc-web: run apt-get update"
  llvm=$(dependency "$std" 'libllvm[0-9.]+') || fail "$std names no libllvm"
  # As root apt warns that it could not drop its rights for a folder of ours; the download is whole all the same.
  # shellcheck disable=SC2086 # the list is meant to be split
  (cd "$work/deb" && apt-get download -q $RUST_STANDIN_PACKAGES "$std" "$llvm") >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; fail "could not download the packages"; }
}

unpack() {
  local deb
  mkdir -p "$work/root"
  for deb in "$work"/deb/*.deb; do
    case $deb in
      */rust-web-src_*) # Only the library: the source of the whole compiler is ten times as big.
        dpkg --fsys-tarfile "$deb" | tar -x -C "$work/root" --wildcards './usr/src/rustc-*/library/*' ;;
      *) dpkg -x "$deb" "$work/root" ;;
    esac
  done
}

# Lays the compiler out as a sysroot of its own in $1.
assemble() {
  local usr=$work/root/usr bin=$1/lib/rustlib/$host/bin
  mkdir -p "$1/bin" "$1/lib"
  cp -a "$usr/lib/rustlib" "$1/lib/"
  rm -rf "$1/lib/rustlib/src"
  find "$usr/lib" -maxdepth 2 \( -name 'libLLVM*' -o -name 'librustc_driver*' -o -name 'libstd-*' \) -exec cp -a {} "$1/lib/" \;
  cp "$usr/bin/rustc" "$1/bin/rustc.real"
  cat >"$1/bin/rustc" <<'SCRIPT'
#!/bin/sh
home=$(dirname "$(readlink -f "$0")")/..
LD_LIBRARY_PATH=$home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$home/bin/rustc.real" --sysroot "$home" "$@"
SCRIPT
  chmod +x "$1/bin/rustc"
  mkdir -p "$bin"
  cp -a "$linkers/rust-lld" "$linkers/wasm-component-ld" "$linkers/gcc-ld" "$bin/"
  ln -s gcc-ld/wasm-ld "$bin/wasm-ld"
}

build_std() {
  local lib=$1/lib/rustlib/$target/lib source
  source=$(echo "$work"/root/usr/src/rustc-*/library/sysroot/Cargo.toml)
  mkdir -p "$lib/self-contained"
  cp "$work"/root/usr/lib/wasm32-wasi/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained/"
  RUSTC=$1/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
    RUSTFLAGS='-Zforce-unstable-if-unmarked -Cembed-bitcode=yes' \
    cargo build -q --release --target "$target" --manifest-path "$source" \
    --features compiler-builtins-mem --target-dir "$work/target"
  cp "$work/target/$target/release/deps/"*.rlib "$lib/"
}

if [ ! -x "$linkers/rust-lld" ] || [ ! -x "$linkers/wasm-component-ld" ]; then
  fail "no rust-lld and wasm-component-ld in $linkers: install Rust by rustup"
fi
download
unpack
rm -rf "$out" "$out.new"
assemble "$out.new"
build_std "$out.new"
# Renamed last, so that a half-built one is never taken for whole.
mv "$out.new" "$out"
