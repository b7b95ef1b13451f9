#!/bin/sh
# Asks the database OSV (https://osv.dev) which versions in requirements.lock have known vulnerabilities. It installs
# nothing of the project: pip-audit comes from a lock of its own, into a folder of its own.
# Exit code: 0 none is known, 1 some are (or an error of pip-audit), 2 the database or pip-audit cannot be had.
set -eu
python=${1:-python3}
url=${OSV_URL:-https://api.osv.dev/v1/query}
lock=tools/setup/audit.lock
folder=.pmflow/audit

reason=$("$python" - "$url" <<'END'
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

try:
    urlopen(sys.argv[1], timeout=20).close()
except HTTPError:
    pass  # it answers
except OSError as error:
    print(getattr(error, "reason", error))
END
)
if [ -n "$reason" ]; then
    echo "audit: $url does not answer ($reason): nothing was checked; an audit requires the internet" >&2
    exit 2
fi
if [ ! -f "$folder/$(cksum <"$lock" | tr ' ' -)" ]; then
    rm -rf "$folder"
    "$python" -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$lock" || exit 2
    touch "$folder/$(cksum <"$lock" | tr ' ' -)"
fi
found=0
for file in requirements.lock tools/setup/uv.lock "$lock"; do
    echo "audit: $file" >&2
    "$folder/bin/pip-audit" --requirement "$file" --require-hashes --disable-pip --progress-spinner off \
        --vulnerability-service osv --osv-url "$url" || found=1
done
exit "$found"
