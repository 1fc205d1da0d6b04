#!/usr/bin/env bash
# All that needs a GPU, in one call of less than nine minutes: builds for the GPU at hand, runs the tests, the checks of
# compute-sanitizer and the benchmarks, and leaves OUT/gpu_check.json (what was done, where, and how it went), bench.json
# and tables.md (the benchmarks), nvcomp.json (where it is installed), gpu_tests.json, and gpu_check.log (everything that
# was printed).
#
#   scripts/gpu_check.sh OUT               exit status 1 when something failed; what is skipped says so
#   scripts/gpu_check.sh --fetch FOLDER    puts the libraries that a build needs there, for machines without a network
#
# STILLBIT_DEPS        such a folder; else they are taken from the system, or installed where that is possible
# STILLBIT_COMMIT      what is checked, where there is no repository to ask
# STILLBIT_GPU_SECONDS how long all of it may take; 530
# STILLBIT_SANITIZED   the tests that compute-sanitizer looks at, a filter of GoogleTest's; all but those of large tensors,
#                      and of words of 4 bytes and of 1, which take the code of those of 2
#
# A step that fails or takes too long does not keep the others from running. Without a GPU it builds, has the CPU play
# the warps, and skips the rest.
set -uo pipefail
out=${1:?usage: scripts/gpu_check.sh OUT}
[ -z "${STILLBIT_DEPS:-}" ] || STILLBIT_DEPS=$(realpath "$STILLBIT_DEPS")
export STILLBIT_DEPS
[ ! -d /usr/local/cuda/bin ] || PATH=$PATH:/usr/local/cuda/bin

# The command is not built: neither what it parses arguments with nor what its report draws with is needed.
packages=(nlohmann-json3-dev libxxhash-dev libgtest-dev librapidcheck-dev)

if [ "$out" = --fetch ]; then
  folder=${2:?usage: scripts/gpu_check.sh --fetch FOLDER}
  mkdir -p "$folder" && cd "$folder" || exit 1
  apt-get download "${packages[@]}" || exit 1
  for package in ./*.deb; do dpkg-deb -x "$package" . && rm "$package"; done
  rm -rf usr/share/doc usr/src
  exit
fi

mkdir -p "$out" || exit 2
out=$(realpath "$out")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
work=$PWD/build/gpu_check
build=$work/build
steps=$work/steps
rm -rf "$steps"
mkdir -p "$steps"
log=$out/gpu_check.log
: >"$log"
rm -f "$out"/{gpu_check,bench,pool,nvcomp,gpu_tests}.json "$out/tables.md"
total=${STILLBIT_GPU_SECONDS:-530}
begin=$SECONDS
bench_reserve=150
num_steps=0

remaining() { echo $((total - (SECONDS - begin))); }

commit=${STILLBIT_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
if changes=$(git status --porcelain 2>/dev/null); then
  is_dirty=$([ -n "$changes" ] && echo true || echo false)
else
  is_dirty=null
fi

# Writes gpu_check.json of what is known so far.
write_document() {
  COMMIT=$commit IS_DIRTY=$is_dirty GPU=${gpu_name:-} python3 - "$steps" "$out" <<'PYTHON'
import datetime, json, os, pathlib, subprocess, sys

steps = []
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    name, status, seconds, summary = path.read_text(errors="replace").split("\n", 3)
    steps.append({"name": name, "status": status, "seconds": int(seconds), "summary": summary.strip()})
out = pathlib.Path(sys.argv[2])
try:
    bench = json.loads((out / "bench.json").read_text())
except (OSError, ValueError):
    bench = None
query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
try:
    driver = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.strip() or None
except (OSError, subprocess.TimeoutExpired):
    driver = None
document = {
    "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    "commit": os.environ["COMMIT"],
    "dirty": json.loads(os.environ["IS_DIRTY"]),
    "device": os.environ["GPU"] or None,
    "driver": driver,
    "steps": steps,
    "bench": bench,
}
part = out / "gpu_check.json.part"
part.write_text(json.dumps(document, indent=1) + "\n")
part.replace(out / "gpu_check.json")
PYTHON
}

# note NAME STATUS SECONDS SUMMARY: STATUS is passed, failed, timeout or skipped.
note() {
  num_steps=$((num_steps + 1))
  printf '%s\n%s\n%s\n%s\n' "$1" "$2" "$3" "$4" >"$steps/$(printf '%02d' "$num_steps")"
  printf '==> %-22s %-8s %4s s  %s\n' "$1" "$2" "$3" "$4" | tee -a "$log"
  write_document  # so that it is there whatever comes
}

# step NAME LIMIT KEEP COMMAND…: runs a command for at most LIMIT seconds, or as many as leave KEEP of all. Its summary is
# the last line that it prints and that says something.
step() {
  local name=$1 limit=$2 left=$(($(remaining) - $3)) status=passed rc started=$SECONDS printed=$work/printed
  shift 3
  [ "$left" -ge "$limit" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    note "$name" skipped 0 "no time left"
    return 1
  fi
  printf '\n===== %s: %s\n' "$name" "$*" >>"$log"
  timeout --kill-after=5 "$limit" "$@" >"$printed" 2>&1 </dev/null
  rc=$?
  tail -c 4000000 "$printed" >>"$log"
  case $rc in
    0) ;;
    124 | 137) status=timeout ;;
    *) status=failed ;;
  esac
  note "$name" "$status" $((SECONDS - started)) "$(grep -v '^[[:space:]]*$' "$printed" | tail -n 1 | tr -d '\000-\010\013-\037' | cut -c1-300)"
  [ $rc -eq 0 ]
}

# has HEADER: whether the compiler finds it.
has() { printf '#include <%s>\n' "$1" | c++ ${STILLBIT_DEPS:+-isystem "$STILLBIT_DEPS/usr/include"} -std=c++20 -E -x c++ - >/dev/null 2>&1; }
has_all() { has nlohmann/json.hpp && has xxhash.h && has gtest/gtest.h && has rapidcheck.h; }

install_packages() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
  local options=(-o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5 -o Acquire::Retries=0)
  "${sudo[@]}" apt-get "${options[@]}" update -qq &&
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get "${options[@]}" install -y -qq --no-install-recommends "${packages[@]}"
}
export -f install_packages
export packages_text="${packages[*]}"

describe_machine() {
  nvidia-smi --query-gpu=name,driver_version,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,pcie.link.width.max,memory.total,clocks.sm,clocks.mem --format=csv 2>/dev/null
  nvcc --version 2>/dev/null | grep release
  cmake --version | head -n 1
  python3 --version
  c++ --version | head -n 1
  echo "$(nproc) processors, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)"
}
export -f describe_machine

step machine 20 0 bash -c describe_machine

has_gpu=false
gpu_name=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
if nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then has_gpu=true; fi
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -cd '0-9')
architecture=${capability:-90}-real

if has_all; then
  note libraries passed 0 "all there${STILLBIT_DEPS:+, of $STILLBIT_DEPS}"
else
  step libraries 60 0 bash -c 'read -ra packages <<<"$packages_text"; install_packages'
fi
build_tests=OFF
if has gtest/gtest.h && has rapidcheck.h; then
  build_tests=ON
else
  note tests_built skipped 0 "GoogleTest or RapidCheck is missing: STILLBIT_DEPS can name a folder with them"
fi

generator=()
if command -v ninja >/dev/null; then generator=(-G Ninja); fi
configure() {
  cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES="$architecture" \
    ${STILLBIT_DEPS:+-DCMAKE_PREFIX_PATH="$STILLBIT_DEPS/usr"} -DPython_EXECUTABLE="$(command -v python3)" \
    -DSTILLBIT_BUILD_TESTS=$build_tests -DSTILLBIT_BUILD_BENCH=ON -DSTILLBIT_BENCH_PEERS=OFF \
    -DSTILLBIT_BUILD_EXAMPLES=OFF -DSTILLBIT_BUILD_CLI=OFF "$@"
}
# In a process of its own, so that it can be stopped.
declare -f configure >"$work/configure.sh"
{
  declare -p build architecture build_tests generator
} >>"$work/configure.sh"
step configure 60 0 bash -c "source '$work/configure.sh' && configure -DSTILLBIT_BUILD_PYTHON=OFF"

has_target() { cmake --build "$build" --target help 2>/dev/null | grep -Eq "(^|[ /])$1(:|$| )"; }
targets=()
for target in stillbit_cuda stillbit_gpu_bench stillbit_gpu_pool_bench stillbit_gpu_tests; do
  if has_target "$target"; then targets+=("$target"); fi
done
# What the CPU can test is tested elsewhere: here the time belongs to the GPU.
if ! $has_gpu && [ $build_tests = ON ]; then targets+=(stillbit_tests); fi
nice_level=()
[ -z "${STILLBIT_NICE:-}" ] || nice_level=(nice -n "$STILLBIT_NICE")
if [ ${#targets[@]} -gt 0 ]; then
  build_limit=240
  $has_gpu || build_limit=1800
  $has_gpu || total=$((total + 1800))  # of such a machine nobody waits for the time
  step build $build_limit 0 "${nice_level[@]}" cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
else
  note build failed 0 "there is nothing to build: was configuring successful?"
fi

find_built() { find "$build" -type f -name "$1" -perm -u+x 2>/dev/null | head -n 1; }
tests=$(find_built stillbit_gpu_tests)
bench=$(find_built stillbit_gpu_bench)
pool_bench=$(find_built stillbit_gpu_pool_bench)
library=$(find "$build" -name libstillbit_cuda.so 2>/dev/null | head -n 1)
[ -z "$library" ] || export STILLBIT_CUDA_LIBRARY=$library

if ! $has_gpu; then
  if host_tests=$(find_built stillbit_tests) && [ -n "$host_tests" ]; then
    step warps_on_cpu 300 0 "$host_tests" --gtest_filter='*Warp*' --gtest_brief=1
  fi
fi

# gpu_step NAME PROGRAM LIMIT KEEP COMMAND…: a step that needs a GPU, and a program that was built or is installed.
gpu_step() {
  local name=$1 program=$2
  shift 2
  if ! $has_gpu; then
    note "$name" skipped 0 "no GPU"
  elif [ -z "$program" ]; then
    note "$name" skipped 0 "a program or package that it needs was not built, or is not installed"
  else
    step "$name" "$@"
  fi
}

# Tests that all skip themselves, though there is a GPU, are no success.
runs_tests='"$@" 2>&1 | tee "$0"; rc=${PIPESTATUS[0]}; [ $rc -eq 0 ] || exit $rc
  ! grep -q "PASSED  . 0 tests" "$0" || { echo "all tests were skipped, though nvidia-smi shows a GPU"; exit 1; }'
gpu_step gpu_tests "$tests" 90 $bench_reserve bash -c "$runs_tests" "$work/tests_printed" "$tests" --gtest_brief=1 --gtest_output="json:$out/gpu_tests.json"

test_package() {
  source "$work/configure.sh"
  configure -DSTILLBIT_BUILD_PYTHON=ON >"$work/configure_python.log" 2>&1 || {
    tail -n 20 "$work/configure_python.log"
    return 1
  }
  cmake --build "$build" --parallel "$(nproc)" --target stillbit_core || return
  rm -rf "$work/site"
  mkdir -p "$work/site"
  cp -r python/stillbit "$work/site/stillbit"
  cp "$(find "$build" -name '_core*.so' | head -n 1)" "$work/site/stillbit/" || return
  PYTHONPATH=$work/site python3 -m pytest -q tests/package -k cuda -p no:cacheprovider
  local rc=$?
  if [ $rc -eq 5 ]; then echo "there are no tests of the package with CUDA"; return 0; fi
  return $rc
}
declare -f test_package >>"$work/configure.sh"
declare -p work >>"$work/configure.sh"
package=$library
if $has_gpu && ! python3 -c 'import nanobind, numpy, pytest' 2>/dev/null; then package=; fi
gpu_step package_tests "$package" 100 $bench_reserve bash -c "source '$work/configure.sh' && test_package"

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
for tool in memcheck racecheck initcheck synccheck; do
  program=$sanitizer
  [ -n "$tests" ] || program=
  gpu_step "$tool" "$program" 50 $bench_reserve bash -c "$runs_tests" "$work/tests_printed" "$sanitizer" --tool "$tool" --error-exitcode 86 --print-limit 20 \
    "$tests" --gtest_brief=1 --gtest_filter="${STILLBIT_SANITIZED:-*-*Large*:*ManyRows*:*/F32:*/F8*}"
done

# What others decompress on the same kind of data, where it is installed.
nvcomp=
if $has_gpu && python3 -c 'import cupy; from nvidia import nvcomp' 2>/dev/null; then nvcomp=python3; fi
gpu_step nvcomp "$nvcomp" 60 $bench_reserve \
  bash -c 'python3 bench/gpu/nvcomp.py --json "$0" || echo "nvCOMP could not be measured: see above"' "$out/nvcomp.json"

gpu_step pool "$pool_bench" 70 $bench_reserve "$pool_bench" --seconds=50 --json="$out/pool.json"

bench_seconds=$(($(remaining) - 30))
gpu_step benchmarks "$bench" $((bench_seconds + 20)) 0 "$bench" --seconds="$bench_seconds" --json="$out/bench.json" --commit="$commit"
for name in pool bench; do
  if $has_gpu && grep -q '^ "skipped"' "$out/$name.json" 2>/dev/null; then
    note "$name" failed 0 "skipped, though nvidia-smi shows a GPU"
  fi
done
if [ -s "$out/bench.json" ]; then
  python3 bench/gpu/tables.py "$out/bench.json" >"$out/tables.md" 2>>"$log"
fi

[ ! -s "$out/tables.md" ] || sed -n '1,/^### Copies/p' "$out/tables.md"
# Out of time is no failure where only the sanitizers were slow; of anything else it is.
if grep -lqE '^failed$' "$steps"/*; then exit 1; fi
for path in "$steps"/*; do
  { read -r name; read -r status; } <"$path"
  case $name in memcheck | racecheck | initcheck | synccheck | nvcomp | benchmarks) continue ;; esac
  [ "$status" != timeout ] || exit 1
done
exit 0
