#!/bin/sh
# Prints the path of a Python that backthrough runs on:
#   find_python.sh            python3 where it fits, else the newest on the PATH, else one that uv fetches
#   find_python.sh PYTHON     that one, or an error
#   find_python.sh --newest   the newest on the PATH, none fetched
# Keep the range as in pyproject.toml.
range="3.11 to 3.14"
newest_first="python3.14 python3.13 python3.12 python3.11"

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

path_if_it_fits() { # a name on the PATH may still be no Python that runs, such as a version manager's
    "$1" -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 14) or sys.exit(1); print(sys.executable)' 2>/dev/null
}

first_that_fits() {
    for name in "$@"; do
        path_if_it_fits "$name" && return
    done
    return 1
}

fetch() { # with the uv on the PATH, or one that pip brings to a Python too old or too new for us
    echo "No Python $range is on the PATH; trying to have uv fetch one." >&2
    uv=uv
    folder=$(mktemp -d) || return
    trap 'rm -rf "$folder"' EXIT
    if ! uv --version >/dev/null 2>&1; then
        python3 -m venv "$folder" >/dev/null 2>&1 &&
            "$folder/bin/python" -m pip install --quiet --require-hashes -r requirements/uv.txt >/dev/null 2>&1 ||
            return
        uv="$folder/bin/uv"
    fi
    "$uv" python install 3.13 >/dev/null 2>&1
    "$uv" python find --managed-python 3.13 2>/dev/null
}

if command -v pyenv >/dev/null 2>&1; then # show all that it has, those in use first
    PYENV_VERSION="$(pyenv version-name 2>/dev/null):$(pyenv versions --bare 2>/dev/null | paste -sd : -)"
    export PYENV_VERSION
fi

case "$1" in
--newest)
    first_that_fits $newest_first || { echo "No Python $range is on the PATH." >&2; exit 1; }
    ;;
"")
    first_that_fits python3 $newest_first || fetch || {
        echo "backthrough needs Python $range; python3 here is $(version python3 || echo absent)." \
            "Install one and name it: make PYTHON=/path/to/python3.13" >&2
        exit 1
    }
    ;;
*)
    path_if_it_fits "$1" || {
        echo "PYTHON=$1 is $(version "$1" || echo "no Python that runs"); backthrough needs Python $range." >&2
        exit 1
    }
    ;;
esac
