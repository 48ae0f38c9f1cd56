#!/usr/bin/env bash
# The quickstart with the newest versions of everything that starcensus needs, without constraints.txt:
#
#     bash benchmarks/newest.sh [3.12 3.13 ...]
#
# One environment for each Python, in a folder that is removed. A Python that is not there is skipped
# with a word; the exit status is 1 where one that is there fails.
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- 3.12 3.13
failed=0
for version in "$@"; do
  python=""
  for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version"*/bin/python; do
    if "$candidate" -c "import sys; sys.exit(not sys.version.startswith('$version.'))" 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "Python $version: skipped, none was found as python$version or among pyenv's versions"
    continue
  fi
  folder=$(mktemp -d)
  if "$python" -m venv "$folder/venv" && "$folder/venv/bin/python" -m pip install --quiet \
      --disable-pip-version-check --upgrade --upgrade-strategy eager . \
    && STARCENSUS_CACHE=off PYTHONPATH= "$folder/venv/bin/starcensus" quickstart --out "$folder/out" \
      > "$folder/log" 2>&1; then
    echo "Python $version: the quickstart ran, with"
    "$folder/venv/bin/python" -m pip freeze --disable-pip-version-check \
      | grep -iE '^(jax|jaxlib|numpyro|equinox|numpy|scipy|astropy|h5py|arviz|matplotlib)[a-z-]*==' \
      | tr '\n' ' '
    echo
    tail -n 3 "$folder/log"
  else
    echo "Python $version: failed"
    tail -n 20 "$folder/log" 2>/dev/null
    failed=1
  fi
  rm -rf "$folder"
done
exit $failed
