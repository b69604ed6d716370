// Licence texts of every npm package that ended up in the bundle (from esbuild's list of inputs), sorted by name.
import {existsSync, readFileSync, readdirSync} from 'node:fs';

const inputs = Object.keys(JSON.parse(readFileSync(process.argv[2])).inputs);
const roots = new Set();
for (const file of inputs) {
  const found = file.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  if (found) roots.add(found[1]);
}
const out = ['Third-party software inside mobclip_map.js', ''];
for (const root of [...roots].sort()) {
  const {name, version, license} = JSON.parse(readFileSync(`${root}/package.json`));
  out.push('='.repeat(100), `${name} ${version} (${license})`, '');
  const files = readdirSync(root).filter((f) => /^(licen[cs]e|notice|copying)/i.test(f)).sort();
  for (const file of files) if (existsSync(`${root}/${file}`)) out.push(readFileSync(`${root}/${file}`, 'utf8').trim(), '');
  if (!files.length) out.push(`(the package carries no licence file; its package.json says ${license})`, '');
}
console.log(out.join('\n'));
