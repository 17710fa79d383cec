#!/usr/bin/env bash
# Asks a running server everything that its OpenAPI document allows, and much that it does not (schemathesis, PyPI):
# no answer may be a fault of the server, and none may be one that the document does not have.
#
#   tests/schemathesis.sh PATH/TO/semantik [schemathesis options…]
#
# Makes a place in a temporary folder, with a stand-in for the model, and a virtual environment below .cache. Not part
# of CI: it needs a package from PyPI and takes minutes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
semantik=$(realpath "$1"); shift
venv=$root/.cache/schemathesis
[ -x "$venv/bin/schemathesis" ] || { python3 -m venv "$venv"; "$venv/bin/pip" install -q schemathesis==4.32.5; }
place=$(mktemp -d); trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$place"' EXIT
chmod 755 "$place"; mkdir "$place/corpus"; cd "$place"
for n in 1 2 3; do echo "document number $n is about subject $n" > "corpus/$n.txt"; done
cat > pipeline.yaml <<'YAML'
version: 1
name: test
collection: test
nodes:
  - { id: scan, uses: scan, with: { paths: [corpus] } }
  - { id: hash, uses: hash, from: scan }
  - { id: dedup, uses: dedup, from: hash }
  - { id: extract, uses: extract, from: dedup }
  - { id: chunk, uses: chunk, from: extract, with: { size: 64 } }
  - { id: embed, uses: embed, from: chunk, with: { model: 'stand-in:16', sparse: bm25 } }
  - { id: upsert, uses: upsert, from: embed }
YAML
"$semantik" run pipeline.yaml > /dev/null 2>&1
"$semantik" serve pipeline.yaml --listen 127.0.0.1:0 --setup-token-file token \
  --rate light=0 --rate login=0 --rate search=0 --rate look=0 --rate change=0 > /dev/null 2> log & server=$!
until grep -q 'serving on' log; do sleep 0.2; done
url=$(grep -o 'http://[0-9.:]*' log | tail -1)/api/v1
post() { curl -sf -H 'content-type: application/json' -H "authorization: ${auth:-}" -d "$2" "$url$1"; }
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
password='correct horse battery'
curl -sf -H 'content-type: application/json' -o /dev/null "$url/setup" -d \
  "{\"token\": \"$(cat token)\", \"username\": \"root\", \"email\": \"root@here\", \"password\": \"$password\"}"
access=$(curl -sf -H 'content-type: application/json' "$url/sessions" -d "{\"username\": \"root\", \"password\": \"$password\"}" | field access_token)
key=$(auth="Bearer $access" post /keys '{"name": "schemathesis", "scopes": ["admin"]}' | field secret)
ids() { python3 -c "import json, sys; d = json.load(sys.stdin); print(json.dumps([it['id'] for it in d.get('items', d)] if isinstance(d, dict) else [it['id'] for it in d]))"; }
get() { curl -sf -H "authorization: Bearer $access" "$url$1"; }
collection=$(get /collections | ids); base=/collections/$(python3 -c "import json, sys; print(json.loads(sys.argv[1])[0])" "$collection")
# Others than who asks: accounts that may be changed, deactivated and given passwords.
for name in ada grace; do
  auth="Bearer $access" post /users "{\"username\": \"$name\", \"email\": \"$name@here\", \"password\": \"$password\"}" > /dev/null
done
accounts=$(get /users | python3 -c "import json, sys; print(json.dumps([it['id'] for it in json.load(sys.stdin)['items'] if it['username'] in ('ada', 'grace')]))")
grant=$(auth="Bearer $access" post "$base/grants" '{"user": "ada", "permission": "read"}' | field id)
export REAL_IDS="{\"collection\": $collection, \"document\": $(get "$base/documents" | ids), \"source\": $(get "$base/sources" | ids),
  \"operation\": $(get /operations | ids), \"user\": $accounts, \"grant\": [\"$grant\"]}"
export SCHEMATHESIS_HOOKS=$root/tests/schemathesis_ids.py COLLECTION=test
# Streams have no end; logging out or changing one's own password would leave nobody to ask.
# `positive_data_acceptance` wants every value that the document allows to be accepted, but ids name nothing, names are
# taken, cursors belong to lists; `ignored_auth` takes what everybody may read for a fault; `unsupported_method` sends TRACE,
# which has no body to say that it is not allowed in; the last two guess links between endpoints by their names.
for as in nobody key session; do
  case $as in
    nobody) header='X-Nobody: 1' ;;
    key) header="Authorization: Bearer $key" ;;
    session) header="Authorization: Bearer $access" ;;
  esac
  echo "== $as"
  "$venv/bin/schemathesis" run "$url/openapi.json" --url "${url%/api/v1}" -H "$header" --workers 1 --continue-on-failure \
    --checks all --exclude-checks "${WITHOUT:-positive_data_acceptance,ignored_auth,unsupported_method,use_after_free,ensure_resource_availability}" \
    --exclude-path-regex '/events$|/users/me/password|/sessions/logout' --phases examples,coverage,fuzzing --request-timeout 30 \
    --max-examples "${EXAMPLES:-40}" --seed 1 --no-color "$@" || failed=1
done
! grep -q '"level":"ERROR"' log || { grep '"level":"ERROR"' log | head; failed=1; }
exit "${failed:-0}"
