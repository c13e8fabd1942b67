# Shared by the scripts of this folder: sourced, not run. They stand in the project's top folder.

say() { printf '\n==> %s\n' "$*"; }

# configure FOLDER [ARGUMENT...]: meson setup, once. A folder that is set up stays as it is.
# WEIR_MESON_ARGS: further arguments for it.
configure() {
  build_dir=$1
  shift
  [ ! -f "$build_dir/build.ninja" ] || return 0
  mkdir -p "$build_dir"
  rm -f "$build_dir/meson-private/coredata.dat"  # left by a set-up that was interrupted
  echo "meson setup $build_dir${WEIR_MESON_ARGS:+ $WEIR_MESON_ARGS}${*:+ $*}"
  # shellcheck disable=SC2086  # WEIR_MESON_ARGS is meant to be split
  meson setup "$build_dir" ${WEIR_MESON_ARGS:-} "$@" >"$build_dir/setup.log" 2>&1 || {
    cat "$build_dir/setup.log"
    return 1
  }
}

# run_tests FOLDER [ARGUMENT...]: meson test; closes with "N passed, N failed", counted in test
# cases. run_under: a command to run it under.
run_tests() {
  test_dir=$1
  shift
  rm -f "$test_dir"/meson-logs/testlog*.json  # so that what is counted is of this run
  meson_code=0
  # shellcheck disable=SC2086  # run_under is meant to be split
  ${run_under:-} meson test -C "$test_dir" --print-errorlogs "$@" || meson_code=$?
  python3 tools/count_tests.py "$test_dir/meson-logs" "$meson_code"
}
