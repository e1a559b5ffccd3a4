// summary.mjs DIR LABEL EXIT LOG EXPECTED: one line about one run of the suite; below it, where it failed, what and why.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const [dir, label, exit, log, expected] = process.argv.slice(2);
const listed = existsSync(expected)
  ? readFileSync(expected, 'utf8').split('\n').flatMap((l) => /^\s*-\s*['"]?([^\s'"#]+)/.exec(l)?.[1] ?? [])
  : [];
const scenarios = { run: 0, passed: 0 };
const checks = { SUCCESS: 0, FAILURE: 0, WARNING: 0 };
const faults = [];
const files = existsSync(dir) ? readdirSync(dir, { recursive: true }).map(String).filter((f) => basename(f) === 'checks.json') : [];
for (const file of files.sort()) {
  const name = basename(dirname(file)).replace(/-\d{4}-\d\d-\d\dT[\d-]+Z?$/, '').replace(/^server-/, '');
  const found = JSON.parse(readFileSync(join(dir, file), 'utf8'));
  const bad = found.filter((c) => c.status === 'FAILURE');
  for (const c of found) checks[c.status] = (checks[c.status] ?? 0) + 1;
  scenarios.run += 1;
  if (bad.length === 0) scenarios.passed += 1;
  for (const c of bad)
    if (!listed.includes(name) && !listed.includes(`${name}:${c.id}`)) faults.push(`${name}:${c.id}: ${String(c.errorMessage ?? '').slice(0, 400)}`);
}
const ok = exit === '0' && scenarios.run > 0;
console.log(`conformance: ${label}: ${scenarios.passed} of ${scenarios.run} scenarios, checks ${checks.SUCCESS} passed, ` +
  `${checks.FAILURE} failed, ${checks.WARNING} warnings; ${listed.length} expected failures: ${ok ? 'ok' : 'FAILED'}`);
if (!ok) {
  for (const f of faults) console.log(`  not expected: ${f}`);
  const text = readFileSync(log, 'utf8');
  for (const line of text.replace(/\x1b\[\d+m/g, "").split("\n").filter((l) => /stale|unexpected|baseline|^\s+\S (?=\S+$)|^Error/i.test(l)).slice(0, 40)) console.log(`  suite: ${line}`);
  if (scenarios.run === 0) console.log(text.split('\n').slice(-40).map((l) => `  suite: ${l}`).join('\n'));
}
process.exit(ok ? 0 : 1);
