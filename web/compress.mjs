// Lays .br and .gz beside what is worth compressing, so that the server need not, and holds the page to its budget.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const SHELL_BUDGET_BYTES = 40_000; // brotli: all script but the map library
const assets = path.join(path.dirname(fileURLToPath(import.meta.url)), 'dist', 'assets');

let shell = 0;
for (const name of readdirSync(assets).filter((file) => /\.(js|mjs|css)$/.test(file))) {
  const file = path.join(assets, name);
  const content = readFileSync(file);
  const brotli = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } });
  writeFileSync(`${file}.br`, brotli);
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
  if (name.endsWith('.js') && !name.startsWith('maplibre')) shell += brotli.length;
}
if (shell > SHELL_BUDGET_BYTES) throw new Error(`The page's own script is ${shell} bytes, over ${SHELL_BUDGET_BYTES}.`);
console.log(`page script: ${(shell / 1000).toFixed(1)} kB brotli`);
