# Sourced by the scripts of this folder: it goes to the checkout's root and says what they share.
#   . "$(dirname "$(realpath "$0")")/common.sh"
# $caller is the folder that the script was called from, $root the checkout.
caller="$PWD"
# A CDPATH of the user's would take cd elsewhere and make it print.
unset CDPATH
root="$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")"
cd "$root" || exit 1
name="$(basename "$0")"

# fail SENTENCE…
fail() {
    echo "$name: $*" >&2
    exit 1
}

# stage NAME COMMAND…: runs it under a numbered heading. How long it took stands above the next heading; end_stages prints it
# for the last one. A script that is a part of another one counts on from S3GATE_STAGE.
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

# absolute PATH: a path that the user gave means the folder where the user stands.
absolute() {
    case "$1" in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s\n' "$caller/$1" ;;
    esac
}

# needs_folder FOLDER ADVICE: makes it, or ends with one sentence.
needs_folder() {
    can_write "$1" || fail "$1 cannot be written by $(id -un 2>/dev/null || id -u): $2"
}

# cache_value FOLDER KEY: what CMake noted there about itself.
cache_value() {
    sed -n "s|^$2:[A-Z]*=||p" "$1/CMakeCache.txt" 2>/dev/null
}

# is_foreign FOLDER: true if CMake made it for another checkout or another generator and would refuse to use it. A checkout that
# was moved or copied takes its build folders along.
is_foreign() {
    [ -e "$1/CMakeCache.txt" ] || return 1
    ! [ "$(cache_value "$1" CMAKE_HOME_DIRECTORY)/CMakeLists.txt" -ef "$root/CMakeLists.txt" ] ||
        ! [ "$(cache_value "$1" CMAKE_CACHEFILE_DIR)" -ef "$1" ] ||
        [ "$(cache_value "$1" CMAKE_GENERATOR)" != Ninja ]
}

# configure PRESET [OPTIONS…]: cmake --preset, afresh where the folder is of no use as it is.
configure() {
    local preset="$1" fresh=()
    shift
    if is_foreign "build/$preset"; then
        echo "$name: build/$preset is of another place or another generator: it is configured afresh"
        fresh=(--fresh)
    fi
    cmake "${fresh[@]}" --preset "$preset" "$@"
}

# How many compilers run at once: one per processor, as far as the memory goes. A compiler of this code takes up to 1 GiB.
build_jobs() {
    local processors memory
    processors="$(nproc)"
    memory="$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)"
    if [ "$memory" -lt "$processors" ]; then processors="$memory"; fi
    if [ "$processors" -lt 1 ]; then processors=1; fi
    echo "${S3GATE_JOBS:-$processors}"
}

# can_write FOLDER: true if it is there, or could be made, and can be written.
can_write() {
    mkdir -p "$1" 2>/dev/null && [ -w "$1" ]
}

# use_compiler_cache [home]: the user's CCACHE_DIR, with `home` else the cache in HOME, else one below build/.
use_compiler_cache() {
    if [ -n "${CCACHE_DIR:-}" ] && can_write "$CCACHE_DIR"; then return; fi
    if [ "${1:-}" = home ] && [ -n "${HOME:-}" ] && can_write "${XDG_CACHE_HOME:-$HOME/.cache}/ccache"; then return; fi
    # What was compiled before the checkout was moved is found again.
    export CCACHE_DIR="$root/build/ccache" CCACHE_TEMPDIR="$root/build/ccache/tmp" CCACHE_BASEDIR="$root"
}
