# Sourced by the scripts of this folder: changes to the checkout's root and defines their common functions.
#   . "$(dirname "$(realpath "$0")")/common.sh"
# $caller is the folder that the script was called from, $root the checkout.
caller="$PWD"
# With the user's CDPATH, cd could lead to another folder, and print.
unset CDPATH
root="$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")"
cd "$root" || exit 1
name="$(basename "$0")"

# fail SENTENCE…
fail() {
    echo "$name: $*" >&2
    exit 1
}

# stage NAME COMMAND…: runs it under a numbered heading. Its seconds are printed before the next heading; end_stages prints
# those of the last stage. A script that runs inside another one continues the count from S3GATE_STAGE.
stage() {
    local title="$1" began=$SECONDS status=0
    shift
    end_stages
    stage_number=$((${stage_number:-${S3GATE_STAGE:-0}} + 1))
    echo "== stage $stage_number: $title"
    "$@" || status=$?
    stage_end="== stage $stage_number: $title: $((SECONDS - began)) s"
    [ "$status" -eq 0 ] || stage_end+=", FAILED"
    return "$status"
}

end_stages() {
    if [ -n "${stage_end:-}" ]; then echo "$stage_end"; fi
    stage_end=
}

# absolute PATH: a user's path is relative to the user's folder.
absolute() {
    case "$1" in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s\n' "$caller/$1" ;;
    esac
}

# needs_folder FOLDER ADVICE: makes it, or fails with one sentence.
needs_folder() {
    can_write "$1" || fail "$1 cannot be written by $(id -un 2>/dev/null || id -u): $2"
}

# cache_value FOLDER KEY: the value in CMake's cache there.
cache_value() {
    sed -n "s|^$2:[A-Z]*=||p" "$1/CMakeCache.txt" 2>/dev/null
}

# is_foreign FOLDER: true if CMake made it for another checkout or another generator and would refuse it, as after a checkout
# was moved or copied with its build folders.
is_foreign() {
    [ -e "$1/CMakeCache.txt" ] || return 1
    ! [ "$(cache_value "$1" CMAKE_HOME_DIRECTORY)/CMakeLists.txt" -ef "$root/CMakeLists.txt" ] ||
        ! [ "$(cache_value "$1" CMAKE_CACHEFILE_DIR)" -ef "$1" ] ||
        [ "$(cache_value "$1" CMAKE_GENERATOR)" != Ninja ]
}

# configure PRESET [OPTIONS…]: cmake --preset, with --fresh if the folder is foreign.
configure() {
    local preset="$1" fresh=()
    shift
    if is_foreign "build/$preset"; then
        echo "$name: build/$preset is of another place or another generator: it is configured afresh"
        fresh=(--fresh)
    fi
    cmake "${fresh[@]}" --preset "$preset" "$@"
}

# Number of parallel compilers: one per processor, if the memory allows. A compiler of this code needs up to 1 GiB.
build_jobs() {
    local processors memory
    processors="$(nproc)"
    memory="$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)"
    if [ "$memory" -lt "$processors" ]; then processors="$memory"; fi
    if [ "$processors" -lt 1 ]; then processors=1; fi
    echo "${S3GATE_JOBS:-$processors}"
}

# can_write FOLDER: true if it exists or can be made, and is writable.
can_write() {
    mkdir -p "$1" 2>/dev/null && [ -w "$1" ]
}

# use_compiler_cache [home]: the user's CCACHE_DIR; else, with `home`, the cache in HOME; else one below build/.
use_compiler_cache() {
    if [ -n "${CCACHE_DIR:-}" ] && can_write "$CCACHE_DIR"; then return; fi
    if [ "${1:-}" = home ] && [ -n "${HOME:-}" ] && can_write "${XDG_CACHE_HOME:-$HOME/.cache}/ccache"; then return; fi
    # Keeps results valid when the checkout is moved.
    export CCACHE_DIR="$root/build/ccache" CCACHE_TEMPDIR="$root/build/ccache/tmp" CCACHE_BASEDIR="$root"
}
