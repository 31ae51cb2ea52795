#!/usr/bin/env bash
# hey -n 1000 -c 50 against any served model, with a body made from its /schema.
#   loadtest/hey.sh URL [MODEL]          N=1000 C=50 TOKEN=… from the environment
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: $0 URL [MODEL]     for example: $0 http://localhost:8080" >&2
  exit 2
fi
url=${1%/} model=${2:-}
for tool in hey curl python3; do
  command -v "$tool" >/dev/null || { echo "error: $tool is needed and is not here" >&2; exit 2; }
done
number=${N:-1000} workers=${C:-50}
if ! [[ $number =~ ^[1-9][0-9]*$ && $workers =~ ^[1-9][0-9]*$ ]] || [ "$number" -lt "$workers" ]; then
  echo "error: N and C are numbers, N at least as large as C: got N=$number C=$workers" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
headers=(-H 'Content-Type: application/json')
[ -z "${TOKEN:-}" ] || headers+=(-H "Authorization: Bearer $TOKEN")

status=$(curl -sS -m 10 -o "$work/schema" -w '%{http_code}' "${headers[@]}" "$url/schema" 2>"$work/why") || {
  echo "error: $url cannot be reached: $(cat "$work/why")" >&2
  exit 2
}
if [ "$status" != 200 ]; then
  echo "error: $url/schema answers $status: $(head -c 200 "$work/schema" | tr '\n' ' ')" >&2
  exit 2
fi
path=$(python3 - "$work" "$model" <<'PYTHON'
import json, pathlib, sys

work, model = pathlib.Path(sys.argv[1]), sys.argv[2]
try:
    schema = json.loads((work / "schema").read_text())
    schema["model_name"]
except (ValueError, KeyError, TypeError):
    sys.exit("error: the server's /schema does not say what a model takes")
if model and model != schema["model_name"]:
    sys.exit(f"error: the server has the model {schema['model_name']!r}, not {model!r}")
if not schema.get("samples", {}).get("v1", {}).get("body", {}).get("instances"):
    sys.exit("error: the server's /schema has no sample: log the model with an input example")
sample = schema["samples"]["v1"]
(work / "body").write_text(json.dumps({"instances": sample["body"]["instances"][:1]}))
print(sample["path"])
PYTHON
) || exit 2

hey -n "$number" -c "$workers" -m POST "${headers[@]}" -D "$work/body" "$url$path" | tee "$work/out"
# hey itself ends with 0 whatever the replies were.
if grep -q 'Error distribution' "$work/out" || grep -E '^ *\[[0-9]+\]' "$work/out" | grep -qv '\[200\]'; then
  echo "error: not all requests were answered with 200" >&2
  exit 1
fi
