#!/usr/bin/env bash
# Builds ../static/mobclip_map.js from src/. Users need no node: the bundle is committed.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
npx esbuild src/main.js --bundle --minify --format=esm --target=es2022 --legal-comments=none \
  --metafile=meta.json --outfile=../static/mobclip_map.js
# Two fallbacks of the libraries would fetch workers or debuggers from a CDN; we use neither, and no address may stay.
sed -i 's#https://[a-z]*\.com/#about:blank/#g' ../static/mobclip_map.js
node notices.mjs meta.json > ../static/mobclip_map.LICENSES.txt
rm meta.json
