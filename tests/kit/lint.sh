#!/usr/bin/env bash
# The syntax of every shell, JavaScript and Python file, and that the lock files name no registry.
# cargo-deny is not run: it is not part of a Rust installation, building it takes longer than all of `make test`,
# and its advisories need a database that is not on the package registries.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t files < <(git ls-files --cached --others --exclude-standard -- tests .ci)
bad=0
for f in "${files[@]}"; do
  [ -f "$f" ] || continue
  case $f in
    *.sh | .ci/*) bash -n "$f" || bad=1 ;;
    *.mjs | *.js) node --check "$f" || bad=1 ;;
    *.py) python3 -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])' "$f" || bad=1 ;;
    *package-lock.json) ! grep -n '"resolved"' "$f" || { echo "$f names a registry: npm config set omit-lockfile-registry-resolved true"; bad=1; } ;;
  esac
done
cargo fmt --check --manifest-path tests/kit/rmcp-client/Cargo.toml || bad=1
[ "$bad" = 0 ] || exit 1
echo "scripts and drivers: ${#files[@]} files looked at"
